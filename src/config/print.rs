//! The configuration in force as TOML that is one again: what the file says, and
//! the defaults where it says nothing. A secret stays the `env` or `file` that it
//! comes from.

use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

/// Where a value stands, as problems name it: `zone[0].cache.policy`.
pub(super) type Places = Vec<(String, Value)>;

/// Of headers for the origin, which may be keys.
const MASKED: &str = "masked";

/// `shown`: what counts besides, and where.
pub(super) fn in_force(file: &DeTable<'_>, shown: Places) -> String {
    let mut root = Value::Table(table(file));
    for (place, value) in shown {
        put(&mut root, &place, value);
    }
    mask(&mut root);
    toml::to_string(&root).unwrap_or_default()
}

fn table(table: &DeTable<'_>) -> Table {
    let pairs = table.iter();
    let pairs = pairs.map(|(key, it)| (key.get_ref().to_string(), value(it.get_ref())));
    pairs.collect()
}

fn value(value_of: &DeValue<'_>) -> Value {
    match value_of {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Value::Integer(0), Value::Integer),
        DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or_default()),
        DeValue::Boolean(flag) => Value::Boolean(*flag),
        DeValue::Datetime(time) => Value::Datetime(*time),
        DeValue::Array(items) => Value::Array(items.iter().map(|it| value(it.get_ref())).collect()),
        DeValue::Table(inner) => Value::Table(table(inner)),
    }
}

/// Puts a value into its place; tables on the way are made.
fn put(at: &mut Value, place: &str, value: Value) {
    let (first, rest) = place.split_once('.').unwrap_or((place, ""));
    let (name, index) = match first.split_once('[') {
        Some((name, index)) => (name, index.trim_end_matches(']').parse::<usize>().ok()),
        None => (first, None),
    };
    let Some(table) = at.as_table_mut() else {
        return;
    };
    if rest.is_empty() && index.is_none() {
        table.insert(name.to_owned(), value);
        return;
    }
    let next = table
        .entry(name)
        .or_insert_with(|| Value::Table(Table::new()));
    let next = match index {
        Some(index) => next.as_array_mut().and_then(|items| items.get_mut(index)),
        None => Some(next),
    };
    if let Some(next) = next {
        put(next, rest, value);
    }
}

fn mask(root: &mut Value) {
    let zones = root.get_mut("zone").and_then(Value::as_array_mut);
    for zone in zones.into_iter().flatten() {
        let headers = zone.get_mut("origin").and_then(|it| it.get_mut("headers"));
        let headers = headers.and_then(Value::as_table_mut);
        for (_, value) in headers.into_iter().flatten() {
            *value = MASKED.into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_besides_stands_in_its_place() {
        let text = "[listen]\nhttp = [\"127.0.0.1:0\"]\nthreads = 0x10\n[[zone]]\nname = \"a\"\n\
                    [zone.origin]\nheaders = { \"X-Key\" = \"secret\" }\n";
        let file = DeTable::parse(text).expect("TOML");
        let shown = [
            ("listen.keepalive", Value::from("30s")),
            ("zone[0].cache.policy", Value::from("hls")),
            ("cache.max_riders", Value::from(50_000)),
        ];
        let shown = shown
            .map(|(place, value)| (place.to_owned(), value))
            .to_vec();
        let printed = in_force(file.get_ref(), shown);
        let again: Table = printed.parse().expect("TOML");
        assert_eq!(again["listen"]["keepalive"].as_str(), Some("30s"));
        assert_eq!(again["listen"]["threads"].as_integer(), Some(16));
        assert_eq!(again["cache"]["max_riders"].as_integer(), Some(50_000));
        let zone = &again["zone"][0];
        assert_eq!(zone["cache"]["policy"].as_str(), Some("hls"));
        assert_eq!(zone["origin"]["headers"]["X-Key"].as_str(), Some("masked"));
    }
}
