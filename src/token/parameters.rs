//! Pure: the parameters of a signed URL, parsed once and strictly.

use std::borrow::Cow;

use super::carrier::is_misplaced;
use super::{Malformed, Target};
use crate::path::decode_escape;
use crate::token::target::TrailingTokenPath;

/// One `name=value`, both decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter<'a> {
    pub name: Cow<'a, str>,
    /// A raw `+` stays `+`.
    pub value: Cow<'a, str>,
    /// The second reading of a value that holds a raw `+`: form encoders write
    /// a space so.
    pub with_spaces: Option<String>,
}

/// Every parameter of the block and the query, in the order they came.
#[derive(Debug, Clone, Default)]
pub struct Parameters<'a> {
    list: Vec<Parameter<'a>>,
    pub carrier: Carrier,
}

/// Where the token stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Carrier {
    #[default]
    None,
    Query,
    Path,
}

impl Parameter<'_> {
    /// With a raw `+` as a space, or as it is.
    pub fn read(&self, spaced: bool) -> &str {
        let spaced = self.with_spaces.as_deref().filter(|_| spaced);
        spaced.unwrap_or(&self.value)
    }
}

impl<'a> Parameters<'a> {
    /// Parses and checks the parameters of a target that must carry a token.
    /// `Ok` with [`Carrier::None`] where there is none at all.
    pub fn parse(target: &Target<'a>) -> Result<Self, Malformed> {
        let carrier = carrier_of(target)?;
        if carrier == Carrier::None {
            return Ok(Self::default());
        }
        let mut list = Vec::with_capacity(4);
        if let Some(block) = target.block {
            for piece in block.text.split('&') {
                list.push(parse_one(piece)?);
            }
            take_trailing_token_path(&mut list, block.trailing_token_path)?;
        }
        if let Some(query) = target.query.filter(|query| !query.is_empty()) {
            for piece in query.split('&') {
                list.push(parse_one(piece)?);
            }
        }
        check_duplicates(&list)?;
        Ok(Self { list, carrier })
    }

    /// The value of a parameter by its exact name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.list
            .iter()
            .find(|p| p.name == name)
            .map(|p| p.value.as_ref())
    }

    pub fn iter(&self) -> impl Iterator<Item = &Parameter<'a>> {
        self.list.iter()
    }

    /// The token's text, wherever it stands.
    pub fn token(&self) -> Option<&str> {
        match self.carrier {
            Carrier::None => None,
            Carrier::Query => self.get("token"),
            Carrier::Path => self.get("bcdn_token"),
        }
    }
}

fn carrier_of(target: &Target<'_>) -> Result<Carrier, Malformed> {
    let (mut token, mut bcdn_token) = (false, false);
    for piece in target.query.unwrap_or_default().split('&') {
        let name = piece.split('=').next();
        token |= name == Some("token");
        bcdn_token |= name == Some("bcdn_token");
    }
    // A block that a base was joined with the wrong way is one, too.
    // It would be asked of the origin, token and all.
    let second_block = || is_misplaced(target.path.as_str());
    match (target.block.is_some(), token, bcdn_token) {
        (false, false, false) => Ok(Carrier::None),
        _ if second_block() => Err(Malformed::TwoCarriers),
        (true, false, false) => Ok(Carrier::Path),
        (false, true, false) => Ok(Carrier::Query),
        _ => Err(Malformed::TwoCarriers),
    }
}

fn parse_one(piece: &str) -> Result<Parameter<'_>, Malformed> {
    let (name, value) = piece.split_once('=').ok_or(Malformed::ParameterName)?;
    let name = decode(name)?;
    if !is_name(&name) {
        return Err(Malformed::ParameterName);
    }
    if memchr::memchr2(b'+', b'%', value.as_bytes()).is_none() {
        return Ok(Parameter {
            name,
            value: Cow::Borrowed(value),
            with_spaces: None,
        });
    }
    let with_spaces = match value.contains('+') {
        true => Some(decode(&value.replace('+', "%20"))?.into_owned()),
        false => None,
    };
    Ok(Parameter {
        name,
        value: decode(value)?,
        with_spaces,
    })
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

/// Percent-decodes once; `+` stays `+`.
fn decode(raw: &str) -> Result<Cow<'_, str>, Malformed> {
    if !raw.contains('%') {
        return Ok(Cow::Borrowed(raw));
    }
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => decode_escape(bytes.next(), bytes.next()).ok_or(Malformed::ParameterValue)?,
            other => other,
        });
    }
    // 0x80 and NUL are what every length extension must smuggle in: control
    // bytes and broken UTF-8 end here, in every field that is hashed.
    let text = String::from_utf8(out).map_err(|_| Malformed::ParameterValue)?;
    if text.bytes().any(|b| b.is_ascii_control()) {
        return Err(Malformed::ParameterValue);
    }
    Ok(Cow::Owned(text))
}

fn take_trailing_token_path<'a>(
    list: &mut [Parameter<'a>],
    trailing: TrailingTokenPath<'a>,
) -> Result<(), Malformed> {
    match (trailing, list.last_mut()) {
        (TrailingTokenPath::None, _) => Ok(()),
        (TrailingTokenPath::Value(raw), Some(last)) => {
            last.value = decode(raw)?;
            Ok(())
        }
        _ => Err(Malformed::TokenPath),
    }
}

fn check_duplicates(list: &[Parameter<'_>]) -> Result<(), Malformed> {
    for (index, one) in list.iter().enumerate() {
        if list[..index]
            .iter()
            .any(|other| other.name.eq_ignore_ascii_case(&one.name))
        {
            return Err(Malformed::Duplicate);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_parsed_names_each_parameter_once(
            query in "(token=[a-zA-Z0-9+%]{0,4}|expires=[0-9]{0,3}|Token=a|limit=[0-9]|&){0,6}"
        ) {
            let raw = format!("/a.ts?{query}");
            let Ok(target) = Target::parse(&raw) else { return Ok(()) };
            if let Ok(parameters) = Parameters::parse(&target) {
                let mut names: Vec<_> =
                    parameters.iter().map(|p| p.name.to_ascii_lowercase()).collect();
                let count = names.len();
                names.sort_unstable();
                names.dedup();
                prop_assert_eq!(names.len(), count);
            }
        }
    }
}
