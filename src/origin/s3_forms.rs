//! Pure: the forms in which stores write an error: XML and JSON, with names in
//! any case. What is only almost of a form is read all the same.

/// The text of the first element of this name, whatever its prefix and its
/// attributes.
pub fn element<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    for (at, _) in text.match_indices('<') {
        let rest = &text[at + 1..];
        let upto = rest.split('<').next().unwrap_or_default();
        let Some((tag, content)) = upto.split_once('>') else {
            continue;
        };
        let full = tag.split(char::is_whitespace).next().unwrap_or_default();
        let local = full.rsplit(':').next().unwrap_or_default();
        if !local.eq_ignore_ascii_case(name) {
            continue;
        }
        let quoted = rest[tag.len() + 1..].trim_start();
        return match quoted.strip_prefix("<![CDATA[") {
            Some(quoted) => quoted.split("]]>").next(),
            None => Some(content),
        };
    }
    None
}

/// The first member of this name that is a string or a number.
pub fn member(text: &str, name: &str) -> Option<String> {
    let quotes = text.match_indices('"');
    quotes.into_iter().find_map(|(at, _)| {
        let rest = &text[at + 1..];
        let (found, rest) = rest.split_at_checked(name.len())?;
        let rest = rest
            .strip_prefix('"')
            .filter(|_| found.eq_ignore_ascii_case(name))?;
        value(rest.trim_start().strip_prefix(':')?.trim_start())
    })
}

fn value(text: &str) -> Option<String> {
    if let Some(quoted) = text.strip_prefix('"') {
        return Some(string(quoted));
    }
    let is_end = |c: char| c.is_whitespace() || matches!(c, ',' | '}' | ']');
    let number = text.split(is_end).next()?;
    let is_number = number.starts_with(|c: char| c.is_ascii_digit());
    is_number.then(|| number.to_owned())
}

/// Up to the quote that ends it, without escapes.
fn string(text: &str) -> String {
    let mut escaped = false;
    let end = text.find(|c| {
        let is_end = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        is_end
    });
    let raw = &text[..end.unwrap_or(text.len())];
    serde_json::from_str(&format!("\"{raw}\"")).unwrap_or_else(|_| raw.to_owned())
}

/// With the characters that XML's entities stand for.
pub fn unescaped(text: &str) -> String {
    let mut parts = text.split('&');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let entity = part.split_once(';');
        match entity.and_then(|(name, rest)| Some((character(name)?, rest))) {
            Some((character, rest)) => {
                plain.push(character);
                plain.push_str(rest);
            }
            None => {
                plain.push('&');
                plain.push_str(part);
            }
        }
    }
    plain
}

fn character(name: &str) -> Option<char> {
    let code = match name {
        "amp" => return Some('&'),
        "lt" => return Some('<'),
        "gt" => return Some('>'),
        "quot" => return Some('"'),
        "apos" => return Some('\''),
        name => name.strip_prefix('#')?,
    };
    let code = match code.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => code.parse(),
    };
    char::from_u32(code.ok()?)
}
