//! The access log: lines are rendered where they happen, gathered in memory and
//! written by a thread of its own.

use std::cell::RefCell;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::log_line::Line;
use super::syslog::{Syslog, SyslogServer};
use crate::clock::Clock;

use crate::private_file;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLog {
    pub format: LogFormat,
    /// `None`: standard output.
    pub file: Option<PathBuf>,
    /// In place of the file.
    pub syslog: Option<SyslogServer>,
    /// Log one hit of so many; whatever is no hit is always logged.
    pub sample_hits: u32,
    /// Log the /24 or /64 of a viewer instead of the address.
    pub anonymise_ip: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Json,
    Bunny,
    Off,
}

/// Bytes that may wait for the writer. Beyond it lines are dropped and counted:
/// a slow disk must not slow viewers.
const MOST_WAITING_BYTES: usize = 8 << 20;
/// The writer is woken for so much, and else looks by itself.
const WRITE_BYTES: usize = 64 << 10;
const FLUSH_AFTER: Duration = Duration::from_millis(200);

/// Takes lines from every thread.
pub struct Log {
    format: LogFormat,
    pub anonymise_ip: bool,
    file: Option<PathBuf>,
    sample_hits: u32,
    /// `None`: the log is off.
    shared: Option<Arc<Shared>>,
}

struct Shared {
    waiting: Mutex<Vec<u8>>,
    enough: Condvar,
    out: Mutex<Sink>,
    /// The last write failed, and that was said.
    failing: AtomicBool,
    /// What waits begins in the middle of a line.
    torn: AtomicBool,
}

thread_local! {
    /// Lines are rendered outside the lock.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Log {
    /// Opens the file, standard output or the way to a server, and starts the
    /// writer.
    pub fn open(settings: &AccessLog, clock: &Clock) -> std::io::Result<Self> {
        let shared = match settings.format {
            LogFormat::Off => None,
            LogFormat::Json | LogFormat::Bunny => {
                let shared = Arc::new(Shared {
                    waiting: Mutex::default(),
                    enough: Condvar::new(),
                    out: Mutex::new(Sink::open(settings, clock)?),
                    failing: AtomicBool::new(false),
                    torn: AtomicBool::new(false),
                });
                let writer = Arc::downgrade(&shared);
                std::thread::Builder::new()
                    .name("access-log".into())
                    .spawn(move || {
                        while let Some(shared) = writer.upgrade() {
                            shared.wait();
                            if !shared.write() {
                                // It would be woken at once for what waits.
                                std::thread::sleep(FLUSH_AFTER);
                            }
                        }
                    })?;
                Some(shared)
            }
        };
        Ok(Self {
            format: settings.format,
            anonymise_ip: settings.anonymise_ip,
            file: settings.file.clone(),
            sample_hits: settings.sample_hits.max(1),
            shared,
        })
    }

    /// The log's weight for a request: one of so many is logged. `None`: this
    /// one is not. `drawn` at random, a like chance for each value.
    pub fn weight(&self, is_hit: bool, drawn: impl FnOnce() -> u32) -> Option<u32> {
        self.shared.as_ref()?;
        match is_hit {
            false => Some(1),
            true => drawn()
                .is_multiple_of(self.sample_hits)
                .then_some(self.sample_hits),
        }
    }

    /// False where the line was dropped.
    pub fn write(&self, line: &Line<'_>) -> bool {
        let Some(shared) = &self.shared else {
            return true;
        };
        SCRATCH.with_borrow_mut(|text| {
            text.clear();
            match self.format {
                LogFormat::Json => line.push_json(text),
                LogFormat::Bunny => line.push_bunny(text),
                LogFormat::Off => {}
            }
            shared.take(text)
        })
    }

    /// Opens the file anew, once it was moved away; where that fails the old
    /// one is written on.
    pub fn reopen(&self) -> std::io::Result<()> {
        if let (Some(shared), Some(file)) = (&self.shared, &self.file) {
            let new = private_file::append(file)?;
            if !shared.write() {
                // The other file has the beginning of the line that waits.
                shared.drop_torn();
            }
            let mut out = shared.out.lock().unwrap_or_else(PoisonError::into_inner);
            *out = Sink::Stream(Box::new(new));
        }
        Ok(())
    }

    /// Writes what is waiting now. Waits for the disk, or the server.
    pub fn flush(&self) {
        if let Some(shared) = &self.shared {
            while shared.write() && shared.has_more() {}
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.flush();
    }
}

impl Shared {
    fn take(&self, text: &[u8]) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let before = waiting.len();
        if before + text.len() > MOST_WAITING_BYTES {
            return false;
        }
        waiting.extend_from_slice(text);
        if before < WRITE_BYTES && waiting.len() >= WRITE_BYTES {
            self.enough.notify_one();
        }
        true
    }

    fn wait(&self) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let _unused = self
            .enough
            .wait_timeout_while(waiting, FLUSH_AFTER, |waiting| waiting.len() < WRITE_BYTES);
    }

    fn has_more(&self) -> bool {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        !waiting.is_empty()
    }

    /// False where what waits could not be written.
    fn write(&self) -> bool {
        // In this order, and until the rest is back: two writers keep the lines'
        // order.
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            match out.is_behind() {
                true => Vec::new(),
                false if waiting.is_empty() => return true,
                false => std::mem::replace(&mut *waiting, Vec::with_capacity(2 * WRITE_BYTES)),
            }
        };
        let (rest, ends, written) = out.write(lines);
        if let Some(ends) = ends {
            self.torn.store(!ends, Relaxed);
        }
        match &written {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            // Said once, not for each look at a disk that is full.
            Err(error) if !self.failing.swap(true, Relaxed) => {
                tracing::error!(%error, "cannot write the access log: up to 8 MiB of lines wait");
            }
            Err(_) => {}
            Ok(()) if self.failing.swap(false, Relaxed) => {
                tracing::info!("the access log is written again");
            }
            Ok(()) => {}
        }
        self.put_back(rest);
        written.is_ok()
    }

    /// Drops what is left of a line that was begun elsewhere.
    fn drop_torn(&self) {
        if self.torn.swap(false, Relaxed) {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let end = memchr::memchr(b'\n', &waiting).map_or(waiting.len(), |end| end + 1);
            waiting.drain(..end);
        }
    }

    /// What could not be written goes on where it ended, before what has come
    /// since; beyond the limit what comes next is dropped.
    fn put_back(&self, mut rest: Vec<u8>) {
        if !rest.is_empty() {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            rest.append(&mut waiting);
            *waiting = rest;
        }
    }
}

/// Where lines go.
enum Sink {
    Stream(Box<dyn Write + Send>),
    Syslog(Box<Syslog>),
}

impl Sink {
    fn open(settings: &AccessLog, clock: &Clock) -> std::io::Result<Self> {
        Ok(match (&settings.syslog, &settings.file) {
            (Some(server), _) => {
                Sink::Syslog(Box::new(Syslog::new(server.clone(), clock.clone())?))
            }
            (None, None) => Sink::Stream(Box::new(std::io::stdout())),
            (None, Some(file)) => Sink::Stream(Box::new(private_file::append(file)?)),
        })
    }

    fn is_behind(&self) -> bool {
        matches!(self, Sink::Syslog(server) if server.is_behind())
    }

    /// What of the lines is left to be written, whether what was written ends with
    /// a line (`None`: nothing was), and why.
    fn write(&mut self, mut lines: Vec<u8>) -> (Vec<u8>, Option<bool>, std::io::Result<()>) {
        match self {
            Sink::Stream(out) => {
                let (count, written) = write_some(out, &lines);
                let ends = (count > 0).then(|| lines[count - 1] == b'\n');
                lines.drain(..count);
                (lines, ends, written)
            }
            Sink::Syslog(server) => (Vec::new(), Some(true), server.send(lines)),
        }
    }
}

/// As far as it goes, and how far that was.
fn write_some(out: &mut impl Write, lines: &[u8]) -> (usize, std::io::Result<()>) {
    let mut count = 0;
    while count < lines.len() {
        match out.write(&lines[count..]) {
            Ok(0) => return (count, Err(std::io::ErrorKind::WriteZero.into())),
            Ok(written) => count += written,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return (count, Err(error)),
        }
    }
    (count, out.flush())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes, and then none until it is emptied.
    #[derive(Clone, Default)]
    struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let mut disk = self.0.lock().unwrap();
            let room = disk.1.saturating_sub(disk.0.len()).min(bytes.len());
            if room == 0 {
                return Err(std::io::ErrorKind::StorageFull.into());
            }
            disk.0.extend_from_slice(&bytes[..room]);
            Ok(room)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_loses_no_line_and_cuts_none() {
        let disk = Disk::default();
        disk.0.lock().unwrap().1 = 13;
        let shared = Shared {
            waiting: Mutex::default(),
            enough: Condvar::new(),
            out: Mutex::new(Sink::Stream(Box::new(disk.clone()))),
            failing: AtomicBool::new(false),
            torn: AtomicBool::new(false),
        };
        for line in ["first\n", "second\n", "third\n"] {
            assert!(shared.take(line.as_bytes()));
            shared.write();
        }
        assert!(!shared.write(), "it is full");
        disk.0.lock().unwrap().1 = 1000;
        assert!(shared.write());
        let written = String::from_utf8(disk.0.lock().unwrap().0.clone()).unwrap();
        assert_eq!(written, "first\nsecond\nthird\n");
        disk.0.lock().unwrap().1 = 0;
        let line = vec![b'x'; 1 << 20];
        let taken = (0..20)
            .filter(|_| shared.take(&line) && !shared.write())
            .count();
        assert_eq!(taken, MOST_WAITING_BYTES >> 20, "and then they are dropped");
    }
}
