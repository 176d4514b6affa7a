//! The access log: one line for each request, written by a thread of its own,
//! without tokens and with anonymised addresses.

use std::io::{BufWriter, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::config::{AccessLog, LogFormat};
use crate::origin::sigv4::civil;

/// Lines that may wait for the writer. Beyond it lines are dropped and counted:
/// a slow disk must not slow viewers.
const QUEUE_LINES: usize = 16_384;
const FLUSH_AFTER: Duration = Duration::from_millis(200);
const BUFFER_BYTES: usize = 64 << 10;

/// One answered request.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    /// RFC 3339, UTC, milliseconds.
    pub time: String,
    #[serde(skip)]
    pub time_ms: u64,
    pub request_id: String,
    pub zone: String,
    #[serde(skip)]
    pub zone_id: u32,
    pub remote_ip: String,
    pub country: Option<String>,
    pub method: String,
    pub host: String,
    /// Path and query with the token's parameters redacted.
    pub url: String,
    pub protocol: &'static str,
    pub status: u16,
    pub cache: &'static str,
    pub kind: &'static str,
    pub bytes: u64,
    /// Seconds to the first byte and to the last.
    pub ttfb: Option<f64>,
    pub duration: f64,
    /// Why the request was refused, not stored, or failed.
    pub reason: Option<&'static str>,
    /// The name of the key that the token was made with.
    pub token_key: Option<String>,
    pub cache_key: Option<String>,
    pub referer: Option<String>,
    pub user_agent: Option<String>,
}

impl Line {
    fn render(&self, format: LogFormat) -> String {
        match format {
            LogFormat::Off => String::new(),
            LogFormat::Json => serde_json::to_string(self).unwrap_or_default(),
            LogFormat::Bunny => self.render_bunny(),
        }
    }

    /// The vendor's twelve fields.
    fn render_bunny(&self) -> String {
        let optional = |field: &Option<String>| {
            field
                .as_deref()
                .map_or_else(|| "-".to_owned(), without_pipes)
        };
        [
            self.cache.to_owned(),
            self.status.to_string(),
            self.time_ms.to_string(),
            self.bytes.to_string(),
            self.zone_id.to_string(),
            self.remote_ip.clone(),
            optional(&self.referer),
            without_pipes(&format!("{}{}", self.host, self.url)),
            "-".to_owned(),
            optional(&self.user_agent),
            self.request_id.clone(),
            optional(&self.country),
        ]
        .join("|")
    }
}

fn without_pipes(text: &str) -> String {
    let clean: String = text
        .chars()
        .filter(|c| *c != '|' && !c.is_control())
        .collect();
    if clean.is_empty() {
        "-".to_owned()
    } else {
        clean
    }
}

/// RFC 3339 with milliseconds.
pub fn timestamp(at: SystemTime) -> (String, u64) {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let ((year, month, day), (hour, minute, second)) = civil(millis / 1000);
    let text = format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
        millis % 1000
    );
    (text, millis)
}

/// The /24 of an IPv4 address, the /64 of an IPv6 address.
pub fn anonymise(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            Ipv4Addr::new(a, b, c, 0).into()
        }
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

/// A target with the values of the token's parameters replaced.
pub fn redact(target: &str) -> String {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = match path.strip_prefix("/bcdn_token=") {
        Some(block) => {
            let rest = block.find('/').map_or("", |slash| &block[slash..]);
            format!("/bcdn_token=redacted{rest}")
        }
        None => path.to_owned(),
    };
    if query.is_empty() {
        return path;
    }
    let piece = |piece: &str| {
        let name = piece.split('=').next().unwrap_or_default();
        // A name may come encoded; whoever hides one so has its value hidden too.
        let hide = name.contains('%')
            || name.eq_ignore_ascii_case("token")
            || name.eq_ignore_ascii_case("bcdn_token");
        if hide {
            format!("{name}=redacted")
        } else {
            piece.to_owned()
        }
    };
    let pieces: Vec<String> = query.split('&').map(piece).collect();
    format!("{path}?{}", pieces.join("&"))
}

/// Hands lines to the writer's thread.
pub struct Log {
    format: LogFormat,
    pub anonymise_ip: bool,
    sender: Option<SyncSender<Box<Line>>>,
}

impl Log {
    /// Opens the file (or standard output) and starts the writer.
    pub fn open(settings: &AccessLog) -> std::io::Result<Self> {
        let format = settings.format;
        let sender = match format {
            LogFormat::Off => None,
            LogFormat::Json | LogFormat::Bunny => {
                let out = output(settings.file.as_deref())?;
                let (sender, lines) = sync_channel(QUEUE_LINES);
                std::thread::Builder::new()
                    .name("access-log".into())
                    .spawn(move || write(&lines, out, format))?;
                Some(sender)
            }
        };
        Ok(Self {
            format,
            anonymise_ip: settings.anonymise_ip,
            sender,
        })
    }

    pub fn is_on(&self) -> bool {
        self.format != LogFormat::Off
    }

    /// False where the line was dropped.
    pub fn write(&self, line: Line) -> bool {
        let sent = self
            .sender
            .as_ref()
            .map(|sender| sender.try_send(Box::new(line)));
        !matches!(sent, Some(Err(TrySendError::Full(_))))
    }
}

fn output(file: Option<&Path>) -> std::io::Result<Box<dyn Write + Send>> {
    Ok(match file {
        None => Box::new(std::io::stdout()),
        Some(path) => Box::new(
            std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)?,
        ),
    })
}

fn write(lines: &Receiver<Box<Line>>, out: Box<dyn Write + Send>, format: LogFormat) {
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, out);
    loop {
        let result = match lines.recv_timeout(FLUSH_AFTER) {
            Ok(line) => writeln!(out, "{}", line.render(format)),
            Err(RecvTimeoutError::Timeout) => out.flush(),
            Err(RecvTimeoutError::Disconnected) => {
                let _ = out.flush();
                return;
            }
        };
        if let Err(error) = result {
            tracing::error!(%error, "cannot write the access log");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line {
        Line {
            time: "2030-01-01T00:00:00.000Z".into(),
            time_ms: 1_893_456_000_000,
            request_id: "00ff".into(),
            zone: "vod".into(),
            zone_id: 7,
            remote_ip: "192.0.2.0".into(),
            country: Some("CH".into()),
            method: "GET".into(),
            host: "cdn.example.net".into(),
            url: "/a.ts".into(),
            protocol: "HTTP/1.1",
            status: 200,
            cache: "HIT",
            kind: "segment",
            bytes: 5,
            ttfb: Some(0.001),
            duration: 0.002,
            reason: None,
            token_key: None,
            cache_key: None,
            referer: None,
            user_agent: Some("a|b\n".into()),
        }
    }

    #[test]
    fn the_vendors_line_has_twelve_fields_whatever_a_viewer_sends() {
        let text = line().render(LogFormat::Bunny);
        assert_eq!(
            text,
            "HIT|200|1893456000000|5|7|192.0.2.0|-|cdn.example.net/a.ts|-|ab|00ff|CH"
        );
    }

    #[test]
    fn a_json_line_is_one_line() {
        let text = line().render(LogFormat::Json);
        assert!(!text.contains('\n'));
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value["user_agent"], "a|b\n");
    }

    #[test]
    fn tokens_are_redacted_in_every_carrier() {
        let table = [
            (
                "/a.ts?token=HS256-x&expires=1",
                "/a.ts?token=redacted&expires=1",
            ),
            ("/a.ts?Token=x", "/a.ts?Token=redacted"),
            ("/a.ts?%74oken=x&b=1", "/a.ts?%74oken=redacted&b=1"),
            (
                "/bcdn_token=HS256-x&expires=1/v/a.ts?c=1",
                "/bcdn_token=redacted/v/a.ts?c=1",
            ),
            ("/bcdn_token=HS256-x&expires=1", "/bcdn_token=redacted"),
            ("/a.ts", "/a.ts"),
        ];
        for (target, want) in table {
            assert_eq!(redact(target), want);
        }
    }

    #[test]
    fn addresses_lose_their_host_part() {
        let anonymous = |text: &str| anonymise(text.parse().expect("an address")).to_string();
        assert_eq!(anonymous("192.0.2.77"), "192.0.2.0");
        assert_eq!(anonymous("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}
