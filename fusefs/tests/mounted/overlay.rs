//! As lowerdirs of a container.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
};

use peel_erofs::NodeKind;

use crate::{
    fixture::{Builder, CAPABILITY, content, everything},
    harness::{Mounted, Overlay, within},
};

/// Two layers and an upper directory.
fn container() -> (Mounted, Overlay) {
    let mounted = Mounted::new();
    let mut base = Builder::new();
    base.file("etc/passwd", b"root");
    base.file("etc/gone", b"1");
    base.file("opaque/hidden", b"2");
    base.file("merged/below", b"3");
    base.file("was directory/x", b"4");
    let su = base.file("su", &content(7, 10_000));
    base.change(su, |metadata| (metadata.permissions, metadata.uid, metadata.gid) = (0o4755, 0, 0));
    let ping = base.file("ping", b"#!");
    base.xattr(ping, "security.capability", &CAPABILITY);
    base.xattr(ping, "user.note", b"kept");
    mounted.layers.add(1, base.build());

    let mut top = Builder::new();
    top.whiteout("etc/gone");
    let opaque = top.directory("opaque");
    top.xattr(opaque, "trusted.overlay.opaque", b"y");
    top.file("opaque/shown", b"5");
    top.file("merged/above", b"6");
    top.add("was directory", NodeKind::Symlink(b"merged".to_vec()));
    mounted.layers.add(2, top.build());

    let overlay = Overlay::of(&[mounted.path().join("2"), mounted.path().join("1")]);
    (mounted, overlay)
}

fn names(overlay: &Overlay, path: &str) -> Vec<String> {
    let list = fs::read_dir(overlay.at(path)).unwrap();
    let mut names: Vec<_> = list.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn layers_merge() {
    let (_mounted, overlay) = container();
    within("reading", move || {
        assert_eq!(names(&overlay, ""), ["etc", "merged", "opaque", "ping", "su", "was directory"]);
        assert_eq!(names(&overlay, "etc"), ["passwd"]);
        assert!(!overlay.at("etc/gone").exists());
        assert_eq!(names(&overlay, "opaque"), ["shown"]);
        assert_eq!(names(&overlay, "merged"), ["above", "below"]);
        assert_eq!(names(&overlay, "was directory"), ["above", "below"]);
        assert_eq!(fs::read(overlay.at("merged/above")).unwrap(), b"6");
    });
}

#[test]
fn what_is_written_is_copied_up_with_all_it_has() {
    let (_mounted, overlay) = container();
    within("writing", move || {
        let owner = |name: &str| fs::metadata(overlay.at(name)).unwrap().uid();
        fs::set_permissions(overlay.at("ping"), fs::Permissions::from_mode(0o700)).unwrap();
        let mut value = [0; 64];
        let length = rustix::fs::getxattr(overlay.at("ping"), "security.capability", &mut value[..]).unwrap();
        assert_eq!(&value[..length], CAPABILITY);
        let length = rustix::fs::getxattr(overlay.at("ping"), "user.note", &mut value[..]).unwrap();
        assert_eq!(&value[..length], b"kept");

        assert_eq!(fs::metadata(overlay.at("su")).unwrap().mode() & 0o7777, 0o4755);
        assert_eq!(owner("su"), 0);
        let before = fs::metadata(overlay.at("su")).unwrap();
        rustix::fs::utimensat(
            rustix::fs::CWD,
            overlay.at("su"),
            &rustix::fs::Timestamps {
                last_access: rustix::fs::Timespec { tv_sec: 1, tv_nsec: 2 },
                last_modification: rustix::fs::Timespec { tv_sec: 3, tv_nsec: 4 },
            },
            rustix::fs::AtFlags::empty(),
        )
        .unwrap();
        let after = fs::metadata(overlay.at("su")).unwrap();
        assert_eq!((after.mtime(), after.mtime_nsec()), (3, 4));
        assert_eq!(after.mode(), before.mode());
        assert!(fs::read(overlay.at("su")).unwrap() == content(7, 10_000));

        fs::write(overlay.at("etc/passwd"), b"changed").unwrap();
        assert_eq!(fs::read(overlay.at("etc/passwd")).unwrap(), b"changed");
        fs::remove_dir_all(overlay.at("opaque")).unwrap();
        assert_eq!(names(&overlay, ""), ["etc", "merged", "ping", "su", "was directory"]);
        fs::create_dir(overlay.at("opaque")).unwrap();
        assert!(names(&overlay, "opaque").is_empty());
        fs::rename(overlay.at("su"), overlay.at("merged/su")).unwrap();
        assert_eq!(names(&overlay, "merged"), ["above", "below", "su"]);
    });
}

#[test]
fn a_tree_of_everything_works_below() {
    let mounted = Mounted::new();
    mounted.layers.add(1, everything());
    let mut top = Builder::new();
    top.file("many/99999", b"");
    mounted.layers.add(2, top.build());
    let overlay = Overlay::of(&[mounted.path().join("2"), mounted.path().join("1")]);
    within("reading", move || {
        assert_eq!(names(&overlay, "many").len(), 20_001);
        assert_eq!(fs::read(overlay.at(&format!("{}bottom", "deep/".repeat(60)))).unwrap(), b"found");
        assert_eq!(fs::metadata(overlay.at("links/first")).unwrap().nlink(), 3);
        let device = fs::symlink_metadata(overlay.at("dev/null")).unwrap();
        assert_eq!(device.rdev(), rustix::fs::makedev(1, 3));
        fs::write(overlay.at("dev/null"), b"a device node that works").unwrap();
    });
}
