//! Where secrets come from: the environment or a file, never the configuration
//! itself, so that it can be shown and stored.

use std::collections::HashMap;

use zeroize::Zeroizing;

/// The process's variables, or a test's.
#[derive(Clone, Default)]
pub struct Environment(HashMap<String, String>);

impl Environment {
    #[expect(clippy::disallowed_methods, reason = "the one home of the environment")]
    pub fn of_process() -> Self {
        Self(
            std::env::vars_os()
                .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
                .collect(),
        )
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(pairs: [(&str, &str); N]) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .collect(),
        )
    }
}

/// Why there is no secret where one was named.
pub(super) enum NoSecret {
    Unset,
    Empty,
    Unreadable(std::io::Error),
}

pub(super) fn from_env(
    environment: &Environment,
    name: &str,
) -> Result<Zeroizing<String>, NoSecret> {
    match environment.get(name) {
        None => Err(NoSecret::Unset),
        Some("") => Err(NoSecret::Empty),
        Some(value) => Ok(Zeroizing::new(value.to_owned())),
    }
}

/// The whole file, less one line break at its end (which editors add).
pub(super) fn from_file(path: &std::path::Path) -> Result<Zeroizing<String>, NoSecret> {
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(NoSecret::Unreadable)?);
    let value = text.strip_suffix('\n').unwrap_or(&text);
    let value = value.strip_suffix('\r').unwrap_or(value);
    if value.is_empty() {
        Err(NoSecret::Empty)
    } else {
        Ok(Zeroizing::new(value.to_owned()))
    }
}
