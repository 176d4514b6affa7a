//! The types of value that a key may have, each read with a problem that says
//! what is allowed.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use ipnet::IpNet;
use zeroize::Zeroizing;

use super::secret::{
    MIN_KEY_BYTES, NoSecret, from_env, from_file, odd_edges, open_to_others, too_short,
};
use super::section::{Section, Value};
use super::units::{duration_text, parse_duration, parse_size, size_text};
use crate::per_address::canonical;

impl Section<'_> {
    pub fn text(&self, name: &'static str) -> Option<String> {
        let value = self.value(name)?;
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.wrong_type(name, value, "a string");
        }
        text.map(str::to_owned)
    }

    /// A string that must be there and not empty.
    pub fn required_text(&self, name: &'static str, hint: &str) -> Option<String> {
        if !self.has(name) {
            self.problem(name, "nothing", "a non-empty string", hint);
            return None;
        }
        let text = self.text(name)?;
        if text.is_empty() {
            self.problem(name, "\"\"", "a non-empty string", hint);
            return None;
        }
        Some(text)
    }

    pub fn flag(&self, name: &'static str, default: bool) -> bool {
        self.shows(name, default);
        let Some(value) = self.value(name) else {
            return default;
        };
        value.get_ref().as_bool().unwrap_or_else(|| {
            self.wrong_type(name, value, "true or false");
            default
        })
    }

    pub fn integer(&self, name: &'static str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let value = self.value(name)?;
        let number = value
            .get_ref()
            .as_integer()
            .and_then(|n| n.as_str().parse().ok());
        let number = number.filter(|n| range.contains(n));
        if number.is_none() {
            let allowed = format!("a whole number from {} to {}", range.start(), range.end());
            self.wrong_type(name, value, &allowed);
        }
        number
    }

    pub fn integer_or(
        &self,
        name: &'static str,
        range: std::ops::RangeInclusive<u64>,
        default: u64,
    ) -> u64 {
        self.shows(name, i64::try_from(default).unwrap_or(i64::MAX));
        self.integer(name, range).unwrap_or(default)
    }

    /// A value that `parse` understands.
    pub fn parsed<T>(
        &self,
        name: &'static str,
        allowed: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.text(name)?;
        let parsed = parse(&text);
        if parsed.is_none() {
            self.problem(
                name,
                format!("{text:?}"),
                allowed,
                "see docs/configuration.md for this key",
            );
        }
        parsed
    }

    pub fn duration(&self, name: &'static str) -> Option<Duration> {
        self.parsed(
            name,
            "a duration such as \"500ms\", \"30s\", \"5m\", \"2h\" or \"7d\"",
            parse_duration,
        )
    }

    pub fn duration_or(&self, name: &'static str, default: Duration) -> Duration {
        self.shows(name, duration_text(default));
        self.duration(name).unwrap_or(default)
    }

    pub fn size_or(&self, name: &'static str, default: u64) -> u64 {
        self.shows(name, size_text(default));
        self.size(name).unwrap_or(default)
    }

    pub fn size(&self, name: &'static str) -> Option<u64> {
        self.parsed(
            name,
            "a size such as \"512KiB\", \"64MiB\" or \"1GiB\"",
            parse_size,
        )
    }

    /// A list whose every item `parse` understands.
    pub fn list<T>(
        &self,
        name: &'static str,
        allowed: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Vec<T> {
        let Some(value) = self.value(name) else {
            return Vec::new();
        };
        let Some(array) = value.get_ref().as_array() else {
            self.wrong_type(name, value, &format!("a list of {allowed}"));
            return Vec::new();
        };
        let mut out = Vec::new();
        for item in array {
            match item.get_ref().as_str().and_then(&parse) {
                Some(parsed) => out.push(parsed),
                None => self.record(
                    self.path(name),
                    self.line_of(item),
                    self.snippet(item),
                    allowed,
                    "see docs/configuration.md for this key",
                ),
            }
        }
        out
    }

    pub fn is_text(&self, name: &'static str) -> bool {
        self.value(name).is_some_and(|it| it.get_ref().is_str())
    }

    pub fn is_table(&self, name: &'static str) -> bool {
        self.value(name).is_some_and(|it| it.get_ref().is_table())
    }

    /// A table of header lines.
    pub fn headers(&self, key: &'static str) -> Vec<(HeaderName, HeaderValue)> {
        let mut lines = Vec::new();
        for (name, value) in self.pairs(key) {
            match (name.parse(), value.parse()) {
                (Ok(name), Ok(value)) => lines.push((name, value)),
                _ => {
                    let found = format!("{name:?}");
                    let allowed = "HTTP header names with their values";
                    self.problem(key, found, allowed, "as in { \"X-Example\" = \"…\" }");
                }
            }
        }
        lines
    }

    pub fn is_list(&self, name: &'static str) -> bool {
        self.value(name)
            .is_some_and(|value| value.get_ref().is_array())
    }

    /// A list of whole numbers within a range.
    pub fn integers(&self, name: &'static str, range: std::ops::RangeInclusive<u64>) -> Vec<u64> {
        let Some(value) = self.value(name) else {
            return Vec::new();
        };
        let number = |item: &Value<'_>| item.get_ref().as_integer()?.as_str().parse().ok();
        let items = value
            .get_ref()
            .as_array()
            .map(|array| array.iter().map(number).collect::<Option<Vec<u64>>>());
        match items
            .flatten()
            .filter(|numbers| numbers.iter().all(|n| range.contains(n)))
        {
            Some(numbers) => numbers,
            None => {
                self.wrong_type(
                    name,
                    value,
                    &format!(
                        "a list of numbers from {} to {}",
                        range.start(),
                        range.end()
                    ),
                );
                Vec::new()
            }
        }
    }

    pub fn texts(&self, name: &'static str) -> Vec<String> {
        self.list(name, "non-empty strings", |text| {
            Some(text.to_owned()).filter(|text| !text.is_empty())
        })
    }

    pub fn networks(&self, name: &'static str) -> Vec<IpNet> {
        const ALLOWED: &str = "addresses or networks such as \"10.0.0.0/8\"";
        self.list(name, ALLOWED, |text| {
            let address = || text.parse().ok().map(|ip: IpAddr| IpNet::from(ip));
            text.parse().ok().or_else(address).map(canonical)
        })
    }

    pub fn addresses(&self, name: &'static str) -> Vec<SocketAddr> {
        self.list(
            name,
            "addresses such as \"0.0.0.0:8080\" or \"[::]:8080\"",
            |text| text.parse().ok(),
        )
    }

    /// `key = value` pairs of a table whose keys the operator chooses.
    pub fn pairs(&self, name: &'static str) -> Vec<(String, String)> {
        let Some(value) = self.value(name) else {
            return Vec::new();
        };
        let Some(table) = value.get_ref().as_table() else {
            self.wrong_type(name, value, "a table of strings");
            return Vec::new();
        };
        let mut out = Vec::new();
        for (key, value) in table {
            match value.get_ref().as_str() {
                Some(text) => out.push((key.get_ref().to_string(), text.to_owned())),
                None => self.wrong_type(name, value, "a table of strings"),
            }
        }
        out
    }

    pub fn file(&self, name: &'static str) -> Option<PathBuf> {
        let file = self.source.folder.join(self.text(name)?);
        // Wherever it is read from the next time.
        let whole = std::path::absolute(&file).unwrap_or_else(|_| file.clone());
        self.shows_rather(name, whole.display().to_string());
        Some(file)
    }

    /// `{ env = "NAME" }` or `{ file = "path" }`; `None` where it is absent or
    /// was recorded as a problem.
    pub fn secret(&self, name: &'static str, what: &str) -> Option<Zeroizing<String>> {
        if !self.has(name) {
            return None;
        }
        let secret = self.section(name).own_secret(what);
        self.failed.set(self.failed.get() || secret.is_none());
        secret
    }

    /// The secret that this table names with its `env` or `file`.
    pub fn own_secret(&self, what: &str) -> Option<Zeroizing<String>> {
        let (env, file) = (self.text("env"), self.file("file"));
        let (name, result, place) = match (env, file) {
            (Some(variable), None) => (
                "env",
                from_env(self.source.environment, &variable),
                format!("the variable {variable}"),
            ),
            (None, Some(path)) => {
                if let Some(doubt) = open_to_others(&path) {
                    self.warn("file", &doubt);
                }
                let place = format!("the file {}", path.display());
                ("file", from_file(self.source.environment, &path), place)
            }
            _ => {
                let hint = format!("write {{ env = \"NAME\" }} and put {what} into that variable");
                self.problem(
                    "env",
                    "neither or both of env and file",
                    "exactly one of env and file",
                    &hint,
                );
                return None;
            }
        };
        let found = match result {
            Ok(secret) => {
                if let Some(doubt) = odd_edges(&secret) {
                    self.warn(name, &format!("{place} {doubt}"));
                }
                return Some(secret);
            }
            Err(NoSecret::Unset) => format!("{place} is not set"),
            Err(NoSecret::Empty) => format!("{place} is empty"),
            Err(NoSecret::Unreadable(error)) => format!("{place} cannot be read: {error}"),
        };
        self.problem(
            name,
            found,
            "a non-empty secret",
            &format!("put {what} into {place}"),
        );
        None
    }

    /// The same, of a secret that somebody could try to guess.
    pub fn own_key(&self, what: &str) -> Option<Zeroizing<String>> {
        let key = self.own_secret(what)?;
        let Some(bytes) = too_short(&key).filter(|_| !self.is_lenient()) else {
            return Some(key);
        };
        let name = if self.has("env") { "env" } else { "file" };
        self.problem(
            name,
            format!("a key of {bytes} bytes"),
            &format!("at least {MIN_KEY_BYTES} bytes"),
            "a shorter one is found by trying; make one: openssl rand -hex 32",
        );
        None
    }
}
