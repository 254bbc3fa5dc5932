//! containerd's filters: which snapshots a List shows (contract §1.4).
//!
//! A filter is selectors joined by `,`, all of which must hold; a selector is a field's path, alone (the field is
//! there) or with an operator and a value. The text comes from a client, so it is parsed in one pass without
//! recursion, and regular expressions, which like Go's run in linear time, are bounded in size.

mod parse;
#[cfg(test)]
mod tests;

use regex::Regex;

/// Why a text is not a filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("filter {filter:?}, byte {at}: {cause}")]
pub struct FilterError {
    filter: String,
    at: usize,
    cause: String,
}

/// Something that has fields.
pub trait Fields {
    /// The value of the field at `path` (never empty), if it has one.
    fn field(&self, path: &[String]) -> Option<&str>;
}

/// Several filters, of which one must match; none at all match everything.
#[derive(Debug, Default)]
pub struct Filters(Vec<Vec<Selector>>);

impl Filters {
    /// Parses each text; the empty one matches everything.
    ///
    /// # Errors
    /// The first text that is not a filter, and where it is not.
    pub fn parse(texts: &[String]) -> Result<Self, FilterError> {
        texts.iter().map(|text| parse::filter(text)).collect::<Result<_, _>>().map(Self)
    }

    /// Whether one of the filters matches.
    #[must_use]
    pub fn matches(&self, item: &impl Fields) -> bool {
        self.0.is_empty() || self.0.iter().any(|all| all.iter().all(|selector| selector.matches(item)))
    }
}

/// One condition.
#[derive(Debug)]
struct Selector {
    path: Vec<String>,
    test: Test,
}

#[derive(Debug)]
enum Test {
    Present,
    Equal(String),
    NotEqual(String),
    Contains(String),
    Matches(Box<Regex>),
}

impl Selector {
    /// As in containerd, a field that is absent counts as empty for all operators but `==` and none.
    fn matches(&self, item: &impl Fields) -> bool {
        let found = item.field(&self.path);
        let value = found.unwrap_or_default();
        match &self.test {
            Test::Present => found.is_some(),
            Test::Equal(wanted) => found == Some(wanted),
            Test::NotEqual(other) => value != other,
            Test::Contains(part) => value.contains(part.as_str()),
            Test::Matches(regex) => regex.is_match(value),
        }
    }
}
