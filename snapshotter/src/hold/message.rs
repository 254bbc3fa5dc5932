//! The text of a message: lines `KEY=value`, as `sd_notify(3)` has them.

/// Longest text. systemd's own limit is a page.
pub(super) const LONGEST: usize = 4096;
/// Longest name, as in systemd.
const LONGEST_NAME: usize = 255;

/// What a message to the notify socket asks for. Lines that are not understood mean nothing, as in systemd.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Notification<'text> {
    /// Keep the descriptors that came along under this name.
    Store(&'text str),
    /// Close what has this name.
    Remove(&'text str),
    /// Close the descriptor that came along: its sender learns that all before it was done.
    Barrier,
    /// Something else: `READY=1`, `STATUS=…`.
    Other,
}

impl<'text> Notification<'text> {
    pub(super) fn parse(text: &'text [u8]) -> Self {
        let Ok(text) = str::from_utf8(text) else { return Self::Other };
        let value = |key: &str| {
            text.lines().find_map(|line| line.strip_prefix(key).and_then(|rest| rest.strip_prefix('=')))
        };
        let name = value("FDNAME").filter(|name| is_name(name));
        match (value("FDSTORE"), value("FDSTOREREMOVE"), value("BARRIER"), name) {
            (Some("1"), None, _, name) => Self::Store(name.unwrap_or("stored")),
            (None, Some("1"), _, Some(name)) => Self::Remove(name),
            (None, None, Some("1"), _) => Self::Barrier,
            _ => Self::Other,
        }
    }
}

/// As systemd: printable ASCII without a colon.
fn is_name(name: &str) -> bool {
    let printable = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b':';
    !name.is_empty() && name.len() <= LONGEST_NAME && name.bytes().all(printable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_understood() {
        for (text, meaning) in [
            ("FDSTORE=1\nFDNAME=fuse-1", Notification::Store("fuse-1")),
            ("FDSTORE=1", Notification::Store("stored")),
            ("FDSTORE=1\nFDNAME=a:b", Notification::Store("stored")),
            ("FDSTOREREMOVE=1\nFDNAME=fuse-1\n", Notification::Remove("fuse-1")),
            ("FDSTOREREMOVE=1", Notification::Other),
            ("BARRIER=1", Notification::Barrier),
            ("READY=1\nSTATUS=well", Notification::Other),
            ("FDSTORE=11", Notification::Other),
            ("", Notification::Other),
        ] {
            assert_eq!(Notification::parse(text.as_bytes()), meaning, "{text}");
        }
        assert_eq!(Notification::parse(b"FDSTORE=1\xff"), Notification::Other);
    }
}
