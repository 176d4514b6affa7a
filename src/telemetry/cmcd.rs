//! What players say of themselves (CTA-5004, Common Media Client Data, and its
//! version 2, CTA-5004-A), as bounded metrics: the quality of experience at
//! one's own edge.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use prometheus::core::Collector;
use prometheus::{Error, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};
use sfv::{BareItem, Dictionary, InnerList, ListEntry, Parser};

/// The parameter of a query, and the headers, that carry it.
pub const PARAMETER: &str = "CMCD";
pub const HEADERS: [&str; 4] = ["cmcd-request", "cmcd-object", "cmcd-status", "cmcd-session"];

/// More of one carrier is not read.
const MAX_BYTES: usize = 2048;
/// Members that are read one by one, where they do not read as a whole: there
/// are some fifty keys.
const MAX_MEMBERS: usize = 64;

const BITRATE_BUCKETS: &[f64] = &[
    64e3, 128e3, 256e3, 512e3, 1e6, 2e6, 3e6, 4.5e6, 6e6, 8e6, 12e6, 16e6, 25e6, 50e6, 100e6,
];
const BUFFER_BUCKETS: &[f64] = &[0.5, 1.0, 2.0, 4.0, 6.0, 10.0, 20.0, 30.0, 60.0];

/// One request's data, as far as it is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cmcd {
    /// `bs`: the buffer ran empty since the request before; or, in version 2,
    /// `sta`: it is empty now.
    pub starved: bool,
    /// `su`: needed at once, to begin, to seek or to go on.
    pub startup: bool,
    /// `br`, bits per second: of the object that is asked for.
    pub bitrate: Option<f64>,
    /// `mtp`, bits per second: as the player has measured it.
    pub throughput: Option<f64>,
    /// `bl`, seconds: what the player has in its buffer.
    pub buffer: Option<f64>,
}

impl Cmcd {
    /// Reads what a query and headers carry; `None` where that is nothing.
    pub fn read<'a>(
        query: Option<&'a str>,
        headers: impl Iterator<Item = &'a str>,
    ) -> Option<Self> {
        let pairs = query.unwrap_or_default().split('&');
        let mut pairs = pairs.filter_map(|pair| pair.split_once('='));
        let parameter = pairs.find(|(name, _)| *name == PARAMETER);
        let parameter = parameter.map(|(_, value)| Cow::Owned(decoded(value)));
        let carriers = parameter.into_iter().chain(headers.map(Cow::Borrowed));
        let mut found = None;
        for text in carriers.filter(|text| text.len() <= MAX_BYTES) {
            if let Some(all) = dictionary(&text) {
                found.get_or_insert_with(Self::default).take(&all);
            }
        }
        found
    }

    fn take(&mut self, all: &Dictionary) {
        let item = |name: &str| match all.get(name) {
            Some(ListEntry::Item(item)) => Some(&item.bare_item),
            _ => None,
        };
        let is_set = |name| matches!(item(name), Some(BareItem::Boolean(true)));
        let is_rebuffering = || matches!(item("sta"), Some(BareItem::Token(state)) if state == "r");
        self.starved |= is_set("bs") || is_rebuffering();
        self.startup |= is_set("su");
        // Thousands of bits per second, and milliseconds.
        let number = |name, unit| Some(largest(all.get(name)?)? * unit);
        self.bitrate = self.bitrate.or(number("br", 1e3));
        self.throughput = self.throughput.or(number("mtp", 1e3));
        self.buffer = self.buffer.or(number("bl", 1e-3));
    }
}

/// A number that is none below 0; in version 2 a list of them, one for each
/// sort of media: the largest counts.
fn largest(entry: &ListEntry) -> Option<f64> {
    let items: &[_] = match entry {
        ListEntry::Item(item) => std::slice::from_ref(item),
        ListEntry::InnerList(InnerList { items, .. }) => items,
    };
    let number = |item: &BareItem| match item {
        BareItem::Integer(number) => Some(*number as f64),
        BareItem::Decimal(number) => number.to_string().parse().ok(),
        _ => None,
    };
    let numbers = items.iter().filter_map(|item| number(&item.bare_item));
    numbers.filter(|number| *number >= 0.0).reduce(f64::max)
}

/// A value of a query, where a space may be a plus.
fn decoded(value: &str) -> String {
    let value = value.replace('+', " ");
    percent_decode_str(&value).decode_utf8_lossy().into_owned()
}

/// A dictionary of RFC 8941 in all but its name. What does not read as one is
/// taken member by member: one that is wrong does not lose the others. `None`:
/// there is none that is right.
fn dictionary(text: &str) -> Option<Dictionary> {
    if let Ok(all) = Parser::parse_dictionary(text.as_bytes()) {
        return Some(all);
    }
    let mut all = Dictionary::new();
    let (mut rest, mut count) = (text, 0);
    while !rest.is_empty() && count < MAX_MEMBERS {
        let end = end_of_member(rest);
        if let Ok(member) = Parser::parse_dictionary(&rest.as_bytes()[..end]) {
            all.extend(member);
        }
        rest = rest.get(end + 1..).unwrap_or_default();
        count += 1;
    }
    (!all.is_empty()).then_some(all)
}

/// The first comma that stands in no text and in no list; where one of those
/// has no end, the first comma.
fn end_of_member(text: &str) -> usize {
    let (mut quoted, mut escaped, mut listed) = (false, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'(' => listed = true,
            b')' => listed = false,
            b',' if !listed => return at,
            _ => {}
        }
    }
    match quoted || listed {
        true => text.find(',').unwrap_or(text.len()),
        false => text.len(),
    }
}

/// The families, by zone.
pub struct CmcdMetrics {
    requests: IntCounterVec,
    starved: IntCounterVec,
    startup: IntCounterVec,
    bitrate: HistogramVec,
    throughput: HistogramVec,
    buffer: HistogramVec,
}

impl CmcdMetrics {
    pub fn register(registry: &Registry) -> Result<Self, Error> {
        let add = |collector: Box<dyn Collector>| registry.register(collector);
        let counter = |name: &str, help: &str| {
            let vec = IntCounterVec::new(Opts::new(name, help), &["zone"])?;
            add(Box::new(vec.clone())).map(|()| vec)
        };
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            let vec = HistogramVec::new(options, &["zone"])?;
            add(Box::new(vec.clone())).map(|()| vec)
        };
        Ok(Self {
            requests: counter(
                "warren_cmcd_requests_total",
                "Requests of players that say how they do.",
            )?,
            starved: counter(
                "warren_cmcd_starved_total",
                "Of these, those before which the buffer ran empty.",
            )?,
            startup: counter(
                "warren_cmcd_startup_total",
                "Of these, those that a player cannot play without.",
            )?,
            bitrate: histogram(
                "warren_cmcd_bitrate_bits_per_second",
                "Bitrate of what is asked for.",
                BITRATE_BUCKETS,
            )?,
            throughput: histogram(
                "warren_cmcd_throughput_bits_per_second",
                "Throughput that players have measured.",
                BITRATE_BUCKETS,
            )?,
            buffer: histogram(
                "warren_cmcd_buffer_seconds",
                "Media in the players' buffers.",
                BUFFER_BUCKETS,
            )?,
        })
    }

    pub fn count(&self, zone: &str, said: &Cmcd) {
        let zone = &[zone];
        self.requests.with_label_values(zone).inc();
        // From 0 on, so that a ratio is one from the first request on.
        let starved = self.starved.with_label_values(zone);
        starved.inc_by(u64::from(said.starved));
        let startup = self.startup.with_label_values(zone);
        startup.inc_by(u64::from(said.startup));
        for (family, value) in [
            (&self.bitrate, said.bitrate),
            (&self.throughput, said.throughput),
            (&self.buffer, said.buffer),
        ] {
            if let Some(value) = value {
                family.with_label_values(zone).observe(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn players_say_how_they_do_in_a_query_or_in_headers() {
        let whole = Cmcd {
            starved: true,
            startup: true,
            bitrate: Some(3_200_000.0),
            throughput: Some(25_400_000.0),
            buffer: Some(21.3),
        };
        // The specification's own example, less what is not read.
        let query = "a=1&CMCD=bl%3D21300%2Cbr%3D3200%2Cbs%2Ccid%3D%22faec5fc2-ac30-11ea%22%2Cd%3D4004%2Cmtp%3D25400%2Cnor%3D%22..%252F300kbps%252Ftrack.m4v%22%2Cot%3Dv%2Cpr%3D1.08%2Crtp%3D15000%2Csf%3Dd%2Cst%3Dv%2Csu%2Ctb%3D6000&b=2";
        assert_eq!(Cmcd::read(Some(query), [].into_iter()), Some(whole));
        let headers = [
            "bl=21300,mtp=25400,su",
            "br=3200,ot=v,d=4004",
            "bs,rtp=15000",
            "sid=\"6e2fb550\"",
        ];
        assert_eq!(Cmcd::read(None, headers.into_iter()), Some(whole));
        let table = [
            ("br=-1,bs=?0", Some(Cmcd::default())),
            ("com.example-x=1", Some(Cmcd::default())),
            ("br=", None),
            ("BR=1", None),
            ("", Some(Cmcd::default())),
        ];
        for (text, want) in table {
            assert_eq!(Cmcd::read(None, [text].into_iter()), want, "{text}");
        }
        assert_eq!(Cmcd::read(Some("cmcd=bs"), [].into_iter()), None);
        assert_eq!(
            Cmcd::read(None, ["x=1,".repeat(600).as_str()].into_iter()),
            None
        );
    }

    /// As @svta/cml-cmcd 2.7 writes version 2, with which hls.js 1.7, dash.js 5.2
    /// and Shaka 5.2 report.
    #[test]
    fn version_2_counts_as_version_1_does() {
        let whole = Cmcd {
            starved: true,
            startup: true,
            bitrate: Some(3_200_000.0),
            throughput: Some(25_400_000.0),
            buffer: Some(21.3),
        };
        let query = "CMCD=bl%3D(21300)%2Cbr%3D(3200)%2Cbs%2Cd%3D4004%2Cltc%3D1200%2Cmtp%3D(25400)%2Cot%3Dv%2Cpr%3D1.05%2Csf%3Dh%2Csid%3D%226e2fb550%22%2Csta%3Dr%2Csu%2Cv%3D2";
        assert_eq!(Cmcd::read(Some(query), [].into_iter()), Some(whole));
        let headers = [
            "bl=(21300),ltc=1200,mtp=(25400),sta=r,su",
            "br=(3200),d=4004,ot=v",
            "bs,pr=1.05",
            "sf=h,sid=\"6e2fb550\",v=2",
        ];
        assert_eq!(Cmcd::read(None, headers.into_iter()), Some(whole));
        let playing = Cmcd {
            starved: false,
            startup: false,
            ..whole
        };
        let list = "bl%3D(21300%3Bv%2020000%3Ba)%2Cbr%3D(3200%3Bv%2064%3Ba)%2Ccid%3D%22a%20%5C%22b%5C%22%20c%22%2Cmtp%3D(25400)%2Cot%3Dv%2Csta%3Dp%2Cv%3D2";
        // dash.js writes a space as a plus.
        for list in [list.to_owned(), list.replace("%20", "+")] {
            let query = format!("a=b&CMCD={list}&c=d");
            assert_eq!(
                Cmcd::read(Some(&query), [].into_iter()),
                Some(playing),
                "{query}"
            );
        }
    }

    #[test]
    fn lists_count_by_their_largest_number_and_a_wrong_member_loses_no_other() {
        let read = |text: &str| Cmcd::read(None, [text].into_iter());
        let bitrate = |kilobits: f64| {
            Some(Cmcd {
                bitrate: Some(kilobits * 1e3),
                ..Cmcd::default()
            })
        };
        let nothing = Some(Cmcd::default());
        let table = [
            ("the largest", "br=(64;a 3200;v 800)", bitrate(3200.0)),
            ("the only one", "br=(3200)", bitrate(3200.0)),
            ("decimals", "br=(0.5 1.5)", bitrate(1.5)),
            ("no number", "br=(a \"9\" ?1)", nothing),
            ("numbers among others", "br=(a 7 \"9\")", bitrate(7.0)),
            ("below nothing", "br=(-5 -1)", nothing),
            ("an empty list", "br=()", nothing),
            ("a wrong member before", "BAD=1,br=1", bitrate(1.0)),
            ("a wrong member behind", "br=1,d=", bitrate(1.0)),
            ("a wrong list", "ab=(120;v+64;a),br=1", bitrate(1.0)),
            ("a list without an end", "ab=(1,br=1", bitrate(1.0)),
            ("a text without an end", "cid=\"a,br=1", bitrate(1.0)),
            (
                "a comma in a text",
                "X=1,cid=\"a,br=9,b\",br=1",
                bitrate(1.0),
            ),
            (
                "a quote in a text",
                "X=1,cid=\"a\\\",br=9\",br=1",
                bitrate(1.0),
            ),
            (
                "a comma in a list",
                "X=1,nor=(\"a,br=9\" b),br=1",
                bitrate(1.0),
            ),
            ("empty members", ",,br=1,,", bitrate(1.0)),
            ("an umlaut", "cid=\"\u{e4}\",br=1", bitrate(1.0)),
            ("the last one of a name", "X=1,br=2,br=1", bitrate(1.0)),
            ("all of them wrong", "X=1,Y=2", None),
        ];
        for (name, text, want) in table {
            assert_eq!(read(text), want, "{name}: {text}");
        }
        let states = [
            ("r", true),
            ("p", false),
            ("s", false),
            ("\"r\"", false),
            ("(r)", false),
        ];
        for (state, starved) in states {
            let said = read(&format!("sta={state}")).expect("read");
            assert_eq!(said.starved, starved, "{state}");
        }
        let broken = "CMCD=cid%3D%22%ff%22%2Cbr%3D1";
        assert_eq!(Cmcd::read(Some(broken), [].into_iter()), bitrate(1.0));
    }

    proptest! {
        #[test]
        fn whatever_a_player_says_is_read_without_a_panic(query in ".{0,200}", header in ".{0,200}") {
            let query = format!("CMCD={query}");
            let _ = Cmcd::read(Some(&query), [header.as_str()].into_iter());
        }
    }
}
