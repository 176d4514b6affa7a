//! Hits while the origin is in trouble and other viewers wait for it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::edge::{Setup, signed};
use crate::edge_process::EdgeProcess;
use crate::origin::{Body, DevOrigin, DevOriginOptions, Fault};
use crate::report::{Report, median, ms, percentile};
use crate::viewer::{Request, Viewer};

/// Objects in memory, and those who ask for them again and again.
const WARM: u64 = 100;
const WARM_BYTES: u64 = 20_000;
const WARM_VIEWERS: usize = 8;
/// A hit is asked for so often by each: far below what the machine can do.
const WARM_EVERY: Duration = Duration::from_millis(4);
/// Others ask for a cold object so often, each on a connection of his own.
const COLD_EVERY: Duration = Duration::from_millis(5);
const COLD_BYTES: u64 = 200_000;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(1_500);
/// Times the p99 beside an idle origin.
const MOST_RATIO: f64 = 2.0;

#[derive(Clone, Copy)]
enum Trouble {
    None,
    Down,
    Silent,
    Slow,
    Errors,
    Resets,
}

impl Trouble {
    const ALL: [(&str, Self); 5] = [
        ("down", Self::Down),
        ("silent", Self::Silent),
        ("slow", Self::Slow),
        ("answers 500", Self::Errors),
        ("resets", Self::Resets),
    ];

    fn fault(self) -> Option<Fault> {
        match self {
            Self::None | Self::Down => None,
            Self::Silent => Some(Fault::Silence),
            Self::Slow => Some(Fault::Drip {
                bytes_per_second: 50_000,
            }),
            Self::Errors => Some(Fault::Status {
                status: 500,
                code: None,
            }),
            Self::Resets => Some(Fault::ResetBeforeHead),
        }
    }
}

pub async fn run(binary: &Path, report: &mut Report) {
    let mut stage = Stage::new(binary).await;
    stage.round(Trouble::None, false).await;
    for (name, trouble) in Trouble::ALL {
        let mut idle = Latencies::default();
        let mut troubled = Latencies::default();
        let mut wrong = 0;
        for _ in 0..ROUNDS {
            wrong += idle.add(stage.round(Trouble::None, false).await);
            wrong += troubled.add(stage.round(trouble, true).await);
        }
        let required = format!("p99 ≤ {MOST_RATIO} × idle; every hit right");
        let ratio = troubled.ratio(&mut idle);
        let measured = format!(
            "p99 {} against {}: {ratio:.2} (p50 {} against {}; {} hits, {wrong} wrong)",
            troubled.p99(),
            idle.p99(),
            ms(median(&mut troubled.p50)),
            ms(median(&mut idle.p50)),
            troubled.count
        );
        let holds = ratio <= MOST_RATIO && wrong == 0;
        report.check(
            format!("hits while the origin {name}"),
            required,
            measured,
            holds,
        );
    }
}

/// Percentiles of each round.
#[derive(Default)]
struct Latencies {
    p50: Vec<Duration>,
    p99: Vec<Duration>,
    count: usize,
}

impl Latencies {
    /// Returns how many hits were wrong.
    fn add(&mut self, round: Round) -> usize {
        let mut samples = round.samples;
        self.count += samples.len();
        self.p50.push(percentile(&mut samples, 0.5));
        self.p99.push(percentile(&mut samples, 0.99));
        round.wrong
    }

    /// The median of the rounds, and the least and the most.
    fn p99(&mut self) -> String {
        let middle = median(&mut self.p99);
        let (least, most) = (self.p99[0], self.p99[self.p99.len() - 1]);
        format!("{} [{}–{}]", ms(middle), ms(least), ms(most))
    }

    fn ratio(&mut self, idle: &mut Self) -> f64 {
        let idle = median(&mut idle.p99).as_secs_f64();
        median(&mut self.p99).as_secs_f64() / idle
    }
}

struct Round {
    samples: Vec<Duration>,
    wrong: usize,
}

struct Stage {
    edge: EdgeProcess,
    origin: DevOrigin,
    /// Cold names that were asked for.
    cold: Arc<AtomicUsize>,
}

impl Stage {
    async fn new(binary: &Path) -> Self {
        let origin = DevOrigin::start(DevOriginOptions::default()).await;
        let origin = origin.expect("the origin starts");
        for number in 0..WARM {
            origin.put_generated(&format!("/media/warm{number}.ts"), WARM_BYTES, number);
        }
        let mut setup = Setup::s3(origin.addr());
        setup.origin += "first_byte_timeout = \"1s\"\n";
        let edge = EdgeProcess::start(binary, &setup);
        Self {
            edge,
            origin,
            cold: Arc::default(),
        }
    }

    async fn round(&mut self, trouble: Trouble, cold: bool) -> Round {
        self.origin.clear();
        // Warm again where the crowd of cold ones has pushed something out.
        let _ = warm_viewer(&self.edge, Duration::ZERO, 0).await;
        self.begin(trouble).await;
        let ended = Arc::new(AtomicBool::new(false));
        let askers = cold.then(|| tokio::spawn(self.ask_cold(Arc::clone(&ended))));
        let mut viewers = JoinSet::new();
        for number in 0..WARM_VIEWERS {
            let viewer = warm_viewer(&self.edge, ROUND, number);
            viewers.spawn(viewer);
        }
        let rounds = viewers.join_all().await;
        ended.store(true, Relaxed);
        if let Some(askers) = askers {
            askers.abort();
            let _ = askers.await;
        }
        self.end(trouble).await;
        Round {
            wrong: rounds.iter().map(|round| round.wrong).sum(),
            samples: rounds.into_iter().flat_map(|round| round.samples).collect(),
        }
    }

    async fn begin(&mut self, trouble: Trouble) {
        if let Some(fault) = trouble.fault() {
            self.origin.fault("", fault);
        }
        if matches!(trouble, Trouble::Down) {
            self.origin.stop().await;
        }
    }

    /// Well again, and believed to be by the edge.
    async fn end(&mut self, trouble: Trouble) {
        self.origin.clear_faults();
        if matches!(trouble, Trouble::Down) {
            self.origin.restart().await.expect("the same port");
        }
        while self.edge.metric("warren_pulls_in_flight").await > 0.0 {
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Asks for one cold object after the other, whatever becomes of it.
    fn ask_cold(&self, ended: Arc<AtomicBool>) -> impl Future<Output = ()> + use<> {
        let (address, cold, origin) = (
            self.edge.address,
            Arc::clone(&self.cold),
            self.origin.state(),
        );
        async move {
            let mut tick = interval(COLD_EVERY);
            tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
            let mut asked = JoinSet::new();
            while !ended.load(Relaxed) {
                tick.tick().await;
                let path = format!("/cold{}.ts", cold.fetch_add(1, Relaxed));
                origin.put_generated(&format!("/media{path}"), COLD_BYTES, 1);
                asked.spawn(async move {
                    let target = signed(&warren::clock::Clock::default(), &path);
                    let mut viewer = Viewer::open(address).await?;
                    viewer.exchange(&Request::get(&target, None)).await
                });
            }
        }
    }
}

/// Asks for warm objects for a while; once for each where that is no time.
fn warm_viewer(
    edge: &EdgeProcess,
    time: Duration,
    number: usize,
) -> impl Future<Output = Round> + use<> {
    let address = edge.address;
    async move {
        let clock = warren::clock::Clock::default();
        let mut viewer = Viewer::open(address).await.expect("accepted");
        let mut round = Round {
            samples: Vec::new(),
            wrong: 0,
        };
        let mut tick = interval(if time.is_zero() {
            Duration::from_micros(1)
        } else {
            WARM_EVERY
        });
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let began = Instant::now();
        for turn in number as u64.. {
            if began.elapsed() >= time && turn >= number as u64 + WARM {
                return round;
            }
            tick.tick().await;
            let seed = turn % WARM;
            let object = Body::Generated {
                seed,
                len: WARM_BYTES,
            };
            let target = signed(&clock, &format!("/warm{seed}.ts"));
            let asked = Instant::now();
            let answer = viewer.exchange(&Request::get(&target, Some(&object))).await;
            round.samples.push(asked.elapsed());
            if !answer.is_ok_and(|answer| answer.is_good(200)) {
                round.wrong += 1;
            }
        }
        round
    }
}
