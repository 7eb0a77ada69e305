//! Flush: what is dirty in a file comes into a group.
//!
//! A flush covers what was dirty when it began. Chunks with many dirty pages become blocks; blocks
//! must have landed before a group may name them, and nobody waits for that: the flush stops, and
//! the background thread goes on with it when the packs tell.

use crate::base::sync::{Arc, AtomicUsize, Mutex, Ordering};
use crate::base::{ChunkIx, Ino};
use crate::fs::{Done, FsError};

use super::Data;
use super::file::{Base, Covered, File};

/// Callers to tell, with what, once the file is no longer locked.
#[derive(Default)]
#[must_use]
pub(super) struct Calls(Vec<(Done<()>, Result<(), FsError>)>);

impl Calls {
    pub(super) fn add(&mut self, waiters: Vec<Done<()>>, result: &Result<(), FsError>) {
        self.0
            .extend(waiters.into_iter().map(|w| (w, result.clone())));
    }

    pub(super) fn run(self) {
        for (done, result) in self.0 {
            done(result);
        }
    }
}

impl Data {
    /// Brings what is dirty in a file into a group; then calls `done`, maybe before it returns. What
    /// `done` changes lands in the same group or a later one.
    pub(in crate::fs) fn flush(&self, ino: Ino, done: Done<()>) {
        let mut done = Some(done);
        let calls = self.files.with_dirty(ino, |f| {
            f.next.extend(done.take());
            self.advance(ino, f)
        });
        match done {
            Some(done) => done(Ok(())),
            None => calls.unwrap_or_default().run(),
        }
    }

    /// The same for all files.
    pub(in crate::fs) fn flush_all(&self, done: Done<()>) {
        self.flush_files(self.files.list(), done);
    }

    /// The same for some files.
    pub(in crate::fs) fn flush_files(&self, files: Vec<Ino>, done: Done<()>) {
        let all = Arc::new(Countdown {
            left: AtomicUsize::new(files.len() + 1),
            end: Mutex::new((Ok(()), Some(done))),
        });
        for ino in files {
            let all = Arc::clone(&all);
            self.flush(ino, Box::new(move |r| all.arrive(r)));
        }
        all.arrive(Ok(()));
    }

    /// Goes on with a flush whose blocks have landed.
    pub(super) fn landed(&self, ino: Ino, result: &Result<(), FsError>) {
        let calls = self.files.with_dirty(ino, |f| {
            let mut calls = Calls::default();
            if result.is_err() && f.flushing.take().is_some() {
                calls.add(std::mem::take(&mut f.current), result);
                return calls;
            }
            self.advance(ino, f)
        });
        calls.unwrap_or_default().run();
    }

    /// Does what can be done now for those who wait.
    pub(super) fn advance(&self, ino: Ino, f: &mut File) -> Calls {
        let mut calls = Calls::default();
        loop {
            if f.flushing.is_none() {
                if f.next.is_empty() {
                    return calls;
                }
                if f.cut.is_some() {
                    self.jobs.cut(ino);
                    return calls;
                }
                f.flushing = Some(Covered {
                    since: f.seq,
                    size: f.size,
                });
                f.seq += 1;
                f.current = std::mem::take(&mut f.next);
                if let Err(e) = self.settle(ino, f) {
                    f.flushing = None;
                    calls.add(std::mem::take(&mut f.current), &Err(e));
                    continue;
                }
            }
            if self.is_in_flight(f) {
                let jobs = Arc::clone(&self.jobs);
                let wait = move |r: Result<(), _>| jobs.landed(ino, r.map_err(FsError::from));
                self.blocks.land(Box::new(wait));
                return calls;
            }
            let result = self.apply(ino, f);
            if let Ok(true) = result {
                // A block had to be stored again and is in flight.
                continue;
            }
            f.flushing = None;
            let result = result.map(|_| ());
            calls.add(std::mem::take(&mut f.current), &result);
        }
    }

    /// Makes blocks of the chunks with many dirty pages.
    fn settle(&self, ino: Ino, f: &mut File) -> Result<(), FsError> {
        let many = self.geometry.pages_per_chunk() / 4;
        let full: Vec<ChunkIx> = f
            .chunks
            .iter()
            .filter(|(_, c)| c.pages.len() as u64 > many)
            .map(|(ix, _)| *ix)
            .collect();
        full.into_iter().try_for_each(|ix| self.build(ino, f, ix))
    }

    /// Returns true if a block that the flush covers has not landed.
    fn is_in_flight(&self, f: &File) -> bool {
        f.chunks.values().any(|c| {
            let covered = f.flushing.is_some_and(|covered| c.since <= covered.since);
            match &c.base {
                Base::Block(stored) => covered && !self.blocks.is_landed(stored),
                _ => false,
            }
        })
    }
}

/// What a caller will be told, and the caller.
type End = (Result<(), FsError>, Option<Done<()>>);

/// Tells one caller when several flushes have ended; the first error wins.
struct Countdown {
    left: AtomicUsize,
    end: Mutex<End>,
}

impl Countdown {
    fn arrive(&self, result: Result<(), FsError>) {
        if let Err(e) = result {
            let mut end = self.end.lock();
            if end.0.is_ok() {
                end.0 = Err(e);
            }
        }
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            let (result, done) = {
                let mut end = self.end.lock();
                (end.0.clone(), end.1.take())
            };
            if let Some(done) = done {
                done(result);
            }
        }
    }
}
