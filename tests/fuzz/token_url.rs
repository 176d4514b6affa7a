//! Feeds the reading of a signed URL: no target panics, what is let in is let
//! in again in its canonical form, and no change of a signed URL opens another
//! path.
#![no_main]

use libfuzzer_sys::fuzz_target;
use warren::path::{CanonicalPath, encode};
use warren::token::sign::{Form, Options, sign};
use warren::token::{Evidence, Key, Policy, Scheme, Target};

const NOW: u64 = 1_800_000_000;

fn let_in(policy: &Policy, url: &str) -> Option<CanonicalPath> {
    let target = Target::parse(url).ok()?;
    let evidence = Evidence {
        now: NOW,
        client_ip: [192, 0, 2, 1].into(),
        country: None,
        revoked: None,
    };
    policy.verify(&target, &evidence).ok()?;
    // The canonical form: the path encoded anew, the rest as it came.
    let block = target.block.map(|block| format!("/{}", block.text));
    let raw_token_path = url.contains("&token_path=/");
    if !raw_token_path && target.raw_path == encode(target.path.as_str()) {
        let query = target.query.map(|query| format!("?{query}"));
        let again = format!(
            "{}{}{}",
            block.unwrap_or_default(),
            encode(target.path.as_str()),
            query.unwrap_or_default()
        );
        let again = Target::parse(&again).expect("a canonical target is one");
        assert!(policy.verify(&again, &evidence).is_ok());
    }
    Some(target.path)
}

/// One thing that a forger does to a URL: the line's first bytes say what, from
/// where, how many characters and to where; the rest is a text of his own.
fn change(url: &mut String, line: &str) {
    let [what, from, count, to, ..] = *line.as_bytes() else {
        return;
    };
    let own = line.get(4..).unwrap_or_default();
    let from = usize::from(from) % (url.len() + 1);
    let range = from..(from + usize::from(count)).min(url.len());
    let taken = url[range.clone()].to_owned();
    if what & 1 == 1 {
        url.replace_range(range, "");
    }
    match what & 6 {
        // Removed, moved or copied, replaced or added to.
        0 => {}
        2 => url.insert_str(usize::from(to) % (url.len() + 1), &taken),
        _ => url.insert_str(from.min(url.len()), own),
    }
}

// What is signed and how, the path, and a line for each change.
fuzz_target!(|input: (u8, &str)| {
    let (flags, text) = input;
    let (raw, changes) = text.split_once('\n').unwrap_or((text, ""));
    let Some(key) = Key::new("k", b"0123456789abcdef") else {
        return;
    };
    let mut policy = Policy::new(vec![key.clone()]);
    policy.schemes = Scheme::ALL.to_vec();
    let _ = let_in(&policy, raw);

    let (path, query) = raw.split_once('?').unwrap_or((raw, ""));
    let Ok(path) = CanonicalPath::parse(path) else {
        return;
    };
    let folder = (flags & 8 > 0).then(|| path.folder().to_owned());
    let options = Options {
        form: if flags & 4 > 0 {
            Form::Path
        } else {
            Form::Query
        },
        token_path: folder.clone(),
        limit: (flags & 16 > 0).then_some(500),
        ..Options::default()
    };
    let scheme = Scheme::ALL[usize::from(flags & 3) % Scheme::ALL.len()];
    let Ok(mut url) = sign(raw, &key, scheme, NOW + 3600, &options) else {
        return;
    };
    let signed = let_in(&policy, &url).expect("what is signed is let in");
    for line in changes.split('\n') {
        // Other bytes are no target.
        if url.is_ascii() {
            change(&mut url, line);
        }
    }
    if let Some(opened) = let_in(&policy, &url) {
        let covered = folder.is_some_and(|folder| opened.as_str().starts_with(&folder));
        // Where a value of the query ends in ten digits, they may be read as the
        // expiry of a longer path: docs/reference/tokens.md, moved boundaries.
        let moved = !query.is_empty() && opened.as_str().starts_with(signed.as_str());
        assert!(
            covered || moved || opened == signed,
            "{signed:?} opens {opened:?}: {url}"
        );
    }
});
