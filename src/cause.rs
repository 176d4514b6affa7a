//! Pure: what began an error.

use std::error::Error;

/// An error in the words of the system or library that it began with.
pub fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut root = error;
    while let Some(deeper) = root.source() {
        root = deeper;
    }
    root.to_string()
}
