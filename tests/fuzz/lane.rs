//! Feeds the lane's reading of a connection: whatever comes, every byte belongs
//! to one request or to none, however the bytes were cut on their way.
#![no_main]

use std::mem::MaybeUninit;

use libfuzzer_sys::fuzz_target;
use warren::edge::lane::head::{Head, Way, empty_lines, end_of_head};
use warren::edge::{BadHead, MAX_HEADER_LINES};

/// Where each request of a connection begins and ends, and how it stopped.
fn requests(bytes: &[u8], cut: usize) -> (Vec<(usize, usize, bool)>, Option<BadHead>) {
    let mut found = Vec::new();
    let mut at = 0;
    loop {
        at += empty_lines(&bytes[at..]);
        let come = &bytes[at..];
        // As if the first bytes had come alone.
        let early = cut.min(come.len());
        let end = match end_of_head(&come[..early], 0) {
            Ok(None) => end_of_head(come, early),
            other => other,
        };
        let end = match end {
            Ok(Some(end)) => end,
            Ok(None) => return (found, None),
            Err(bad) => return (found, Some(bad)),
        };
        let mut room = [MaybeUninit::uninit(); MAX_HEADER_LINES];
        let taken = match Head::parse(&come[..end], &mut room) {
            Ok((head, Way::Lane(_))) => {
                assert!(head.target.starts_with('/'));
                end
            }
            Ok((_, Way::Proxy(body))) => body.bytes_of_request(end, come.len()),
            Err(bad) => return (found, Some(bad)),
        };
        assert!(
            (end..=come.len()).contains(&taken),
            "{taken} of {}",
            come.len()
        );
        found.push((at, at + taken, taken == end));
        at += taken;
    }
}

fuzz_target!(|input: (u8, &[u8])| {
    let (cut, bytes) = input;
    let (found, bad) = requests(bytes, usize::from(cut));
    assert_eq!(requests(bytes, 0), (found.clone(), bad));
    // No byte is read twice.
    assert!(found.windows(2).all(|pair| pair[0].1 <= pair[1].0));
});
