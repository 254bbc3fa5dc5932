//! `WWW-Authenticate` (RFC 9110, 11.6.1): which schemes a server accepts.
//!
//! One header may hold several challenges, and a challenge several parameters, both separated by commas, so
//! that `Basic realm="a, b", Bearer realm="https://…",scope="repository:a:pull,push"` must be read word by
//! word. The text comes from the network: whatever it is, the parser ends with the challenges that it could
//! make sense of.

use reqwest::Url;

/// One challenge of a kind that this client can answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Challenge {
    /// User name and password with every request.
    Basic,
    /// A token from `realm` (distribution's "Token Authentication").
    Bearer {
        /// The token endpoint.
        realm: Url,
        /// What the token is for.
        service: Option<String>,
        /// What the token must allow.
        scope: Option<String>,
    },
}

impl Challenge {
    /// The best of all challenges in these headers: a token is worth less to a thief than a password.
    pub(crate) fn choose<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut basic = None;
        for header in headers {
            for (scheme, parameters) in parse(header) {
                let get = |name: &str| {
                    parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
                };
                if scheme.eq_ignore_ascii_case("basic") {
                    basic = Some(Self::Basic);
                } else if scheme.eq_ignore_ascii_case("bearer")
                    && let Some(mut realm) = get("realm").and_then(|realm| Url::parse(realm).ok())
                    && matches!(realm.scheme(), "http" | "https")
                {
                    // Credentials come from our sources only, and URLs are logged.
                    let _ = realm.set_username("");
                    let _ = realm.set_password(None);
                    let (service, scope) = (get("service").cloned(), get("scope").cloned());
                    return Some(Self::Bearer { realm, service, scope });
                }
            }
        }
        basic
    }
}

type Parameters = Vec<(String, String)>;

/// Challenges in order, each with its parameters.
fn parse(header: &str) -> Vec<(String, Parameters)> {
    let mut challenges: Vec<(String, Parameters)> = Vec::new();
    let mut rest = Cursor(header);
    loop {
        rest.skip(|c| c == ',' || c.is_ascii_whitespace());
        let word = rest.take(is_token);
        if word.is_empty() {
            // The end, or something that no challenge begins with: nothing after it can be trusted.
            return challenges;
        }
        rest.skip(|c| c.is_ascii_whitespace());
        if !rest.eat('=') {
            challenges.push((word.to_owned(), Vec::new()));
            // What Basic and Bearer do not have, Negotiate does: a bare token68 in place of parameters.
            rest.token68();
            continue;
        }
        rest.skip(|c| c.is_ascii_whitespace());
        let value = match rest.quoted() {
            Some(value) => value,
            None => rest.take(|c| c != ',' && !c.is_ascii_whitespace()).to_owned(),
        };
        // A parameter before any scheme belongs to nothing.
        if let Some((_, parameters)) = challenges.last_mut() {
            parameters.push((word.to_owned(), value));
        }
    }
}

/// `tchar` of RFC 9110, 5.6.2.
fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    fn take(&mut self, accept: impl Fn(char) -> bool) -> &'a str {
        let end = self.0.find(|c| !accept(c)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        taken
    }

    fn skip(&mut self, accept: impl Fn(char) -> bool) {
        self.take(accept);
    }

    fn eat(&mut self, expected: char) -> bool {
        match self.0.strip_prefix(expected) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    /// A quoted string with its escapes undone; one that is never closed reaches to the end.
    fn quoted(&mut self) -> Option<String> {
        if !self.eat('"') {
            return None;
        }
        let mut value = String::new();
        let mut characters = self.0.chars();
        loop {
            match characters.next() {
                Some('\\') => value.extend(characters.next()),
                Some('"') | None => break,
                Some(c) => value.push(c),
            }
        }
        self.0 = characters.as_str();
        Some(value)
    }

    /// Skips a token68 if one is here and ends where a challenge may end; else leaves all as it is.
    fn token68(&mut self) {
        let body = self.0.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c));
        let rest = body.trim_start_matches('=').trim_start();
        if rest.is_empty() || rest.starts_with(',') {
            self.0 = rest;
        }
    }
}

#[cfg(test)]
mod tests;
