//! The TOC's JSON as a stream: entries go to a callback one by one, and nothing of the document is kept.
//!
//! A JSON parser must hold one string at a time, so the longest is limited before the parser sees it.

use std::fmt;
use std::io::{self, BufReader, Read};

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::entry::TocEntry;

/// The version of the TOC that is understood (`version` in its JSON).
const VERSION: u64 = 1;

/// Reads a TOC and hands its entries to `take`, until the end or until `take` breaks off.
///
/// # Errors
/// What is wrong with the JSON, or that `take` broke off.
pub(super) fn read(
    json: impl Read,
    string_max: usize,
    take: &mut dyn FnMut(TocEntry) -> Result<(), Stop>,
) -> Result<(), serde_json::Error> {
    let strings = StringLimit { json, max: string_max, length: None, escaped: false };
    let mut parser = serde_json::Deserializer::from_reader(BufReader::with_capacity(64 << 10, strings));
    parser.deserialize_map(Document(take))?;
    // Nothing but white space may follow.
    parser.end()
}

/// The callback has seen enough; it keeps the reason itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stop;

struct Document<'a>(&'a mut dyn FnMut(TocEntry) -> Result<(), Stop>);

impl<'de> Visitor<'de> for Document<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a TOC: an object with version and entries")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = false;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "version" => match map.next_value::<Option<u64>>()? {
                    Some(VERSION) | None => {}
                    Some(other) => {
                        return Err(A::Error::custom(format_args!("version {other} is not known")));
                    }
                },
                "entries" if seen => return Err(A::Error::duplicate_field("entries")),
                "entries" => {
                    seen = true;
                    map.next_value_seed(Entries(&mut *self.0))?;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

struct Entries<'a>(&'a mut dyn FnMut(TocEntry) -> Result<(), Stop>);

impl<'de> DeserializeSeed<'de> for Entries<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("entries: an array")
    }

    /// Go writes null for an empty layer.
    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while let Some(entry) = entries.next_element()? {
            (self.0)(entry).map_err(|Stop| A::Error::custom("broken off"))?;
        }
        Ok(())
    }
}

/// Passes JSON on while its strings are not too long.
struct StringLimit<R> {
    json: R,
    max: usize,
    /// Bytes of the string that the last byte read was in.
    length: Option<usize>,
    escaped: bool,
}

impl<R: Read> Read for StringLimit<R> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        let count = self.json.read(output)?;
        for &byte in &output[..count] {
            self.length = match (self.length, byte) {
                (None, b'"') => Some(0),
                (None, _) => None,
                (Some(_), b'"') if !self.escaped => None,
                (Some(length), _) if length >= self.max => {
                    return Err(io::Error::other(format!("a string is longer than {} bytes", self.max)));
                }
                (Some(length), _) => Some(length + 1),
            };
            self.escaped = self.length.is_some() && byte == b'\\' && !self.escaped;
        }
        Ok(count)
    }
}
