//! What the attacks have in common: an edge in a process of its own, whose
//! memory is watched, and a bystander who wants to be served meanwhile.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio::task::JoinHandle;

use super::{Door, Ground};
use crate::edge::Connection;
use crate::frames::*;
use crate::origin::Gate;
use crate::served::Process;

/// What an attack may cost in memory, whatever it sends.
pub const MOST_BYTES: u64 = 16 << 20;

/// An edge under attack. A request for `/held.ts` is not answered.
pub struct Target {
    pub ground: Ground,
    pub door: Door,
    pub http: SocketAddr,
    pub admin: SocketAddr,
    pub process: Process,
    /// Its memory before the attack.
    before: u64,
    _held: Gate,
}

impl Target {
    pub async fn start() -> Self {
        let ground = Ground::new().await;
        ground.origin.put("/held.ts", &b"held"[..], "video/mp2t");
        let held = ground.origin.hold("/held.ts", None);
        let mut process = Process::start(&ground.setup);
        let [http, https, admin] = process.listeners();
        let door = ground.door(https.expect("a TLS listener"));
        let mut target = Self {
            ground,
            door,
            http: http.expect("a plain listener"),
            admin: admin.expect("the admin listener"),
            process,
            before: 0,
            _held: held,
        };
        target.serves().await;
        target.count_from_here();
        target
    }

    pub fn count_from_here(&mut self) {
        self.before = self.process.resident();
    }

    /// A request on each of two new connections.
    pub async fn serves(&self) {
        assert_eq!(plain(self.http, "/a.ts").await, 7);
        let mut client = self.door.open().await;
        client.write(&headers(1, WHOLE, &get("/a.ts"))).await;
        let head = client.until(|frame| frame.kind == HEADERS).await;
        assert_eq!(head.and_then(|head| head.status()), Some(200));
    }

    /// Bytes of memory more than before.
    pub fn grown(&self) -> u64 {
        self.process.resident().saturating_sub(self.before)
    }

    /// The claims that every attack must leave true.
    pub async fn stands(&self, attack: &str) {
        self.serves().await;
        let grown = self.grown();
        assert!(grown <= MOST_BYTES, "{attack}: {grown} bytes more");
        assert!(self.ground.origin.count("held.ts") <= 1, "{attack}");
        assert_eq!(self.ground.origin.count("a.ts"), 1, "{attack}");
    }

    pub fn bystander(&self) -> Bystander {
        let until = Arc::new(AtomicBool::new(false));
        let (address, ended) = (self.http, Arc::clone(&until));
        let task = tokio::spawn(async move {
            loop {
                assert_eq!(plain(address, "/a.ts").await, 7);
                if ended.load(Relaxed) {
                    break;
                }
            }
        });
        Bystander { until, task }
    }
}

/// Somebody else, who asks again and again while the attack goes on.
pub struct Bystander {
    until: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Bystander {
    /// Each of his answers was whole and right.
    pub async fn was_served(self) {
        self.until.store(true, Relaxed);
        self.task.await.expect("each answer was right");
    }
}

/// The length of an answer on a new HTTP/1.1 connection.
pub async fn plain(address: SocketAddr, path: &str) -> usize {
    let mut viewer = Connection::open(address).await;
    viewer.send("GET", path, &[]).await;
    let reply = viewer.reply("GET").await;
    assert!(reply.whole && reply.status == 200, "{reply:?}");
    reply.body.len()
}
