//! Text that must never be shown: passwords, tokens, refresh tokens.

use std::fmt;

/// A secret text. `Debug` shows a placeholder, and there is no `Display`: the only way to the text is
/// [`Secret::expose`], so that a search for that word finds every place that handles it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one request or comparison that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
