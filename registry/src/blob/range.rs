//! Whether an answer is the range that was asked.

use std::ops::Range;

use reqwest::header::{CONTENT_ENCODING, CONTENT_RANGE};

use super::body::Body;
use crate::{
    error::{ErrorKind, RegistryError},
    transport::Response,
};

/// `Content-Range: bytes first-last/total`, as a half-open range. A total of `*` is unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ContentRange {
    /// `None` in an answer 416: `bytes */total`.
    pub(super) range: Option<Range<u64>>,
    pub(super) total: Option<u64>,
}

impl ContentRange {
    pub(super) fn of(response: &Response) -> Option<Self> {
        response.header(CONTENT_RANGE).and_then(Self::parse)
    }

    fn parse(text: &str) -> Option<Self> {
        let (unit, rest) = text.trim().split_once(' ')?;
        let (range, total) = rest.trim().split_once('/')?;
        let range = match range.split_once('-') {
            Some((first, last)) => Some(number(first)?..number(last)?.checked_add(1)?),
            None if range == "*" => None,
            None => return None,
        };
        let total = if total == "*" { None } else { Some(number(total)?) };
        // The specification's own validity rules (RFC 9110, 14.4).
        let valid = unit.eq_ignore_ascii_case("bytes")
            && range.as_ref().is_none_or(|r| r.start < r.end && total.is_none_or(|total| r.end <= total));
        valid.then_some(Self { range, total })
    }
}

/// Digits only: `parse` alone would take a sign.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

/// The body with the bytes of `asked`, or why this answer has them not. Gives the blob's size too, if the
/// answer says it; `known` is what is known of it.
pub(super) async fn accept(
    response: Response,
    asked: &Range<u64>,
    known: Option<u64>,
    max_skip: u64,
) -> Result<(Body, Option<u64>), RegistryError> {
    let wrong = |detail: String| Err(response.error(ErrorKind::Protocol, detail));
    let contradicts = |total: u64| known.is_some_and(|known| known != total);
    let status = response.status().as_u16();
    if matches!(status, 200 | 206) && response.header(CONTENT_ENCODING).is_some_and(|e| e != "identity") {
        return wrong("the blob comes with a content encoding".to_owned());
    }
    let length = response.content_length();
    match status {
        206 => {
            let Some(content) = ContentRange::of(&response) else {
                return wrong("a partial answer without a usable Content-Range".to_owned());
            };
            if content.range.as_ref() != Some(asked) {
                let got = content.range.unwrap_or_default();
                return wrong(format!(
                    "bytes {}..{} came for {}..{}",
                    got.start, got.end, asked.start, asked.end
                ));
            }
            if let Some(total) = content.total.filter(|total| contradicts(*total)) {
                return wrong(format!("the blob is said to have {total} bytes, not {}", known.unwrap_or(0)));
            }
            if let Some(length) = length.filter(|length| *length != asked.end - asked.start) {
                return wrong(format!("{length} bytes came for {}..{}", asked.start, asked.end));
            }
            Ok((Body::new(response, 0, asked.end - asked.start), content.total))
        }
        200 => {
            if let Some(length) = length.filter(|length| contradicts(*length) || *length < asked.end) {
                return wrong(format!("the blob is said to have {length} bytes; {} were asked", asked.end));
            }
            if asked.start > max_skip {
                return wrong(format!(
                    "the server ignores ranges, and {} bytes lie before this one",
                    asked.start
                ));
            }
            Ok((Body::new(response, asked.start, asked.end - asked.start), length))
        }
        416 => {
            let total = ContentRange::of(&response).and_then(|content| content.total);
            let error = response.error(ErrorKind::Refused { status }, "");
            let note = total.map_or_else(String::new, |total| format!("the blob ends at {total}, "));
            Err(error.with_note(&format!("{note}{}..{} was asked", asked.start, asked.end)))
        }
        300.. => Err(response.into_error().await),
        _ => wrong(format!("status {status} to a request for bytes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges() {
        let parse = |text| ContentRange::parse(text).map(|content| (content.range, content.total));
        assert_eq!(parse("bytes 0-0/1"), Some((Some(0..1), Some(1))));
        assert_eq!(parse(" Bytes 10-19/* "), Some((Some(10..20), None)));
        assert_eq!(parse("bytes */47"), Some((None, Some(47))));
        for text in [
            "",
            "bytes",
            "bytes 0-0",
            "0-0/1",
            "bytes 1-0/5",
            "bytes 0-5/5",
            "bytes +1-2/5",
            "bytes 0-1/-1",
            "bytes -1/5",
            "bytes 0-18446744073709551615/*",
            "items 0-0/1",
            "bytes 0-0,2-3/5",
            "bytes a-b/c",
            "bytes -/*",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
