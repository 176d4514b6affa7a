//! Floods of one sort of frame: the edge ends the connection, or it does not
//! care. Nobody else notices, and no memory is taken.

use super::attack::Target;
use super::open;
use crate::frames::*;

/// How a flood ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// GOAWAY with this code, and the connection's end.
    Cut(u32),
    /// The connection goes on.
    Harmless,
}

use End::{Cut, Harmless};

struct Flood {
    name: &'static str,
    first: Vec<u8>,
    each: Vec<u8>,
    times: usize,
    end: End,
}

fn flood(name: &'static str, first: Vec<u8>, each: Vec<u8>, times: usize, end: End) -> Flood {
    Flood {
        name,
        first,
        each,
        times,
        end,
    }
}

/// The beginning of a header block.
fn begun() -> Vec<u8> {
    headers(1, END_STREAM, &get("/held.ts"))
}

/// 16 KB that become 48 MB: one field of 4,000 bytes, named again and again.
fn bomb() -> Vec<u8> {
    let mut stored = vec![0x40, 1, b'x'];
    integer(&mut stored, 7, 0, 4_000);
    let block = [
        get("/held.ts"),
        stored,
        vec![b'x'; 4_000],
        vec![0xbe; 12_000],
    ];
    headers(1, WHOLE, &block.concat())
}

impl Flood {
    async fn run(&self, target: &Target) {
        let bystander = target.bystander();
        let mut client = target.door.open().await;
        client.write(&self.first).await;
        client.pour(&self.each, self.times).await;
        let end = match self.end {
            Cut(_) => match client.until(|frame| frame.kind == GOAWAY).await {
                Some(frame) => Cut(frame.code().expect("a code")),
                None => panic!("{}: no word at the end", self.name),
            },
            Harmless => {
                let last = client.settle().await.pop();
                let lives = last.is_some_and(|frame| frame.is_ack(PING));
                assert!(lives, "{}: the connection ended", self.name);
                Harmless
            }
        };
        assert_eq!(end, self.end, "{}", self.name);
        bystander.was_served().await;
        target.stands(self.name).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_flood_of_frames_takes_memory_or_time_from_others() {
    let calm = Cut(ENHANCE_YOUR_CALM);
    let field = |length: usize| field("x-any", &vec![b'x'; length]);
    let settings = settings(&[(INITIAL_WINDOW_SIZE, 1), (INITIAL_WINDOW_SIZE, 65_535)]);
    let floods = [
        // CVE-2024-27316.
        flood(
            "CONTINUATION",
            begun(),
            continuation(1, 0, &field(1_000)),
            2_000,
            calm,
        ),
        flood(
            "empty CONTINUATION",
            begun(),
            continuation(1, 0, &[]),
            100_000,
            calm,
        ),
        flood(
            "large CONTINUATION",
            begun(),
            continuation(1, 0, &field(16_000)),
            500,
            calm,
        ),
        flood("empty DATA", open(1), data(1, 0, &[]), 10_000, calm),
        flood(
            "DATA that is all padding",
            open(1),
            frame(DATA, PADDED, 1, &[0]),
            10_000,
            calm,
        ),
        flood("PRIORITY", open(1), priority(1, 3), 100_000, Harmless),
        flood(
            "WINDOW_UPDATE of the connection",
            vec![],
            window_update(0, 1),
            100_000,
            Harmless,
        ),
        flood(
            "WINDOW_UPDATE of a stream",
            open(1),
            window_update(1, 1),
            100_000,
            Harmless,
        ),
        flood(
            "WINDOW_UPDATE of a closed stream",
            [open(1), rst_stream(1, CANCEL)].concat(),
            window_update(1, 1),
            100_000,
            Harmless,
        ),
        flood(
            "RST_STREAM of a closed stream",
            open(1),
            rst_stream(1, CANCEL),
            100_000,
            Harmless,
        ),
        flood(
            "unknown frames",
            vec![],
            frame(0x16, 0, 0, &[0; 100]),
            50_000,
            Harmless,
        ),
        flood(
            "a field that a table makes large",
            vec![],
            bomb(),
            500,
            calm,
        ),
        flood("PING", vec![], ping([0; 8]), 20_000, Harmless),
        flood("SETTINGS", vec![], settings, 20_000, Harmless),
    ];
    let target = Target::start().await;
    for flood in &floods {
        flood.run(&target).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_nobody_reads_are_not_heaped_up() {
    let target = Target::start().await;
    let floods = [
        ("PING", ping([0; 8])),
        ("SETTINGS", settings(&[(INITIAL_WINDOW_SIZE, 1)])),
    ];
    for (name, each) in floods {
        let mut client = target.door.open().await;
        client.pour(&each, 600_000).await;
        target.stands(name).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_frame_of_a_viewer_writes_to_the_log() {
    let target = Target::start().await;
    let mut client = target.door.open().await;
    // Each is an answer to a ping that nobody sent.
    client.pour(&frame(PING, ACK, 0, &[0; 8]), 200).await;
    client.settle().await;
    target.process.signal("TERM");
    let (status, log) = target.process.end().await;
    assert!(status.success(), "{status}");
    assert!(!log.contains("PING"), "{} lines", log.lines().count());
}
