//! Pure: what holds for some paths of a zone alone.

use std::time::Duration;

use http::{HeaderName, HeaderValue};

/// The first whose pattern covers a path decides for it.
#[derive(Debug, Clone)]
pub struct PathRule {
    pub patterns: Vec<PathPattern>,
    /// A token is asked for, where the zone asks for any.
    pub token: bool,
    /// How long it is fresh here, whatever the origin says but no-store and
    /// private; playlists and manifests tell it themselves.
    pub ttl: Option<Duration>,
    /// Lines of the answer, in place of the origin's.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// A path with at most one `*`, which is any text: `/posters/*`, `*.jpg`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    before: String,
    /// `None`: the path is this one.
    after: Option<String>,
}

impl PathPattern {
    /// `None`: it covers no path, or is no pattern.
    pub fn parse(text: &str) -> Option<Self> {
        let (before, after) = match text.split_once('*') {
            Some((before, after)) => (before, Some(after.to_owned())),
            None => (text, None),
        };
        let rooted = before.starts_with('/') || before.is_empty() && after.is_some();
        let one_star = !after.as_deref().unwrap_or_default().contains('*');
        (rooted && one_star).then(|| Self {
            before: before.to_owned(),
            after,
        })
    }

    pub fn is_everything(&self) -> bool {
        matches!(self.before.as_str(), "" | "/") && self.after.as_deref() == Some("")
    }

    pub fn covers(&self, path: &str) -> bool {
        let Some(rest) = path.strip_prefix(self.before.as_str()) else {
            return false;
        };
        match &self.after {
            Some(after) => rest.ends_with(after.as_str()),
            None => rest.is_empty(),
        }
    }
}

impl std::fmt::Display for PathPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.before)?;
        match &self.after {
            Some(after) => write!(f, "*{after}"),
            None => Ok(()),
        }
    }
}

/// The rule for a path.
pub fn rule_of<'r>(rules: &'r [PathRule], path: &str) -> Option<&'r PathRule> {
    let covers = |rule: &&PathRule| rule.patterns.iter().any(|pattern| pattern.covers(path));
    rules.iter().find(covers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_text_and_everything_else_is_itself() {
        let table = [
            ("/posters/*", "/posters/a/b.jpg", true),
            ("/posters/*", "/posters/", true),
            ("/posters/*", "/posters", false),
            ("/posters/*", "/v/posters/a.jpg", false),
            ("*.jpg", "/a/b.jpg", true),
            ("*.jpg", "/a/b.JPG", false),
            ("/a/*.jpg", "/a/.jpg", true),
            ("/a/*a.jpg", "/a/a.jpg", true),
            ("/aa*aa", "/aa", false),
            ("/robots.txt", "/robots.txt", true),
            ("/robots.txt", "/robots.txt2", false),
            ("*", "/", true),
        ];
        for (pattern, path, covered) in table {
            let parsed = PathPattern::parse(pattern).unwrap();
            assert_eq!(parsed.covers(path), covered, "{pattern} {path}");
            assert_eq!(parsed.to_string(), pattern);
        }
        for bad in ["", "posters/*", "/a/*/*", "**"] {
            assert_eq!(PathPattern::parse(bad), None, "{bad}");
        }
    }
}
