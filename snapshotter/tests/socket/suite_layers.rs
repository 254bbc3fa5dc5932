//! containerd's suite: stacks of layers, each level equal to the same changes made in one flat directory.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown, lchown, symlink},
    path::Path,
};

use super::{Daemon, Mounted, tree::describe};

type Change = fn(&Path);

async fn check(changes: &[Change]) {
    let (_daemon, client) = Daemon::start().await;
    let flat = tempfile::tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(flat.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut parent = String::new();
    for (level, change) in changes.iter().enumerate() {
        let (key, name) = (format!("prepare {level}"), format!("layer {level}"));
        {
            let mounted = Mounted::new(&client.prepare(&key, &parent).await.unwrap());
            change(mounted.path());
            change(flat.path());
            assert_eq!(describe(mounted.path()), describe(flat.path()), "level {level}, while active");
        }
        client.commit(&name, &key).await.unwrap();
        let view = Mounted::new(&client.view(&format!("view {level}"), &name).await.unwrap());
        assert_eq!(describe(view.path()), describe(flat.path()), "level {level}");
        parent = name;
    }
}

fn write(root: &Path, name: &str, content: &str) {
    fs::write(root.join(name), content).unwrap();
}

fn directory(root: &Path, name: &str, mode: u32) {
    fs::create_dir_all(root.join(name)).unwrap();
    fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn files_are_updated() {
    check(&[
        |root| {
            write(root, "foo", "hello");
            directory(root, "etc", 0o755);
            write(root, "etc/hosts", "mydomain 10.0.0.1");
            write(root, "f2", "two");
        },
        |root| {
            write(root, "foo", "hello\nworld");
            write(root, "etc/hosts", "mydomain 10.0.0.120");
        },
        |root| {
            write(root, "f2", "");
            symlink("f2", root.join("link")).unwrap();
            fs::hard_link(root.join("foo"), root.join("foo again")).unwrap();
        },
    ])
    .await;
}

#[tokio::test]
async fn a_lower_directory_is_replaced() {
    check(&[
        |root| {
            directory(root, "dir1", 0o700);
            directory(root, "dir1/sub", 0o711);
            write(root, "dir1/f1", "111");
        },
        |root| {
            fs::remove_dir_all(root.join("dir1")).unwrap();
            directory(root, "dir1", 0o700);
            write(root, "dir1/f2", "222");
        },
        |root| {
            fs::remove_dir_all(root.join("dir1")).unwrap();
            write(root, "dir1", "a file now");
        },
        |root| {
            fs::remove_file(root.join("dir1")).unwrap();
            directory(root, "dir1/sub", 0o755);
        },
    ])
    .await;
}

#[tokio::test]
async fn owners_change() {
    check(&[
        |root| {
            directory(root, "opt/a/b", 0o700);
            write(root, "opt/file", "hello");
            symlink("nowhere", root.join("opt/link")).unwrap();
        },
        |root| {
            chown(root.join("opt"), Some(1), Some(1)).unwrap();
            chown(root.join("opt/file"), Some(2), Some(2)).unwrap();
            lchown(root.join("opt/link"), Some(3), Some(3)).unwrap();
        },
        |root| chown(root.join("opt/a/b"), Some(4), Some(5)).unwrap(),
    ])
    .await;
}

#[tokio::test]
async fn directories_keep_their_modes() {
    check(&[
        |root| {
            directory(root, "dir1", 0o700);
            directory(root, "dir2", 0o751);
            directory(root, "dir3", 0o1777);
            write(root, "dir1/f", "x");
        },
        |root| {
            directory(root, "dir1", 0o1700);
            directory(root, "dir4", 0o2755);
            write(root, "dir2/f", "y");
        },
        |root| {
            fs::remove_dir_all(root.join("dir2")).unwrap();
            directory(root, "dir2", 0o700);
            chown(root.join("dir4"), Some(1), Some(1)).unwrap();
        },
    ])
    .await;
}

#[tokio::test]
async fn deleted_files_stay_deleted() {
    check(&[
        |root| {
            for name in ["foo", "bar", "keep"] {
                write(root, name, name);
            }
        },
        |root| fs::remove_file(root.join("foo")).unwrap(),
        |root| {
            fs::remove_file(root.join("bar")).unwrap();
            write(root, "foo", "back");
        },
    ])
    .await;
}

#[tokio::test]
async fn lower_files_move() {
    check(&[
        |root| {
            directory(root, "dir1", 0o700);
            directory(root, "dir2", 0o700);
            write(root, "dir1/f1", "rename me");
        },
        |root| fs::rename(root.join("dir1/f1"), root.join("dir2/f1")).unwrap(),
        |root| fs::rename(root.join("dir2/f1"), root.join("f1")).unwrap(),
    ])
    .await;
}

/// A directory that lies below cannot be renamed on overlayfs as the kernel sets it up by default (EXDEV, which
/// programs answer by copying): the same here, since the mounts are the same.
#[tokio::test]
async fn directories_are_renamed() {
    check(&[
        |root| {
            directory(root, "dir1/sub", 0o700);
            write(root, "dir1/sub/f", "x");
        },
        |root| {
            directory(root, "dir2", 0o711);
            write(root, "dir2/new", "y");
            fs::rename(root.join("dir2"), root.join("dir1/renamed")).unwrap();
        },
        |root| {
            if let Err(error) = fs::rename(root.join("dir1"), root.join("dir3")) {
                assert_eq!(error.kind(), std::io::ErrorKind::CrossesDevices);
                directory(root, "dir3/sub", 0o700);
                write(root, "dir3/sub/f", "x");
                directory(root, "dir3/renamed", 0o711);
                write(root, "dir3/renamed/new", "y");
                fs::set_permissions(
                    root.join("dir3"),
                    fs::metadata(root.join("dir1")).unwrap().permissions(),
                )
                .unwrap();
                fs::remove_dir_all(root.join("dir1")).unwrap();
            }
        },
    ])
    .await;
}

#[tokio::test]
async fn a_hundred_and_twenty_eight_layers() {
    let (_daemon, client) = Daemon::start().await;
    let flat = tempfile::tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(flat.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let change = |root: &Path, level: usize| {
        write(root, "bottom", &format!("written by {level}"));
        write(root, &format!("layer {level}"), "x");
        if level > 0 && level.is_multiple_of(3) {
            fs::remove_file(root.join(format!("layer {}", level - 1))).unwrap();
        }
    };
    let mut parent = String::new();
    for level in 0..128 {
        let name = format!("layer {level}");
        client.layer(&name, &parent, |root| change(root, level)).await;
        change(flat.path(), level);
        let view = Mounted::new(&client.view(&format!("view {level}"), &name).await.unwrap());
        assert_eq!(describe(view.path()), describe(flat.path()), "level {level}");
        parent = name;
    }
    let active = Mounted::new(&client.prepare("active", &parent).await.unwrap());
    write(active.path(), "bottom", "writable");
}
