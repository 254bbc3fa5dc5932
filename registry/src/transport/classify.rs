//! What an error of the HTTP stack means.

use std::{error::Error as StdError, io};

use serde::Deserialize;

use crate::error::{Context, ErrorKind, RegistryError};

/// Sorts an error of the stack. Its text is kept, its URL is not.
pub(crate) fn error(context: &Context, error: reqwest::Error) -> RegistryError {
    let error = error.without_url();
    let kind = if is_tls(&error) {
        ErrorKind::Tls
    } else if error.is_timeout() {
        ErrorKind::TimedOut
    } else if error.is_builder() {
        ErrorKind::Invalid
    } else {
        // Everything else is a connection that was not made or did not last.
        ErrorKind::Unreachable
    };
    RegistryError::new(context, kind, chain(&error))
}

/// An error's text and those of its causes, without repetitions.
pub(crate) fn chain(error: &dyn StdError) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let part = error.to_string();
        if !text.contains(&part) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&part);
        }
        next = error.source();
    }
    text
}

/// rustls' errors travel inside `io::Error`s, whose `source` skips over them. A peer that answers TLS with
/// something else entirely is an error of rustls as well.
fn is_tls(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if error.is::<rustls::Error>() || inner.is_some_and(|inner| inner.is::<rustls::Error>()) {
            return true;
        }
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    false
}

#[derive(Deserialize)]
struct OciErrors {
    errors: Vec<OciError>,
}

#[derive(Deserialize)]
struct OciError {
    code: String,
}

/// The codes of an OCI error body (distribution spec, "Error Codes"), or nothing.
pub(crate) fn error_codes(body: &[u8]) -> String {
    let Ok(body) = serde_json::from_slice::<OciErrors>(body) else { return String::new() };
    let is_code =
        |code: &String| code.len() <= 40 && code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    let codes: Vec<_> = body.errors.into_iter().map(|error| error.code).filter(is_code).take(4).collect();
    codes.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_codes_are_taken_from_bodies() {
        let body =
            br#"{"errors":[{"code":"DENIED","message":"token abc"},{"code":"sneaky text","detail":{}}]}"#;
        assert_eq!(error_codes(body), "DENIED");
        assert_eq!(error_codes(b"<html>secret</html>"), "");
    }

    #[test]
    fn tls_errors_are_found_inside_io_errors() {
        let tls = rustls::Error::HandshakeNotComplete;
        assert!(is_tls(&io::Error::other(io::Error::other(tls))));
        assert!(!is_tls(&io::Error::other("tls")));
    }
}
