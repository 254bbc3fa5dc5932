use std::{
    fs::File,
    io::{Read as _, Seek as _, Write as _},
    os::fd::AsFd as _,
    os::unix::fs::PermissionsExt as _,
    thread,
};

use super::*;

fn file(content: &str) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content.as_bytes()).unwrap();
    file
}

fn content(descriptor: std::os::fd::OwnedFd) -> String {
    let mut file = File::from(descriptor);
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn what_is_stored_comes_back_until_it_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("hold.sock");
    let held = Held::listen(&socket).unwrap();
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let thread = thread::spawn(move || hold(held));
    let holder = Holder::at(&socket);
    assert!(holder.get().unwrap().is_empty());
    holder.store("one", file("1").as_fd()).unwrap();
    holder.store("two", file("2").as_fd()).unwrap();
    holder.store("two", file("another 2").as_fd()).unwrap();
    for _ in 0..2 {
        let kept = holder.get().unwrap().into_iter().map(|(name, it)| (name, content(it)));
        assert!(kept.eq([("one".into(), "1".into()), ("two".into(), "another 2".into())]));
    }
    holder.remove("one").unwrap();
    assert_eq!(holder.names().unwrap(), ["two"]);
    assert!(Held::listen(&socket).is_err(), "two at one place");

    holder.stop().unwrap();
    thread.join().unwrap().unwrap();
    assert!(holder.get().is_err());
    // A socket that a dead holder left is in nobody's way.
    assert!(Held::listen(&socket).is_ok());
}
