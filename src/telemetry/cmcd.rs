//! What players say of themselves (CTA-5004, Common Media Client Data), as
//! bounded metrics: the quality of experience at one's own edge.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use prometheus::core::Collector;
use prometheus::{Error, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};
use sfv::{BareItem, Dictionary, ListEntry, Parser};

/// The parameter of a query, and the headers, that carry it.
pub const PARAMETER: &str = "CMCD";
pub const HEADERS: [&str; 4] = ["cmcd-request", "cmcd-object", "cmcd-status", "cmcd-session"];

/// More of one carrier is not read.
const MAX_BYTES: usize = 2048;

const BITRATE_BUCKETS: &[f64] = &[
    64e3, 128e3, 256e3, 512e3, 1e6, 2e6, 3e6, 4.5e6, 6e6, 8e6, 12e6, 16e6, 25e6, 50e6, 100e6,
];
const BUFFER_BUCKETS: &[f64] = &[0.5, 1.0, 2.0, 4.0, 6.0, 10.0, 20.0, 30.0, 60.0];

/// One request's data, as far as it is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cmcd {
    /// `bs`: the buffer ran empty since the request before.
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
        let parameter =
            parameter.and_then(|(_, value)| percent_decode_str(value).decode_utf8().ok());
        let carriers = parameter.into_iter().chain(headers.map(Cow::Borrowed));
        let mut found = None;
        for text in carriers.filter(|text| text.len() <= MAX_BYTES) {
            // A dictionary of RFC 8941 in all but its name.
            if let Ok(all) = Parser::parse_dictionary(text.as_bytes()) {
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
        // Thousands of bits per second, and milliseconds.
        let number = |name, unit: f64| match item(name)? {
            BareItem::Integer(number) => Some(*number as f64 * unit),
            BareItem::Decimal(number) => Some(number.to_string().parse::<f64>().ok()? * unit),
            _ => None,
        };
        let number = |name, unit| number(name, unit).filter(|number| *number >= 0.0);
        self.starved |= is_set("bs");
        self.startup |= is_set("su");
        self.bitrate = self.bitrate.or(number("br", 1e3));
        self.throughput = self.throughput.or(number("mtp", 1e3));
        self.buffer = self.buffer.or(number("bl", 1e-3));
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
            ("br=(3000;v)", Some(Cmcd::default())),
            ("br=-1,bs=?0", Some(Cmcd::default())),
            ("com.example-x=1", Some(Cmcd::default())),
            ("br=", None),
            ("BR=1", None),
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

    proptest! {
        #[test]
        fn whatever_a_player_says_is_read_without_a_panic(query in ".{0,200}", header in ".{0,200}") {
            let query = format!("CMCD={query}");
            let _ = Cmcd::read(Some(&query), [header.as_str()].into_iter());
        }
    }
}
