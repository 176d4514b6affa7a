//! A table of the file, read key by key. What is never asked for is unknown.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_spanned::Spanned;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use super::problem::{Problem, Problems, line_of};
use super::secret::{Environment, NoSecret, from_env, from_file};
use super::units::{parse_duration, parse_size};

/// The text under check and what was found wrong with it so far.
pub(super) struct Source<'a> {
    text: &'a str,
    pub folder: &'a Path,
    environment: &'a Environment,
    problems: RefCell<Vec<Problem>>,
}

impl<'a> Source<'a> {
    pub fn new(text: &'a str, folder: &'a Path, environment: &'a Environment) -> Self {
        Self {
            text,
            folder,
            environment,
            problems: RefCell::default(),
        }
    }

    pub fn into_problems(self, file: &str) -> Problems {
        Problems::new(file, self.problems.into_inner())
    }
}

/// One table; `key` names it in problems.
pub(super) struct Section<'a> {
    source: &'a Source<'a>,
    key: String,
    line: usize,
    /// `None`: the table is not in the file, and every key has its default.
    table: Option<&'a DeTable<'a>>,
    asked: RefCell<Vec<&'static str>>,
    failed: Cell<bool>,
}

type Value<'a> = Spanned<DeValue<'a>>;

impl<'a> Section<'a> {
    pub fn root(source: &'a Source<'a>, table: &'a DeTable<'a>) -> Self {
        Self::new(source, String::new(), 1, Some(table))
    }

    fn new(
        source: &'a Source<'a>,
        key: String,
        line: usize,
        table: Option<&'a DeTable<'a>>,
    ) -> Self {
        Self {
            source,
            key,
            line,
            table,
            asked: RefCell::default(),
            failed: Cell::new(false),
        }
    }

    fn value(&self, name: &'static str) -> Option<&'a Value<'a>> {
        self.asked.borrow_mut().push(name);
        self.table?
            .iter()
            .find(|(key, _)| key.get_ref().as_ref() == name)
            .map(|(_, value)| value)
    }

    pub fn path(&self, name: &str) -> String {
        if self.key.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.key)
        }
    }

    pub fn has(&self, name: &'static str) -> bool {
        self.value(name).is_some()
    }

    /// Records a problem of one key.
    pub fn problem(&self, name: &'static str, found: impl Into<String>, allowed: &str, hint: &str) {
        let line = self
            .value(name)
            .map_or(self.line, |value| self.line_of(value));
        self.record(self.path(name), line, found.into(), allowed, hint);
    }

    fn record(&self, key: String, line: usize, found: String, allowed: &str, hint: &str) {
        self.failed.set(true);
        let problem = Problem {
            key,
            line: Some(line),
            found,
            allowed: allowed.into(),
            hint: hint.into(),
        };
        let mut problems = self.source.problems.borrow_mut();
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }

    fn line_of(&self, value: &Value<'_>) -> usize {
        line_of(self.source.text, value.span().start)
    }

    fn wrong_type(&self, name: &'static str, value: &Value<'_>, allowed: &str) {
        let found = format!("{} {}", value.get_ref().type_str(), self.snippet(value));
        self.problem(
            name,
            found,
            allowed,
            "see config/warren.toml for an example of every key",
        );
    }

    fn snippet(&self, value: &Value<'_>) -> String {
        let text = self.source.text.get(value.span()).unwrap_or_default();
        text.chars().take(60).collect()
    }

    /// A table, or an empty one where it is absent.
    pub fn section(&self, name: &'static str) -> Section<'a> {
        let Some(value) = self.value(name) else {
            return Section::new(self.source, self.path(name), self.line, None);
        };
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.wrong_type(name, value, "a table");
        }
        Section::new(self.source, self.path(name), self.line_of(value), table)
    }

    /// The tables of an array of tables (`[[name]]` or `name = [{…}]`).
    pub fn sections(&self, name: &'static str) -> Vec<Section<'a>> {
        let Some(value) = self.value(name) else {
            return Vec::new();
        };
        let Some(array) = value.get_ref().as_array() else {
            self.wrong_type(name, value, "a list of tables");
            return Vec::new();
        };
        let section = |(index, item): (usize, &'a Value<'a>)| {
            let table = item.get_ref().as_table();
            if table.is_none() {
                self.wrong_type(name, item, "a list of tables");
            }
            let key = format!("{}[{index}]", self.path(name));
            Section::new(self.source, key, self.line_of(item), table)
        };
        array.iter().enumerate().map(section).collect()
    }

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
        Some(self.source.folder.join(self.text(name)?))
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
            (None, Some(path)) => (
                "file",
                from_file(&path),
                format!("the file {}", path.display()),
            ),
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
            Ok(secret) => return Some(secret),
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

    /// Records the keys that nobody asked for; tells whether the table is sound.
    pub fn finish(&self) -> bool {
        let asked = self.asked.borrow().clone();
        let unknown = self
            .table
            .into_iter()
            .flatten()
            .filter(|(key, _)| !asked.contains(&key.get_ref().as_ref()));
        for (key, _) in unknown {
            let name = key.get_ref();
            let hint = match nearest(name, &asked) {
                Some(near) => format!("did you mean {near:?}?"),
                None => "remove it, or see docs/configuration.md for the keys there are".into(),
            };
            let mut known = asked.clone();
            known.sort_unstable();
            known.dedup();
            let line = line_of(self.source.text, key.span().start);
            self.record(
                self.path(name),
                line,
                format!("the unknown key {name:?}"),
                &known.join(", "),
                &hint,
            );
        }
        !self.failed.get()
    }
}

/// The known key that differs least, where it differs little.
fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let distance = |other: &str| {
        let mut row: Vec<usize> = (0..=other.chars().count()).collect();
        for (i, a) in name.chars().enumerate() {
            let mut diagonal = std::mem::replace(&mut row[0], i + 1);
            for (j, b) in other.chars().enumerate() {
                let substituted = diagonal + usize::from(a != b);
                diagonal = row[j + 1];
                row[j + 1] = substituted.min(row[j] + 1).min(row[j + 1] + 1);
            }
        }
        row.last().copied().unwrap_or_default()
    };
    known
        .iter()
        .copied()
        .min_by_key(|other| distance(other))
        .filter(|other| distance(other) <= 2)
}
