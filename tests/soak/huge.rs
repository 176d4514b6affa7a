//! Bodies that no memory holds: they pass through.

use std::path::Path;

use tokio::task::JoinSet;

use crate::edge::{Setup, signed};
use crate::edge_process::EdgeProcess;
use crate::origin::{Body, DevOrigin, DevOriginOptions, Fault};
use crate::report::{Report, mib};
use crate::viewer::{Answer, Request, Viewer};

const GB: u64 = 1_000_000_000;
static FILM: Body = Body::Generated {
    seed: 31,
    len: 10 * GB,
};
static SHORTER: Body = Body::Generated { seed: 32, len: GB };
/// Longer than anybody waits for.
static ENDLESS: Body = Body::Generated {
    seed: 33,
    len: 1 << 60,
};
const ENOUGH: u64 = 256 << 20;
const MOST_GROWTH: u64 = 64 << 20;
const VIEWERS: usize = 8;

pub async fn run(binary: &Path, report: &mut Report) {
    let origin = DevOrigin::start(DevOriginOptions::default()).await;
    let origin = origin.expect("the origin starts");
    for (path, body) in [
        ("/film.mp4", &FILM),
        ("/shorter.mp4", &SHORTER),
        ("/endless.ts", &ENDLESS),
    ] {
        let Body::Generated { seed, len } = body else {
            continue;
        };
        origin.put_generated(&format!("/media{path}"), *len, *seed);
    }
    origin.fault("/endless.ts", Fault::Chunked);
    let edge = EdgeProcess::start(binary, &Setup::s3(origin.addr()));
    let idle = edge.resident();
    let stage = Stage { edge, origin, idle };
    stage.range(report).await;
    stage.film(report).await;
    stage.several(report).await;
    stage.endless(report).await;
}

struct Stage {
    edge: EdgeProcess,
    origin: DevOrigin,
    idle: u64,
}

impl Stage {
    async fn range(&self, report: &mut Report) {
        let (first, last) = (9 * GB + 12_345, 9 * GB + 5_012_344);
        let range = format!("bytes={first}-{last}");
        let headers = [("Range", range.as_str())];
        let asked = Request {
            headers: &headers,
            ..Request::get("/film.mp4", Some(&FILM))
        };
        let sent_before = self.sent();
        let answer = exchange(&self.edge, asked).await;
        let good = answer.as_ref().is_ok_and(|answer| {
            answer.is_good(206) && answer.range() == Some((first, last, FILM.len()))
        });
        self.check("a Range of 5 MB deep inside 10 GB", &answer, good, report);
        // The first answer showed that the object is too large, and was given up.
        let sent = self.sent() - sent_before;
        let most = 64 << 20;
        report.check(
            "bytes that the origin sent for it",
            format!("≤ {}", mib(most)),
            mib(sent),
            sent <= most,
        );
    }

    async fn film(&self, report: &mut Report) {
        let asked = Request::get("/film.mp4", Some(&FILM));
        let answer = exchange(&self.edge, asked).await;
        let good = answer.as_ref().is_ok_and(|answer| answer.is_good(200));
        self.check("10 GB for one viewer", &answer, good, report);
    }

    async fn several(&self, report: &mut Report) {
        let mut viewers = JoinSet::new();
        for _ in 0..VIEWERS {
            let address = self.edge.address;
            viewers.spawn(async move {
                let target = signed(&warren::clock::Clock::default(), "/shorter.mp4");
                let mut viewer = Viewer::open(address).await?;
                viewer
                    .exchange(&Request::get(&target, Some(&SHORTER)))
                    .await
            });
        }
        let answers = viewers.join_all().await;
        let is_good = |answer: &std::io::Result<Answer>| {
            answer.as_ref().is_ok_and(|answer| answer.is_good(200))
        };
        let good = answers.iter().all(is_good);
        let shown = answers.iter().find(|answer| !is_good(answer));
        let shown = shown.unwrap_or(&answers[0]);
        self.check("1 GB for each of 8 viewers at once", shown, good, report);
    }

    /// The first viewer finds out that it does not fit; the next ones are
    /// served without being stored.
    async fn endless(&self, report: &mut Report) {
        let asked = || Request {
            leave_after: Some(ENOUGH),
            ..Request::get("/endless.ts", Some(&ENDLESS))
        };
        let first = exchange(&self.edge, asked()).await;
        let cut = first
            .as_ref()
            .is_ok_and(|answer| answer.right && !answer.whole && !answer.left);
        let what = "a body without end, first viewer: cut off, not ended";
        self.check(what, &first, cut, report);
        let gone = self.origin.aborted();
        let second = exchange(&self.edge, asked()).await;
        let left = second
            .as_ref()
            .is_ok_and(|answer| answer.right && answer.left);
        let what = "a body without end, second viewer: leaves after 256 MiB";
        self.check(what, &second, left, report);
        let noticed = self.origin.until(|origin| origin.aborted() > gone);
        let noticed = tokio::time::timeout(std::time::Duration::from_secs(10), noticed).await;
        report.check(
            "the origin is let go when he has left",
            "within 10 s",
            if noticed.is_ok() { "yes" } else { "no" },
            noticed.is_ok(),
        );
    }

    fn check(&self, what: &str, answer: &std::io::Result<Answer>, good: bool, report: &mut Report) {
        let seen = match answer {
            Ok(answer) => format!(
                "{} {}, whole={}, right={}",
                answer.status,
                mib(answer.received),
                answer.whole,
                answer.right
            ),
            Err(error) => error.to_string(),
        };
        report.check(what, "every byte right", seen, good);
        let growth = self.edge.peak().saturating_sub(self.idle);
        report.check(
            format!("{what}: growth of resident memory so far"),
            format!("≤ {}", mib(MOST_GROWTH)),
            format!("{} above {} idle", mib(growth), mib(self.idle)),
            growth <= MOST_GROWTH,
        );
    }

    fn sent(&self) -> u64 {
        self.origin.requests().iter().map(|seen| seen.sent).sum()
    }
}

async fn exchange(edge: &EdgeProcess, request: Request<'_>) -> std::io::Result<Answer> {
    let target = signed(&warren::clock::Clock::default(), request.target);
    let mut viewer = Viewer::open(edge.address).await?;
    let request = Request {
        target: &target,
        ..request
    };
    viewer.exchange(&request).await
}
