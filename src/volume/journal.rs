//! The log of a worker: a bounded file in the runtime directory, or the caller's standard error.
//!
//! Whoever writes to standard error in the process, the store's engine included, writes into a pipe
//! that a thread of the same process empties. So a full disk, a closed terminal or a dead parent
//! never fails a write there, and a write there never fails a commit.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use rustix::pipe::PipeFlags;

use crate::base::{Clock, SystemClock};

/// Size at which the log is put aside and begun anew; the one put aside before is lost.
const LOG_MAX_BYTES: u64 = 1 << 20;

/// Longest line that is kept in one piece.
const LINE_MAX_BYTES: u64 = 4 << 10;

/// The redirected standard error of a process.
pub(super) struct Journal {
    thread: JoinHandle<()>,
    before: File,
}

/// Opens the log for appending.
pub(super) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
}

impl Journal {
    /// Redirects standard error. The lines go on to where it went before, which is the file at
    /// `path` if there is one.
    pub(super) fn start(path: Option<PathBuf>) -> io::Result<Self> {
        let before = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        let mut log = Log {
            sink: before.try_clone()?,
            path,
        };
        let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        rustix::stdio::dup2_stderr(&writer)?;
        drop(writer);
        let thread = std::thread::Builder::new()
            .name("coffer-log".into())
            .spawn(move || log.copy(File::from(reader)))?;
        Ok(Self { thread, before })
    }

    /// Makes a panic of any thread the end of the process: what it has left half done must not be
    /// committed, and the store is consistent without it.
    pub(super) fn end_on_panic(&self) -> io::Result<()> {
        let sink = self.before.try_clone()?;
        std::panic::set_hook(Box::new(move |panic| {
            drop(writeln!(&sink, "{} coffer: ERROR {panic}", now()));
            std::process::abort();
        }));
        Ok(())
    }

    /// Gives standard error back and waits until every line is written.
    pub(super) fn end(self) {
        if rustix::stdio::dup2_stderr(&self.before).is_ok() {
            drop(self.thread.join());
        }
    }
}

struct Log {
    sink: File,
    path: Option<PathBuf>,
}

impl Log {
    fn copy(&mut self, from: impl io::Read) {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        loop {
            line.clear();
            let mut bounded = io::Read::take(&mut from, LINE_MAX_BYTES);
            match bounded.read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let text = String::from_utf8_lossy(&line);
            // There is nobody to tell that the log cannot be written.
            drop(writeln!(self.sink, "{} {}", now(), text.trim_end()));
            self.bound();
        }
    }

    fn bound(&mut self) {
        let Some(path) = &self.path else {
            return;
        };
        if self.sink.metadata().is_ok_and(|m| m.len() > LOG_MAX_BYTES)
            && std::fs::rename(path, path.with_extension("old")).is_ok()
        {
            if let Ok(sink) = open(path) {
                self.sink = sink;
            }
        }
    }
}

/// Returns the time of a line: RFC 3339 in UTC.
pub(super) fn now() -> jiff::Timestamp {
    let now = SystemClock.now();
    jiff::Timestamp::from_second(now.secs).unwrap_or_default()
}
