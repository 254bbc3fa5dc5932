//! Names: long, deep, of all scripts, and of characters that a shell would choke on; and targets of links.

use crate::images::Entry;

/// The longest name that Linux allows, in bytes.
const NAME_MAX: usize = 255;

/// The longest target that Linux allows a symbolic link, in bytes: PATH_MAX without its zero.
const TARGET_MAX: usize = 4095;

/// Lengths of targets: those that just fit in a block behind an inode of a tree image, and just do not, and the longest.
const TARGETS: [usize; 6] = [4032, 4033, 4064, 4065, TARGET_MAX - 1, TARGET_MAX];

pub(super) fn entries() -> Vec<Entry> {
    let mut entries = vec![Entry::directory("names"), Entry::directory("names/many")];
    let odd = [
        "with space",
        " leading and trailing ",
        "new\nline",
        "tab\tand\\backslash",
        "\"quotes\" 'both'",
        "glob*?[a-z]",
        "-dash",
        "~tilde",
        "#hash",
        "per%cent%2f",
        "...",
        "..dots",
        ".hidden",
        "\u{1}control\u{7f}",
        "ünïcödé",
        // The same letter composed and decomposed: two names, not one.
        "\u{e9}",
        "e\u{301}",
        "日本語のファイル",
        "имя файла",
        "🦀",
        "wh.not-a-whiteout",
        "x.wh.y",
    ];
    entries.extend(odd.iter().map(|name| Entry::file(format!("names/{name}"), *name)));
    entries.push(Entry::file(format!("names/{}", "l".repeat(NAME_MAX)), "255 bytes"));
    // 85 characters of three bytes each.
    entries.push(Entry::directory(format!("names/{}", "語".repeat(NAME_MAX / 3))));
    entries.push(Entry::file(format!("names/{}/{}", "語".repeat(NAME_MAX / 3), "é".repeat(127)), "x"));
    let link = |length| Entry::symlink(format!("names/link-of-{length}"), "t".repeat(length));
    entries.extend(TARGETS.map(link));
    // A path of 3.5 KiB, below PATH_MAX together with a test's own folder.
    let mut deep = "names/deep".to_owned();
    entries.push(Entry::directory(&deep));
    for level in 0..34 {
        deep = format!("{deep}/{level:02}-{}", "d".repeat(97));
        entries.push(Entry::directory(&deep));
    }
    entries.push(Entry::file(format!("{deep}/bottom"), "x"));
    // A directory that needs several blocks: names that sort differently as bytes, numbers and text.
    entries.extend(
        (0..600).map(|number| Entry::file(format!("names/many/Name-{number}-{}", "n".repeat(60)), "")),
    );
    entries
}
