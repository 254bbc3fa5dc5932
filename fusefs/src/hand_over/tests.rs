use super::*;

#[test]
fn the_request_says_what_was_recorded() {
    let init = InitParameters {
        kernel_major: 7,
        kernel_minor: 45,
        offered: 0x0000_0081_0000_0009,
        requested: 9,
        max_readahead: 131_072,
        max_write: 1 << 20,
        max_background: 7,
        congestion_threshold: 7,
    };
    let request = init_request(&init);
    let word = |at: usize| u32::from_ne_bytes(request[at..at + 4].try_into().expect("in range"));
    assert_eq!(request.len(), 104);
    assert_eq!([word(0), word(4)], [104, 26]);
    assert_eq!([word(40), word(44), word(48)], [7, 45, 131_072]);
    assert_eq!([word(52), word(56)], [0x4000_0009, 0x81], "FUSE_INIT_EXT says that there is a second word");
}

#[test]
fn no_connection_is_not_alive() {
    let (one, other) = rehearsal_pair();
    drop(other);
    assert!(!is_alive(one.as_fd()));
}

fn rehearsal_pair() -> (OwnedFd, OwnedFd) {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .expect("sockets")
}
