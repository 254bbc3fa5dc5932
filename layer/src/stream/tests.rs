#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod decompress;
mod hostile;
mod support;
mod tar;
