//! Feeds the one reading of a path: what is canonical stays so however often it
//! is encoded and read, and never holds what a second reader could take apart.
#![no_main]

use libfuzzer_sys::fuzz_target;
use warren::path::{CanonicalPath, EmptySegments, encode, remove_dot_segments};

fn check(path: &CanonicalPath) {
    let text = path.as_str();
    assert!(text.starts_with('/'));
    assert!(!text.contains('\\') && !text.bytes().any(|byte| byte.is_ascii_control()));
    assert!(!text.split('/').any(|segment| matches!(segment, "." | "..")));
    let encoded = encode(text);
    assert!(encoded.bytes().all(|byte| byte.is_ascii_graphic()));
    // What a playlist names may hold an empty segment.
    let again = CanonicalPath::parse_with(&encoded, EmptySegments::Kept);
    assert_eq!(again.as_ref(), Ok(path));
    assert_eq!(format!("{}{}", path.folder(), path.file_name()), text);
    // Nothing was left to remove.
    assert_eq!(remove_dot_segments(text), text);
}

// A path, and on the next line a reference of a playlist.
fuzz_target!(|text: &str| {
    let (raw, reference) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(path) = CanonicalPath::parse(raw) else {
        return;
    };
    check(&path);
    if let Some(joined) = path.join(reference) {
        check(&joined);
    }
});
