//! One row of the tables: what is sent, and what must be seen.

use std::time::Duration;

use tokio::time::timeout;

use super::{Door, Edge};
use crate::frames::*;

/// What must be seen.
#[derive(Debug, Clone)]
pub enum Seen {
    /// A connection error: GOAWAY with this code, and then the end.
    GoAway(u32),
    /// The connection's end, with no word about it.
    End,
    /// A stream error, which leaves the connection.
    Reset(u32, u32),
    /// A whole response of this status, which leaves the connection.
    Answer(u32, u16),
    /// Nothing but that the connection lives.
    Alive,
    /// The edge's own settings.
    Greeting,
    SettingsAck,
    Pong([u8; 8]),
    /// One of them: the RFC allows each, and it is a matter of time which.
    Either(&'static [Seen]),
}

use Seen::{Alive, Answer, Either, End, GoAway, Greeting, Pong, Reset, SettingsAck};

/// How long one row may take.
const PATIENCE: Duration = Duration::from_secs(5);

pub struct Case {
    section: &'static str,
    name: &'static str,
    /// Prefaces and settings have been exchanged.
    opened: bool,
    steps: Vec<(Vec<u8>, Seen)>,
}

/// A row on a connection on which prefaces and settings have been exchanged.
pub fn case(section: &'static str, name: &'static str, sent: Vec<u8>, seen: Seen) -> Case {
    Case {
        section,
        name,
        opened: true,
        steps: vec![(sent, seen)],
    }
}

/// A row on a connection on which nothing has been said.
pub fn bare(section: &'static str, name: &'static str, sent: Vec<u8>, seen: Seen) -> Case {
    let mut case = case(section, name, sent, seen);
    case.opened = false;
    case
}

/// A malformed message is an error of its stream.
pub fn malformed(section: &'static str, name: &'static str, sent: Vec<u8>) -> Case {
    case(section, name, sent, Reset(1, PROTOCOL_ERROR))
}

/// A malformed message that h2 finds out about while it decompresses.
/// why: it makes an error of the connection of it, which §5.4.1 allows.
pub fn unreadable(section: &'static str, name: &'static str, sent: Vec<u8>) -> Case {
    case(section, name, sent, GoAway(PROTOCOL_ERROR))
}

impl Case {
    pub fn then(mut self, sent: Vec<u8>, seen: Seen) -> Self {
        self.steps.push((sent, seen));
        self
    }

    async fn run(&self, door: &Door) -> Result<(), String> {
        let mut client = if self.opened {
            door.open().await
        } else {
            door.silent().await
        };
        for (sent, seen) in &self.steps {
            client.write(sent).await;
            look(&mut client, seen).await.map_err(|why| {
                format!("§{} {}: wanted {seen:?}, {why}", self.section, self.name)
            })?;
        }
        Ok(())
    }
}

/// Runs every row, each on a connection of its own, and tells of all that fail.
pub async fn run(edge: &Edge, cases: &[Case]) {
    let mut failures = Vec::new();
    for case in cases {
        if let Err(failure) = case.run(&edge.door).await {
            failures.push(failure);
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let after = edge.edge.get("/a.ts").await;
    assert_eq!(after.status, 200, "the edge goes on");
}

async fn look(client: &mut Http2, wanted: &Seen) -> Result<(), String> {
    let mut seen = Vec::new();
    if matches!(wanted, Alive) {
        return lives(client, seen).await;
    }
    let found = find(client, wanted, &mut seen).await;
    if !found.as_ref().is_some_and(|found| fits(wanted, found)) {
        return Err(format!("saw {seen:?}"));
    }
    match found {
        Some(GoAway(_)) => match client.until(|_| false).await {
            None => Ok(()),
            Some(_) => Err("the connection went on".to_owned()),
        },
        Some(Answer(stream, _)) => {
            let last = |frame: &Frame| frame.stream == stream && frame.ends_stream();
            if !seen.iter().any(last) && client.until(last).await.is_none() {
                return Err("the response did not end".to_owned());
            }
            lives(client, seen).await
        }
        Some(Reset(_, _) | SettingsAck | Pong(_)) => lives(client, Vec::new()).await,
        Some(End | Greeting | Alive | Either(_)) | None => Ok(()),
    }
}

/// Reads until what is wanted comes, or something that it cannot come after.
async fn find(client: &mut Http2, wanted: &Seen, seen: &mut Vec<Frame>) -> Option<Seen> {
    loop {
        let Ok(frame) = timeout(PATIENCE, client.next()).await else {
            return None;
        };
        let Some(frame) = frame else {
            return Some(End);
        };
        let found = notable(&frame);
        seen.push(frame);
        match found {
            Some(found) if fits(wanted, &found) => return Some(found),
            Some(GoAway(_)) => return None,
            Some(_) | None => {}
        }
    }
}

/// Whether the connection answers a ping, and nothing is wrong on the way.
async fn lives(client: &mut Http2, mut seen: Vec<Frame>) -> Result<(), String> {
    seen.extend(client.settle().await);
    let wrong = |frame: &Frame| matches!(frame.kind, GOAWAY) || is_error(frame);
    let answered = seen.last().is_some_and(|frame| frame.is_ack(PING));
    match answered && !seen.iter().any(wrong) {
        true => Ok(()),
        false => Err(format!("saw {seen:?}")),
    }
}

/// A reset that says more than that the rest of a request is not needed.
fn is_error(frame: &Frame) -> bool {
    frame.kind == RST_STREAM && frame.code() != Some(NO_ERROR)
}

/// What a frame is in the words of a row.
fn notable(frame: &Frame) -> Option<Seen> {
    match frame.kind {
        GOAWAY => frame.code().map(GoAway),
        RST_STREAM => Some(Reset(frame.stream, frame.code()?)),
        HEADERS => Some(Answer(frame.stream, frame.status()?)),
        SETTINGS if frame.flags & ACK != 0 => Some(SettingsAck),
        SETTINGS => Some(Greeting),
        PING if frame.flags & ACK != 0 => Some(Pong(frame.payload[..].try_into().ok()?)),
        _ => None,
    }
}

fn fits(wanted: &Seen, found: &Seen) -> bool {
    match (wanted, found) {
        (Either(some), found) => some.iter().any(|wanted| fits(wanted, found)),
        (GoAway(a), GoAway(b)) => a == b,
        (End, End) | (Greeting, Greeting) | (SettingsAck, SettingsAck) => true,
        (Reset(a, code_a), Reset(b, code_b)) => (a, code_a) == (b, code_b),
        (Answer(a, status_a), Answer(b, status_b)) => (a, status_a) == (b, status_b),
        (Pong(a), Pong(b)) => a == b,
        _ => false,
    }
}
