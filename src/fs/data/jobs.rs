//! Work of the background thread. Each inode waits at most once per kind, so the queues are bounded
//! by the files with dirty state and the orphans, and by the requests in flight.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::time::Instant;

use crate::base::Ino;
use crate::base::sync::{Condvar, Mutex};
use crate::fs::{Done, FsError};

/// One piece of work.
pub(super) enum Job {
    /// The blocks a flush waits for have landed, or have failed to.
    Landed(Ino, Result<(), FsError>),
    /// Bring everything dirty into groups.
    FlushAll,
    /// Go on with a truncation.
    Cut(Ino),
    /// Go on with removing an inode.
    Reap(Ino),
    /// Go on with zeroing a range.
    Zero(Ino, Range<u64>, Done<()>),
    /// Time has passed.
    Tick,
    /// End.
    Stop,
}

#[derive(Default)]
struct State {
    landed: BTreeMap<Ino, Result<(), FsError>>,
    cut: BTreeSet<Ino>,
    reap: BTreeSet<Ino>,
    /// One for each such request.
    zero: VecDeque<(Ino, Range<u64>, Done<()>)>,
    flush_all: bool,
    stop: bool,
}

/// The queue.
#[derive(Default)]
pub(super) struct Jobs {
    state: Mutex<State>,
    wake: Condvar,
}

impl Jobs {
    fn change(&self, f: impl FnOnce(&mut State)) {
        f(&mut self.state.lock());
        self.wake.notify_one();
    }

    pub(super) fn landed(&self, ino: Ino, result: Result<(), FsError>) {
        self.change(|s| {
            s.landed.insert(ino, result);
        });
    }

    pub(super) fn cut(&self, ino: Ino) {
        self.change(|s| {
            s.cut.insert(ino);
        });
    }

    pub(super) fn reap(&self, ino: Ino) {
        self.change(|s| {
            s.reap.insert(ino);
        });
    }

    pub(super) fn zero(&self, ino: Ino, range: Range<u64>, done: Done<()>) {
        self.change(|s| s.zero.push_back((ino, range, done)));
    }

    pub(super) fn flush_all(&self) {
        self.change(|s| s.flush_all = true);
    }

    pub(super) fn stop(&self) {
        self.change(|s| s.stop = true);
    }

    /// Waits for work, until `tick` at the latest. What others wait for comes first; long work is
    /// done in steps and queued again.
    pub(super) fn next(&self, tick: Instant) -> Job {
        let mut s = self.state.lock();
        loop {
            if let Some((ino, result)) = s.landed.pop_first() {
                return Job::Landed(ino, result);
            }
            if std::mem::take(&mut s.flush_all) {
                return Job::FlushAll;
            }
            if s.stop {
                return Job::Stop;
            }
            if Instant::now() >= tick {
                return Job::Tick;
            }
            if let Some((ino, range, done)) = s.zero.pop_front() {
                return Job::Zero(ino, range, done);
            }
            if let Some(ino) = s.cut.pop_first() {
                return Job::Cut(ino);
            }
            if let Some(ino) = s.reap.pop_first() {
                return Job::Reap(ino);
            }
            self.wake.wait_until(&mut s, tick);
        }
    }
}
