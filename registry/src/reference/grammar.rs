//! The grammar of a reference's parts. Hand-written: each is a walk over bytes, and a regular expression
//! engine would be the largest dependency of this crate.

/// `host[:port]`: a DNS-like name, or an IPv6 address in brackets.
pub(super) fn is_host(text: &str) -> bool {
    let (name, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, "")) => return is_ipv6(address),
        Some((address, rest)) => match rest.strip_prefix(':') {
            Some(port) => return is_ipv6(address) && is_port(port),
            None => return false,
        },
        None => match text.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        },
    };
    port.is_none_or(is_port) && name.split('.').all(is_label)
}

fn is_ipv6(text: &str) -> bool {
    text.parse::<std::net::Ipv6Addr>().is_ok()
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

/// Letters, digits and inner dashes.
fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let outer = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    outer(bytes.first())
        && outer(bytes.last())
        && bytes.iter().all(|&b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Components separated by slashes.
pub(super) fn is_path(text: &str) -> bool {
    text.split('/').all(is_component)
}

/// Runs of lower-case letters and digits, separated by one of `.`, `_`, `__`, or any number of `-`.
fn is_component(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut rest = text.as_bytes();
    loop {
        let run = rest.iter().take_while(|&&b| word(b)).count();
        if run == 0 {
            return false;
        }
        rest = &rest[run..];
        if rest.is_empty() {
            return true;
        }
        let separator = rest.iter().take_while(|&&b| !word(b)).count();
        let (between, after) = rest.split_at(separator);
        let dashes = between.iter().all(|&b| b == b'-');
        if !dashes && !matches!(between, b"." | b"_" | b"__") {
            return false;
        }
        rest = after;
    }
}

/// A word character, then up to 127 word characters, dots and dashes.
pub(super) fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let mut bytes = text.bytes();
    text.len() <= 128 && bytes.next().is_some_and(word) && bytes.all(|b| word(b) || b == b'.' || b == b'-')
}
