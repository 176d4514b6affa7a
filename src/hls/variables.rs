//! Pure: the variables of one playlist (EXT-X-DEFINE, rfc8216bis §4.4.2.3), and
//! a reference with their values put in. What another playlist defines is not
//! known here.

use std::borrow::Cow;

use super::playlist::attribute;

/// Variables of one playlist that are read.
const MOST: usize = 16;

/// Name and value.
pub struct Variables<'p>(Vec<(&'p str, &'p str)>);

impl<'p> Variables<'p> {
    /// `query`: of the playlist's own URL; empty where it is not known.
    pub fn of(lines: impl Iterator<Item = &'p [u8]>, query: &'p str) -> Self {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let of_query = |name: &str| pairs.clone().find(|(known, _)| *known == name);
        let defined = lines.filter_map(|line| {
            let attributes = line.strip_prefix(b"#EXT-X-DEFINE:")?;
            let attributes = std::str::from_utf8(attributes).ok()?;
            match attribute(attributes, "QUERYPARAM") {
                Some(name) => of_query(name),
                None => attribute(attributes, "NAME").zip(attribute(attributes, "VALUE")),
            }
        });
        Self(defined.take(MOST).collect())
    }

    pub fn put<'r>(&self, reference: &'r str) -> Cow<'r, str> {
        if self.0.is_empty() || !reference.contains("{$") {
            return reference.into();
        }
        let put = |text: String, (name, value): &(&str, &str)| {
            text.replace(&format!("{{${name}}}"), value)
        };
        self.0.iter().fold(reference.to_owned(), put).into()
    }
}
