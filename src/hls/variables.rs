//! Pure: the variables of one playlist (EXT-X-DEFINE, rfc8216bis §4.4.2.3), and
//! a reference with their values put in. What another playlist defines is not
//! known here.

use std::borrow::Cow;

use super::playlist::attribute;

/// Variables of one playlist that are read.
const MOST: usize = 16;
/// Bytes of a reference with its variables, and of a variable: as many as a target
/// may have. Few that stand for each other could be any number.
const MAX_BYTES: usize = 8 << 10;

/// Name and value.
pub struct Variables<'p>(Vec<(&'p str, Cow<'p, str>)>);

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
        let mut all = Self(Vec::new());
        for (name, value) in defined.take(MOST) {
            // Of those before it alone (rfc8216bis §4.3).
            let value = all.put(value);
            if value.len() <= MAX_BYTES {
                all.0.push((name, value));
            }
        }
        all
    }

    /// A reference with the values put in, once; as it is where that were too long.
    pub fn put<'r>(&self, reference: &'r str) -> Cow<'r, str> {
        if self.0.is_empty() || !reference.contains("{$") {
            return reference.into();
        }
        let (mut text, mut rest) = (String::new(), reference);
        while let Some(at) = rest.find("{$") {
            let (before, behind) = rest.split_at(at);
            let Some(end) = behind.find('}') else {
                break;
            };
            let (whole, after) = behind.split_at(end + 1);
            let name = &whole[2..end];
            let value = self.0.iter().find(|(known, _)| *known == name);
            text.push_str(before);
            text.push_str(value.map_or(whole, |(_, value)| value));
            if text.len() > MAX_BYTES {
                return reference.into();
            }
            rest = after;
        }
        text.push_str(rest);
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(lines: &str) -> Variables<'_> {
        Variables::of(lines.as_bytes().split(|byte| *byte == b'\n'), "q=1&x=2")
    }

    #[test]
    fn values_are_put_in_once_and_of_those_before() {
        let all = variables(
            "#EXT-X-DEFINE:NAME=\"a\",VALUE=\"/m\"\n#EXT-X-DEFINE:NAME=\"b\",VALUE=\"{$a}/{$c}\"\n\
             #EXT-X-DEFINE:NAME=\"c\",VALUE=\"{$a}\"\n#EXT-X-DEFINE:QUERYPARAM=\"x\"",
        );
        for (reference, want) in [
            ("{$a}/1.ts", "/m/1.ts"),
            ("{$b}/1.ts", "/m/{$c}/1.ts"),
            ("{$c}{$a}", "/m/m"),
            ("s{$x}.ts", "s2.ts"),
            ("{$none}/{$a", "{$none}/{$a"),
            ("1.ts", "1.ts"),
        ] {
            assert_eq!(all.put(reference), want, "{reference}");
        }
    }

    #[test]
    fn a_few_variables_that_stand_for_each_other_are_not_any_number_of_bytes() {
        let define = |name: u8, value: &str| {
            format!(
                "#EXT-X-DEFINE:NAME=\"{}\",VALUE=\"{value}\"\n",
                char::from(name)
            )
        };
        let mut lines = define(b'a', &"x".repeat(100));
        for name in b'b'..=b'm' {
            let before = format!("{{${}}}", char::from(name - 1));
            lines += &define(name, &before.repeat(10));
        }
        lines += &define(b'n', &"y".repeat(60_000));
        let all = variables(&lines);
        assert_eq!(all.put("{$b}").len(), 1_000);
        for name in ["{$c}", "{$d}", "{$m}", "{$n}"] {
            assert!(all.put(name).len() <= MAX_BYTES, "{name}");
        }
        let many = "{$b}".repeat(100);
        assert_eq!(all.put(&many), many.as_str());
    }
}
