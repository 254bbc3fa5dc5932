//! Bytes behind the last gzip member: what Peel, gzip and unpigz make of them (docs/index-format.md, "Where a layer
//! ends"). The tools' part is measured, on Debian 12: a release that does something else is a reason to write it down anew.

use peel_layer::stream::StreamError;
use peel_layer::testing::{TarEntry, gzip, stream_whole, tar};

use super::run;

/// What follows, and the status of gzip and of unpigz. containerd takes what unpigz gives if that is 0.
const BEHIND: [(&str, &[u8], i32, i32); 8] = [
    ("zeros", &[0; 512], 0, 0),
    ("no member", b"garbage", 2, 0),
    // Zeros and no member together are no member.
    ("zeros, then a member", b"\0\0\0\0\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0", 2, 0),
    ("the first byte of a member", b"\x1f", 1, 0),
    ("the magic of a member", b"\x1f\x8b", 1, 0),
    ("a member of another method", b"\x1f\x8b\x07\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0", 1, 0),
    ("a damaged member", b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xff\xff\xff\xff", 1, 1),
    ("a member that is cut short", b"\x1f\x8b\x08\0\0\0\0\0\0\x03", 1, 1),
];

#[test]
fn is_refused_here_and_dropped_by_tools() {
    let tar = tar(&[TarEntry::file("f", b"content")]);
    let layer = gzip(&tar);
    assert!(stream_whole(&layer).is_ok());
    for (what, behind, of_gzip, of_unpigz) in BEHIND {
        let blob = [&layer, behind].concat();
        let at = layer.len() as u64;
        match stream_whole(&blob).expect_err(what) {
            StreamError::Garbage { at: found, .. } => assert!(found.0 == at && behind[0] != 0x1f, "{what}"),
            StreamError::Corrupt { at: found, .. } | StreamError::Truncated { at: found, .. } => {
                assert!(found.0 >= at && behind[0] == 0x1f, "{what}");
            }
            other => panic!("{what}: {other}"),
        }
        for (tool, arguments, status) in
            [("gzip", ["-d", "-c"], of_gzip), ("unpigz", ["-d", "-c"], of_unpigz)]
        {
            let output = run(tool, &arguments, &blob);
            assert_eq!(output.status.code(), Some(status), "{tool}: {what}");
            // Whatever the status: the layer's bytes were handed on before.
            assert!(output.stdout == tar, "{tool}: {what}");
            // gzip alone says that it dropped something, if it was not zeros.
            assert_eq!(output.stderr.is_empty(), status == 0, "{tool}: {what}");
        }
    }
}
