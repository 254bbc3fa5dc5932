//! Repositories whose owners are trusted with more than their images' digests say.
//!
//! `host/repository`, or `host/prefix/*` for all below. Written as in image references, Docker Hub's with its full name
//! (`docker.io/library/alpine`).

use peel_registry::ImageReference;
use serde::Deserialize;

/// A list of patterns; empty by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct TrustedRepositories(Vec<Pattern>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    /// Host and repository.
    One(String),
    /// What host and repository begin with; ends in a slash.
    Below(String),
}

impl TrustedRepositories {
    /// Whether the repository of `reference` is one of them.
    #[must_use]
    pub fn covers(&self, reference: &ImageReference) -> bool {
        let name = format!("{}/{}", reference.host(), reference.repository());
        self.0.iter().any(|pattern| match pattern {
            Pattern::One(one) => name == *one,
            Pattern::Below(prefix) => name.starts_with(prefix),
        })
    }

    /// The list of a single repository or prefix.
    ///
    /// # Errors
    /// As from the file.
    pub fn parse(pattern: &str) -> Result<Self, String> {
        Self::try_from(vec![pattern.to_owned()])
    }
}

impl TryFrom<Vec<String>> for TrustedRepositories {
    type Error = String;

    fn try_from(texts: Vec<String>) -> Result<Self, String> {
        texts.iter().map(|text| Pattern::parse(text)).collect::<Result<_, _>>().map(Self)
    }
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is neither host/repository nor host/prefix/* (no tag, no digest)");
        let below = text.strip_suffix("/*");
        // A host alone has no repository; the name of one makes it a reference.
        let name = match below {
            Some(prefix) if !prefix.contains('/') => format!("{prefix}/any"),
            other => other.unwrap_or(text).to_owned(),
        };
        let reference: ImageReference = name.parse().map_err(|_| wrong())?;
        // Shortened names, tags and digests do not come out as they went in.
        if format!("{}/{}", reference.host(), reference.repository()) != name {
            return Err(wrong());
        }
        Ok(below.map_or_else(|| Self::One(text.to_owned()), |prefix| Self::Below(format!("{prefix}/"))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_and_prefixes() {
        let list = ["r.example/app", "r.example:5000/team/*", "docker.io/library/alpine", "localhost:1/*"];
        let list = TrustedRepositories::try_from(list.map(str::to_owned).to_vec()).unwrap();
        let covers = |reference: &str| list.covers(&reference.parse().unwrap());
        for covered in ["r.example/app:1", "r.example:5000/team/a/b", "alpine", "localhost:1/x@sha256:00"] {
            let covered = covered.replace("sha256:00", &format!("sha256:{}", "0".repeat(64)));
            assert!(covers(&covered), "{covered}");
        }
        for other in [
            "r.example/app/more",
            "r.example/apple",
            "r.example:5000/team",
            "r.example:5000/teams/a",
            "r.example/team/a",
            "ghcr.io/library/alpine",
            "localhost:2/x",
        ] {
            assert!(!covers(other), "{other}");
        }
        assert!(!TrustedRepositories::default().covers(&"r.example/app".parse().unwrap()));
    }

    #[test]
    fn what_is_no_pattern() {
        for text in
            ["", "*", "/*", "app", "r.example", "r.example/a:1", "r.example/a/*/b", "alpine", "r.example/A/*"]
        {
            let error = TrustedRepositories::parse(text).unwrap_err();
            assert!(error.contains(&format!("{text:?} is neither")), "{error}");
        }
    }
}
