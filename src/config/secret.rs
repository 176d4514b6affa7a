//! Where secrets come from: the environment or a file, never the configuration
//! itself, so that it can be shown and stored.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use zeroize::Zeroizing;

/// The process's variables, or a test's.
#[derive(Clone, Default)]
pub struct Environment {
    variables: HashMap<String, String>,
    lenient: bool,
}

/// Begins what stands for a secret that is not there: no key of anybody's.
pub const ABSENT: &str = "this-secret-is-not-there:";

impl Environment {
    #[expect(clippy::disallowed_methods, reason = "the one home of the environment")]
    pub fn of_process() -> Self {
        let all = std::env::vars_os();
        let text = all.filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        Self {
            variables: text.collect(),
            lenient: false,
        }
    }

    /// For who needs some of a configuration's secrets: in place of one that is
    /// not there, or may not be read, stands what begins with [`ABSENT`].
    pub fn lenient(self) -> Self {
        Self {
            lenient: true,
            ..self
        }
    }

    pub fn is_lenient(&self) -> bool {
        self.lenient
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(pairs: [(&str, &str); N]) -> Self {
        let owned = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self {
            variables: owned.into_iter().collect(),
            lenient: false,
        }
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
        None | Some("") if environment.lenient => Ok(Zeroizing::new(format!("{ABSENT}{name}"))),
        None => Err(NoSecret::Unset),
        Some("") => Err(NoSecret::Empty),
        Some(value) => Ok(Zeroizing::new(value.to_owned())),
    }
}

/// The whole file, less one line break at its end (which editors add).
pub(super) fn from_file(
    environment: &Environment,
    path: &Path,
) -> Result<Zeroizing<String>, NoSecret> {
    let text = match std::fs::read_to_string(path) {
        Err(_) if environment.lenient => format!("{ABSENT}{}", path.display()),
        text => text.map_err(NoSecret::Unreadable)?,
    };
    let text = Zeroizing::new(text);
    let value = text.strip_suffix('\n').unwrap_or(&text);
    let value = value.strip_suffix('\r').unwrap_or(value);
    if value.is_empty() {
        Err(NoSecret::Empty)
    } else {
        Ok(Zeroizing::new(value.to_owned()))
    }
}

/// Bytes of a key that somebody could try to guess: a URL that it signed tells
/// him offline whether he has it.
pub const MIN_KEY_BYTES: usize = 16;

/// How many bytes a key has, where that is too few to be guessed by nobody.
pub fn too_short(key: &str) -> Option<usize> {
    let bytes = key.trim().len();
    (bytes < MIN_KEY_BYTES).then_some(bytes)
}

/// What stands around a secret and was hardly meant to be of it.
pub fn odd_edges(secret: &str) -> Option<&'static str> {
    let quoted = |quote| secret.len() > 1 && secret.starts_with(quote) && secret.ends_with(quote);
    if secret.trim() != secret {
        return Some("begins or ends with white space, which counts as part of it");
    }
    (quoted('"') || quoted('\'')).then_some("stands in quotes, which count as part of it")
}

/// Why a file with a secret is none: everybody on the machine may read it.
pub fn open_to_others(path: &Path) -> Option<String> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    let path = path.display();
    (mode & 0o004 != 0).then(|| {
        format!("the file {path} may be read by everybody on this machine: chmod o= {path}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_can_be_guessed_or_holds_more_than_was_meant_is_told() {
        let whole = "0123456789abcdef";
        let table = [
            (whole, None, false),
            ("0123456789abcde", Some(15), false),
            ("", Some(0), false),
            ("0123456789abcde ", Some(15), true),
            ("\"0123456789abcdef\"", None, true),
            ("'0123456789abcdef'", None, true),
            ("'0123456789abcdef", None, false),
            (" 0123456789abcdef", None, true),
            ("0123456789 abcdef", None, false),
            ("\"", Some(1), false),
        ];
        for (key, short, odd) in table {
            let found = (too_short(key), odd_edges(key).is_some());
            assert_eq!(found, (short, odd), "{key:?}");
        }
    }
}
