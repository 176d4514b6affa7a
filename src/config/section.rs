//! A table of the file, read key by key. What is never asked for is unknown.

use std::cell::{Cell, RefCell};
use std::path::Path;

use serde_spanned::Spanned;
use toml::de::{DeTable, DeValue};

use super::print::Places;
use super::problem::{Problem, Problems, line_of};
use super::secret::Environment;

/// The text under check and what was found wrong with it so far.
pub(super) struct Source<'a> {
    text: &'a str,
    pub folder: &'a Path,
    pub environment: &'a Environment,
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<String>>,
    /// What counts where the file says nothing, or says it in other words.
    shown: RefCell<Places>,
}

impl<'a> Source<'a> {
    pub fn new(text: &'a str, folder: &'a Path, environment: &'a Environment) -> Self {
        Self {
            text,
            folder,
            environment,
            problems: RefCell::default(),
            warnings: RefCell::default(),
            shown: RefCell::default(),
        }
    }

    pub fn take_shown(&self) -> Places {
        self.shown.take()
    }

    /// What the operator should know and may leave.
    pub fn take_warnings(&self) -> Vec<String> {
        self.warnings.take()
    }

    pub fn into_problems(self, file: &str) -> Problems {
        Problems::new(file, self.problems.into_inner())
    }
}

/// One table; `key` names it in problems.
pub(super) struct Section<'a> {
    pub(super) source: &'a Source<'a>,
    key: String,
    line: usize,
    /// `None`: the table is not in the file, and every key has its default.
    table: Option<&'a DeTable<'a>>,
    asked: RefCell<Vec<&'static str>>,
    pub(super) failed: Cell<bool>,
}

/// A value with its place in the text.
pub(super) type Value<'a> = Spanned<DeValue<'a>>;

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

    pub(super) fn value(&self, name: &'static str) -> Option<&'a Value<'a>> {
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

    /// What counts where the file does not have a key.
    pub fn shows(&self, name: &'static str, default: impl Into<toml::Value>) {
        if !self.has(name) {
            self.shows_rather(name, default);
        }
    }

    /// What counts rather than what the file has.
    pub fn shows_rather(&self, name: &str, value: impl Into<toml::Value>) {
        let mut shown = self.source.shown.borrow_mut();
        shown.push((self.path(name), value.into()));
    }

    /// Records what is doubtful in one key, and may be meant.
    pub fn warn(&self, name: &str, doubt: &str) {
        let warning = format!("{}: {doubt}", self.path(name));
        let mut warnings = self.source.warnings.borrow_mut();
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }

    /// Records a problem of one key.
    pub fn problem(&self, name: &'static str, found: impl Into<String>, allowed: &str, hint: &str) {
        let line = self
            .value(name)
            .map_or(self.line, |value| self.line_of(value));
        self.record(self.path(name), line, found.into(), allowed, hint);
    }

    /// The same of a file that is only a node's to have: who signs or explains may
    /// be elsewhere.
    pub fn file_problem(&self, name: &'static str, found: String, allowed: &str, hint: &str) {
        if !self.is_lenient() {
            self.problem(name, found, allowed, hint);
        }
    }

    pub fn is_lenient(&self) -> bool {
        self.source.environment.is_lenient()
    }

    pub(super) fn record(
        &self,
        key: String,
        line: usize,
        found: String,
        allowed: &str,
        hint: &str,
    ) {
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

    pub(super) fn line_of(&self, value: &Value<'_>) -> usize {
        line_of(self.source.text, value.span().start)
    }

    pub(super) fn wrong_type(&self, name: &'static str, value: &Value<'_>, allowed: &str) {
        let found = format!("{} {}", value.get_ref().type_str(), self.snippet(value));
        self.problem(
            name,
            found,
            allowed,
            "see config/warren.toml for an example of every key",
        );
    }

    pub(super) fn snippet(&self, value: &Value<'_>) -> String {
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
