//! The access log: lines are rendered where they happen, gathered in memory and
//! written by a thread of its own.

use std::cell::RefCell;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::log_line::Line;
use crate::config::{AccessLog, LogFormat};

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
    /// `None`: the log is off.
    shared: Option<Arc<Shared>>,
}

struct Shared {
    waiting: Mutex<Vec<u8>>,
    enough: Condvar,
    out: Mutex<Box<dyn Write + Send>>,
}

thread_local! {
    /// Lines are rendered outside the lock.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Log {
    /// Opens the file (or standard output) and starts the writer.
    pub fn open(settings: &AccessLog) -> std::io::Result<Self> {
        let shared = match settings.format {
            LogFormat::Off => None,
            LogFormat::Json | LogFormat::Bunny => {
                let shared = Arc::new(Shared {
                    waiting: Mutex::default(),
                    enough: Condvar::new(),
                    out: Mutex::new(output(settings.file.as_deref())?),
                });
                let writer = Arc::downgrade(&shared);
                std::thread::Builder::new()
                    .name("access-log".into())
                    .spawn(move || {
                        while let Some(shared) = writer.upgrade() {
                            shared.wait();
                            shared.write();
                        }
                    })?;
                Some(shared)
            }
        };
        Ok(Self {
            format: settings.format,
            anonymise_ip: settings.anonymise_ip,
            file: settings.file.clone(),
            shared,
        })
    }

    pub fn is_on(&self) -> bool {
        self.shared.is_some()
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
        if let Some(shared) = &self.shared {
            let new = output(self.file.as_deref())?;
            shared.write();
            *shared.out.lock().unwrap_or_else(PoisonError::into_inner) = new;
        }
        Ok(())
    }

    /// Writes what is waiting now.
    pub fn flush(&self) {
        if let Some(shared) = &self.shared {
            shared.write();
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

    fn write(&self) {
        // In this order: two writers keep the lines' order.
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.is_empty() {
                return;
            }
            std::mem::replace(&mut *waiting, Vec::with_capacity(2 * WRITE_BYTES))
        };
        let written = out.write_all(&lines).and_then(|()| out.flush());
        if let Err(error) = written {
            tracing::error!(%error, "cannot write the access log");
        }
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
