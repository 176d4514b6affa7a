//! Pure: the key, taken out of what a store says of it. Who asks has chosen it,
//! so it tells nothing that could be taken for a reason.

use percent_encoding::percent_decode_str;

/// A key of fewer bytes cannot be taken for any word.
const SHORTEST_ECHO: usize = 4;
/// How often a store may have percent-encoded it.
const MOST_DECODED: usize = 2;

/// `text` without the key and without its last segment, as they are or
/// percent-encoded, in whichever manner.
pub fn without(text: &str, key: &str) -> String {
    let spellings = spellings(key);
    let mut bare = taken_out(text, &spellings);
    let mut decoded = bare.clone();
    for _ in 0..MOST_DECODED {
        decoded = percent_decode_str(&decoded)
            .decode_utf8_lossy()
            .into_owned();
        let taken = taken_out(&decoded, &spellings);
        if taken != decoded {
            (bare, decoded) = (taken.clone(), taken);
        }
    }
    bare
}

/// The longer ones first. A space may be a plus.
fn spellings(key: &str) -> Vec<String> {
    let last = key.rsplit('/').next().unwrap_or_default();
    let plain = [key, last].map(str::to_owned);
    let plus = [key, last].map(|text| text.replace(' ', "+"));
    let [key, last] = plain;
    let [plus_key, plus_last] = plus;
    let mut all = vec![key, plus_key, last, plus_last];
    all.retain(|spelling| spelling.len() >= SHORTEST_ECHO);
    all
}

fn taken_out(text: &str, spellings: &[String]) -> String {
    let take = |text: String, spelling: &String| text.replace(spelling, "…");
    spellings.iter().fold(text.to_owned(), take)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_taken_out_however_it_is_spelled() {
        let table = [
            ("not v/enc signature.ts", "not …"),
            ("not /media/v/enc%20signature.ts", "not /media/…"),
            ("not v%2Fenc%20signature.ts", "not …"),
            ("not v%2fenc+signature%2ets", "not …"),
            ("not v%252Fenc%2520signature.ts", "not …"),
            ("not enc signature.ts", "not …"),
            ("100% of enc%20signature", "100% of enc%20signature"),
            ("Invalid signature", "Invalid signature"),
        ];
        for (text, want) in table {
            assert_eq!(without(text, "v/enc signature.ts"), want);
        }
        assert_eq!(without("the key", "v/key"), "the key", "too short");
    }
}
