//! The edge under test, and what the kernel says of its process.

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::time::Duration;

use crate::edge::{Setup, metric};
use crate::served::Process;

pub struct EdgeProcess {
    process: Process,
    pub address: SocketAddr,
    pub admin: SocketAddr,
}

impl EdgeProcess {
    pub fn start(binary: &Path, setup: &Setup) -> Self {
        let mut process = Process::start_binary(binary, setup, &[]);
        let (address, admin) = tokio::task::block_in_place(|| process.addresses());
        Self {
            process,
            address,
            admin,
        }
    }

    /// The same of a node that has a TLS listener, and where that is.
    pub fn start_tls(binary: &Path, setup: &Setup) -> (Self, SocketAddr) {
        let mut process = Process::start_binary(binary, setup, &[]);
        let [http, https, admin] = tokio::task::block_in_place(|| process.listeners());
        let edge = Self {
            process,
            address: http.expect("a plain listener"),
            admin: admin.expect("an admin"),
        };
        (edge, https.expect("a TLS listener"))
    }

    /// The most bytes that were resident since [`Self::forget_peak`].
    pub fn peak(&self) -> u64 {
        self.status("VmHWM:")
    }

    pub fn forget_peak(&self) {
        // proc(5): 5 resets the peak resident set size.
        std::fs::write(self.proc("clear_refs"), "5").expect("our own process");
    }

    pub fn open_files(&self) -> usize {
        let files = std::fs::read_dir(self.proc("fd")).expect("our own process");
        files.count()
    }

    /// CPU time of its threads so far, in steps of 10 ms.
    pub fn cpu(&self) -> Duration {
        cpu_time(&self.child.id().to_string())
    }

    pub async fn metric(&self, series: &str) -> f64 {
        metric(self.admin, series).await
    }

    fn proc(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.child.id())
    }
}

/// CPU time of a process (proc(5), `stat`: utime and stime in ticks of 10 ms).
pub fn cpu_time(process: &str) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("it runs");
    let (_, fields) = stat.rsplit_once(") ").expect("a name in brackets");
    let ticks = fields.split(' ').skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|count| count.parse::<u64>().ok()).sum();
    Duration::from_millis(10 * ticks)
}

impl Deref for EdgeProcess {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for EdgeProcess {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}
