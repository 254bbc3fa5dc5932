//! The language as containerd has it, and that no text does harm.

use std::collections::BTreeMap;

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::*;

struct Item(BTreeMap<&'static str, &'static str>);

impl Fields for Item {
    fn field(&self, path: &[String]) -> Option<&str> {
        self.0.get(path.join("/").as_str()).copied()
    }
}

fn item() -> Item {
    Item(BTreeMap::from([
        ("name", "foo"),
        ("parent", ""),
        ("labels/a/b", "x"),
        ("labels/very complex", "y, z"),
        ("labels/slash", "a/b|c"),
        ("labels/tab", "a\tb\u{e4}\u{1f600}"),
    ]))
}

fn matches(filters: &[&str]) -> bool {
    let texts: Vec<_> = filters.iter().map(|&text| text.to_owned()).collect();
    Filters::parse(&texts).unwrap_or_else(|error| panic!("{error}")).matches(&item())
}

#[test]
fn what_matches() {
    for filter in [
        "",
        "name",
        "name==foo",
        "name == foo",
        " name==foo , parent",
        r#""name"=="foo""#,
        r#"parent=="""#,
        r#"parent==""  "#,
        "name!=bar",
        "absent!=bar",
        "labels.a.b==x",
        "labels.a.b,name==foo",
        r#"labels."very complex"=="y, z""#,
        "name~=^f",
        "name~=o",
        r"name~=/^fo{2}$/",
        "name~=|f.o|",
        "absent~=^$",
        r"labels.slash~=/a\/b/",
        r"labels.slash~=|b\|c|",
        "name@=oo",
        r#"labels.tab=="a\tb\u00e4\U0001f600""#,
        r#"labels.tab=="a\x09b\xc3\xa4\360\237\230\200""#,
        r#"name=="\146oo""#,
    ] {
        assert!(matches(&[filter]), "{filter}");
    }
    assert!(matches(&[]) && matches(&["name==bar", "name==foo"]));
}

#[test]
fn what_does_not_match() {
    for filter in [
        "absent",
        "absent==",
        "name==fo",
        "name!=foo",
        r#"absent=="""#,
        r#"absent!="""#,
        "name,absent",
        "labels.a",
        "name~=^o",
        "name@=x",
        "absent~=.",
    ] {
        let texts = [filter.to_owned()];
        assert!(!Filters::parse(&texts).is_ok_and(|filters| filters.matches(&item())), "{filter}");
    }
    assert!(!matches(&["name==bar", "absent"]));
}

#[test]
fn what_is_refused() {
    for filter in [
        " ",
        ",",
        "name,",
        "==foo",
        "name=",
        "name=foo",
        "name===foo",
        "name==",
        "name== ,parent",
        "name==foo bar",
        "name foo",
        "name.",
        ".name",
        "'name'==foo",
        r#"name=="foo"#,
        r#"name=="fo\"#,
        r#"name=="\q""#,
        r#"name=="\ud800""#,
        r#"name=="\777""#,
        r#"name=="\x0g""#,
        "name==/foo/",
        "name==|foo|",
        "name~=/foo",
        "name~=[",
        "name~=(((a{1000}){1000}){1000})",
        r"name~=(a)\1",
        "näme==foo",
    ] {
        assert!(Filters::parse(&[filter.to_owned()]).is_err(), "{filter}");
    }
    assert!(Filters::parse(&["a".repeat(100_000)]).is_err());
}

#[test]
fn any_key_survives_gos_quoting() {
    // strconv.Quote leaves printable text alone and escapes quotes and backslashes.
    let key = r#"k8s.io/4/extract-1--"x\ sha256:ab,c=ü"#;
    let quoted = key.replace('\\', r"\\").replace('"', r#"\""#);
    let filters = Filters::parse(&[format!("name==\"{quoted}\"")]);
    struct Named<'a>(&'a str);
    impl Fields for Named<'_> {
        fn field(&self, _: &[String]) -> Option<&str> {
            Some(self.0)
        }
    }
    assert!(filters.is_ok_and(|filters| filters.matches(&Named(key))));
}

#[test]
fn no_text_panics() {
    let seeds = [
        r#"labels."containerd.io/snapshot.ref"==sha256:ab,parent=="k8s.io/1/\x41\u00e4\"b""#,
        r"name~=/a\/b[c-d]{2,3}/,kind!=active,labels.a.b~=|x\|y|",
    ];
    let alphabet: Vec<char> =
        "\"\\/|=!~@.,_ \n\u{0}xuU0179abnamelabels{}()[]*+?äß\u{1f600}\u{2028}".chars().collect();
    let mut random = StdRng::seed_from_u64(7);
    for round in 0..4_000 {
        let mut text: Vec<char> = seeds[round % seeds.len()].chars().collect();
        for _ in 0..random.random_range(1..6) {
            let at = random.random_range(0..text.len());
            match random.random_range(0..3) {
                0 => text[at] = alphabet[random.random_range(0..alphabet.len())],
                1 => text.insert(at, alphabet[random.random_range(0..alphabet.len())]),
                _ if text.len() > 1 => drop(text.remove(at)),
                _ => {}
            }
        }
        let text: String = text.into_iter().collect();
        if let Ok(filters) = Filters::parse(&[text]) {
            let _ = filters.matches(&item());
        }
    }
}
