//! The filters' grammar.
//!
//! ```text
//! filter   = [ selector *( "," selector ) ]
//! selector = path [ ( "==" | "!=" | "~=" | "@=" ) value ]
//! path     = field *( "." field )
//! field    = 1*( letter | digit | "_" ) | quoted
//! value    = quoted | 1*( any but "," and white space )
//! quoted   = '"' with Go's escapes '"'; after "~=" also "/…/" and "|…|"
//! ```
//! Blanks between tokens mean nothing.

use super::{FilterError, Selector, Test};

/// Longest filter text. containerd sends a few hundred bytes.
const MAX_FILTER: usize = 64 << 10;
/// Compiled size of a regular expression, and of its lazily built automaton, in bytes.
const MAX_REGEX: usize = 1 << 20;

/// All selectors of a filter.
pub(super) fn filter(text: &str) -> Result<Vec<Selector>, FilterError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let mut parser = Parser { text, at: 0 };
    if text.len() > MAX_FILTER {
        return Err(parser.error(format!("longer than {MAX_FILTER} bytes")));
    }
    let mut selectors = Vec::new();
    loop {
        selectors.push(parser.selector()?);
        match parser.peek() {
            None => return Ok(selectors),
            Some(',') => parser.take(','),
            Some(other) => return Err(parser.error(format!("unexpected {other:?}"))),
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// The next character that is not blank.
    fn peek(&mut self) -> Option<char> {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
        self.rest().chars().next()
    }

    fn take(&mut self, taken: char) {
        self.at += taken.len_utf8();
    }

    /// As much as consists of such characters.
    fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|c| !belongs(c)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn error(&self, cause: impl Into<String>) -> FilterError {
        let filter = self.text.chars().take(200).collect();
        FilterError { filter, at: self.at, cause: cause.into() }
    }

    fn selector(&mut self) -> Result<Selector, FilterError> {
        let mut path = vec![self.field()?];
        while self.peek() == Some('.') {
            self.take('.');
            path.push(self.field()?);
        }
        if matches!(self.peek(), None | Some(',')) {
            return Ok(Selector { path, test: Test::Present });
        }
        let start = self.at;
        let test = match self.take_while(|c| matches!(c, '=' | '!' | '~' | '@')) {
            "==" => Test::Equal(self.value(false)?),
            "!=" => Test::NotEqual(self.value(false)?),
            "@=" => Test::Contains(self.value(false)?),
            "~=" => {
                let value = self.value(true)?;
                let regex =
                    regex::RegexBuilder::new(&value).size_limit(MAX_REGEX).dfa_size_limit(MAX_REGEX).build();
                Test::Matches(Box::new(regex.map_err(|error| self.error(error.to_string()))?))
            }
            other => {
                let cause = format!("{other:?} is not an operator (==, !=, ~=, @=)");
                self.at = start;
                return Err(self.error(cause));
            }
        };
        Ok(Selector { path, test })
    }

    fn field(&mut self) -> Result<String, FilterError> {
        if self.peek() == Some('"') {
            return self.quoted('"');
        }
        match self.take_while(|c| c.is_ascii_alphanumeric() || c == '_') {
            "" => Err(self.error("expected a field")),
            field => Ok(field.to_owned()),
        }
    }

    fn value(&mut self, is_regex: bool) -> Result<String, FilterError> {
        match self.peek() {
            Some('"') => self.quoted('"'),
            Some(quote @ ('/' | '|')) if is_regex => self.quoted(quote),
            Some('/' | '|') => Err(self.error("only a regular expression may be quoted like this")),
            _ => match self.take_while(|c| c != ',' && !c.is_whitespace()) {
                "" => Err(self.error("expected a value")),
                value => Ok(value.to_owned()),
            },
        }
    }

    /// A text between two `quote`s. The backslashes of `/…/` and `|…|` belong to the regular expression, except
    /// before the quote itself.
    fn quoted(&mut self, quote: char) -> Result<String, FilterError> {
        self.take(quote);
        let mut value = String::new();
        loop {
            let next = self.rest().chars().next().ok_or_else(|| self.error("a quote is not closed"))?;
            self.take(next);
            match next {
                c if c == quote => return Ok(value),
                '\n' => return Err(self.error("a line break within quotes")),
                '\\' if quote == '"' => self.escape(&mut value)?,
                '\\' => {
                    let escaped =
                        self.rest().chars().next().ok_or_else(|| self.error("a quote is not closed"))?;
                    self.take(escaped);
                    if escaped != quote {
                        value.push('\\');
                    }
                    value.push(escaped);
                }
                c => value.push(c),
            }
        }
    }

    /// What follows a backslash in a Go string (Go spec, "Rune literals").
    fn escape(&mut self, value: &mut String) -> Result<(), FilterError> {
        let kind = self.rest().chars().next().ok_or_else(|| self.error("a quote is not closed"))?;
        let start = self.at;
        self.take(kind);
        let decoded = match kind {
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            '\\' | '"' => kind,
            'x' => return self.bytes(start, value),
            '0'..='7' => return self.bytes(start, value),
            'u' => self.code_point(4)?,
            'U' => self.code_point(8)?,
            other => return Err(self.error(format!("unknown escape \\{other}"))),
        };
        value.push(decoded);
        Ok(())
    }

    fn code_point(&mut self, digits: usize) -> Result<char, FilterError> {
        let code = self.number(digits, 16)?;
        char::from_u32(code).ok_or_else(|| self.error("not a code point"))
    }

    fn number(&mut self, digits: usize, radix: u32) -> Result<u32, FilterError> {
        let text = self.rest().get(..digits).filter(|text| text.chars().all(|c| c.is_digit(radix)));
        let text = text.ok_or_else(|| self.error(format!("expected {digits} digits")))?;
        self.at += digits;
        u32::from_str_radix(text, radix).map_err(|error| self.error(error.to_string()))
    }

    /// Go escapes the bytes of what is not UTF-8 one by one; a run of them is decoded together.
    fn bytes(&mut self, start: usize, value: &mut String) -> Result<(), FilterError> {
        let mut bytes = Vec::new();
        self.at = start;
        loop {
            let byte = if self.rest().starts_with('x') {
                self.take('x');
                self.number(2, 16)?
            } else {
                self.number(3, 8)?
            };
            bytes.push(u8::try_from(byte).map_err(|_| self.error("more than a byte"))?);
            let mut after = self.rest().chars();
            if after.next() == Some('\\') && matches!(after.next(), Some('x' | '0'..='7')) {
                self.take('\\');
            } else {
                break;
            }
        }
        value.push_str(&String::from_utf8_lossy(&bytes));
        Ok(())
    }
}
