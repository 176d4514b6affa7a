//! Pure: what is wrong with a configuration, said so that it can be mended.

use std::collections::BTreeSet;
use std::fmt;

/// One thing to mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Dotted, with indices: `zone[0].token.keys[1].env`. Empty for the file.
    pub key: String,
    /// Counted from 1; `None` where the problem has no place in the file.
    pub line: Option<usize>,
    pub found: String,
    pub allowed: String,
    pub hint: String,
}

/// All problems of one file, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    file: String,
    list: Vec<Problem>,
}

impl Problems {
    pub(super) fn new(file: &str, mut list: Vec<Problem>) -> Self {
        list.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
        Self {
            file: file.to_owned(),
            list,
        }
    }

    pub(super) fn unreadable(file: &str, error: &std::io::Error) -> Self {
        let problem = Problem {
            key: String::new(),
            line: None,
            found: error.to_string(),
            allowed: "a readable TOML file".into(),
            hint: "name it with --config FILE; config/minimal.toml is the smallest that works"
                .into(),
        };
        Self::new(file, vec![problem])
    }

    pub(super) fn syntax(file: &str, text: &str, errors: &[toml::de::Error]) -> Self {
        let problem = |error: &toml::de::Error| Problem {
            key: String::new(),
            line: error.span().map(|span| line_of(text, span.start)),
            found: error.message().to_owned(),
            allowed: "TOML".into(),
            hint: "strings stand in double quotes, tables in [brackets]".into(),
        };
        // A file of another kind is one mistake, and not one in each line.
        let wrong = lines_of(errors.iter().filter_map(toml::de::Error::span), text);
        let written = text.lines().filter(|line| !line.trim().is_empty()).count();
        if errors.len() > 1 && wrong >= written {
            return Self::foreign(file, text);
        }
        Self::new(file, errors.iter().map(problem).collect())
    }

    /// No line of it is TOML.
    fn foreign(file: &str, text: &str) -> Self {
        let first = text.lines().find(|line| !line.trim().is_empty());
        // A file of secrets shows none: of PEM the header alone.
        let found = match first.filter(|line| line.starts_with("-----BEGIN")) {
            Some(header) => format!("PEM: {header:?}"),
            None => "no line of TOML".into(),
        };
        let problem = Problem {
            key: String::new(),
            line: Some(1),
            found,
            allowed: "TOML".into(),
            hint: "--config wants the configuration; certificates and keys are named in it".into(),
        };
        Self::new(file, vec![problem])
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }
}

/// The lines that errors begin in.
fn lines_of(spans: impl Iterator<Item = std::ops::Range<usize>>, text: &str) -> usize {
    let lines: BTreeSet<usize> = spans.map(|span| line_of(text, span.start)).collect();
    lines.len()
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.list {
            write!(f, "{}", self.file)?;
            if let Some(line) = problem.line {
                write!(f, ":{line}")?;
            }
            if !problem.key.is_empty() {
                write!(f, ": {}", problem.key)?;
            }
            writeln!(f, "\n  found:   {}", problem.found)?;
            writeln!(f, "  allowed: {}", problem.allowed)?;
            writeln!(f, "  hint:    {}", problem.hint)?;
        }
        let count = self.list.len();
        write!(
            f,
            "{count} problem{} in {}",
            if count == 1 { "" } else { "s" },
            self.file
        )
    }
}

pub(super) fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset.min(text.len())]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
        + 1
}
