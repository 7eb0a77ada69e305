//! Passes over the records of one moment, several slices of the key space at once.
//!
//! The first pass over a letter also sums its records for the set digests and notes what cannot be
//! opened; later ones only look. A slice that the store cannot read is noted and left at the place
//! where it fails: the rest is looked at all the same.

use crate::base::sync::{AtomicBool, AtomicU64, AtomicUsize, Mutex, Ordering};
use crate::base::{Generation, PackNo};
use crate::format::bytes::DecodeError;
use crate::format::key::{Key, Letter};
use crate::format::root::KIND_SLOTS;
use crate::meta::Names;
use crate::sealed::{Record, SealedError, Slice, View};
use crate::txn::SetDigests;

use super::fault::{Faults, Subject};
use super::finding::Code;
use super::{CheckError, Phase, Progress, Target, Watch};

/// Records between two looks at whether to go on.
const STEP: u64 = 4096;

/// Why an opened record is not what its kind says.
pub(super) type Decoded = Result<(), DecodeError>;

/// What the passes over all letters sum up.
#[derive(Clone, Default)]
pub(super) struct Sums {
    pub(super) digests: SetDigests,
    pub(super) counts: [u64; KIND_SLOTS],
    pub(super) records: u64,
}

impl Sums {
    fn merge(&mut self, other: &Self) {
        self.digests.merge(&other.digests);
        for (sum, theirs) in self.counts.iter_mut().zip(other.counts) {
            *sum += theirs;
        }
        self.records += other.records;
    }
}

/// What all parts of a check share.
pub(super) struct Pass<'a> {
    pub(super) target: Target<'a>,
    pub(super) names: Names,
    pub(super) faults: Faults,
    /// The newest commit: nothing can be younger.
    pub(super) generation: Generation,
    view: View,
    threads: usize,
    watch: &'a Watch<'a>,
    stopped: AtomicBool,
    phase: Mutex<Phase>,
    done: AtomicU64,
    total: AtomicU64,
    sums: Mutex<Sums>,
    /// Letters whose first pass is over.
    summed: Mutex<Vec<Letter>>,
    /// Letters of which some records could not be read.
    incomplete: Mutex<Vec<Letter>>,
}

/// The record a pass has met.
enum Met<'r> {
    Opened(&'r Key, Record),
    /// Not authentic or malformed.
    Bad(&'r Key),
}

/// One thread's work in a pass.
struct Worker<'p, 'a> {
    pass: &'p Pass<'a>,
    letter: Letter,
    first: bool,
    sums: Sums,
    since: u64,
}

impl<'a> Pass<'a> {
    pub(super) fn new(
        target: Target<'a>,
        threads: usize,
        watch: &'a Watch<'a>,
    ) -> Result<Self, CheckError> {
        Ok(Self {
            names: Names::new(crate::base::sync::Arc::clone(target.records.keyset())),
            faults: Faults::default(),
            generation: Generation(u64::MAX),
            view: target.records.view()?,
            target,
            threads,
            watch,
            stopped: AtomicBool::new(false),
            phase: Mutex::new(Phase::Records),
            done: AtomicU64::new(0),
            total: AtomicU64::new(0),
            sums: Mutex::default(),
            summed: Mutex::default(),
            incomplete: Mutex::default(),
        })
    }

    /// Notes a fault.
    pub(super) fn note(&self, code: Code, subject: Subject, detail: impl Into<String>) {
        self.faults.note(code, subject, detail);
    }

    /// Begins a phase of `total` steps, for whoever watches.
    pub(super) fn begin(&self, phase: Phase, total: u64) {
        *self.phase.lock() = phase;
        self.total.store(total, Ordering::Relaxed);
        self.done.store(0, Ordering::Relaxed);
        self.advance(0);
    }

    /// Tells of `steps` done; afterwards [`Self::is_stopped`] may be true.
    pub(super) fn advance(&self, steps: u64) {
        let done = self.done.fetch_add(steps, Ordering::Relaxed) + steps;
        let progress = Progress {
            phase: *self.phase.lock(),
            done,
            total: self.total.load(Ordering::Relaxed).max(done),
        };
        if !(self.watch)(progress) {
            self.stopped.store(true, Ordering::Relaxed);
        }
    }

    /// Returns true if whoever watches wants no more.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Fails if whoever watches wants no more.
    pub(super) fn go_on(&self) -> Result<(), CheckError> {
        match self.is_stopped() {
            true => Err(CheckError::Stopped),
            false => Ok(()),
        }
    }

    /// Returns true if some records of a letter are damaged or could not be read, so that what is
    /// missing proves nothing.
    pub(super) fn is_incomplete(&self, letter: Letter) -> bool {
        self.incomplete.lock().contains(&letter)
    }

    pub(super) fn set_incomplete(&self, letter: Letter) {
        let mut incomplete = self.incomplete.lock();
        if !incomplete.contains(&letter) {
            incomplete.push(letter);
        }
    }

    /// Returns what the first passes have summed up.
    pub(super) fn sums(&self) -> Sums {
        self.sums.lock().clone()
    }

    /// Runs `work` for all items, several at once; returns the results in the order of the items.
    pub(super) fn spread<I: Sync, T: Send>(
        &self,
        items: &[I],
        work: impl Fn(&I) -> T + Sync,
    ) -> Result<Vec<T>, CheckError> {
        let next = AtomicUsize::new(0);
        let results: Mutex<Vec<(usize, T)>> = Mutex::new(Vec::with_capacity(items.len()));
        let run = || {
            while !self.is_stopped() {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(item) = items.get(at) else {
                    return;
                };
                let result = work(item);
                results.lock().push((at, result));
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.threads.min(items.len()) {
                scope.spawn(run);
            }
            run();
        });
        self.go_on()?;
        let mut results = results.into_inner();
        results.sort_by_key(|(at, _)| *at);
        Ok(results.into_iter().map(|(_, r)| r).collect())
    }

    /// Looks at all records of a letter. `good` is called for each that opens, `bad` for each that
    /// does not or that `good` finds malformed; what they gather comes back in the order of the keys,
    /// a piece for each slice. All keys with the same first hash are in one piece.
    pub(super) fn over<T: Default + Send>(
        &self,
        letter: Letter,
        good: impl Fn(&mut T, &Key, Record) -> Decoded + Sync,
        bad: impl Fn(&mut T, &Key) + Sync,
    ) -> Result<Vec<T>, CheckError> {
        let first = !self.summed.lock().contains(&letter);
        let pieces = self.spread(&Slice::of(letter), |slice| {
            let mut piece = T::default();
            let mut worker = Worker {
                pass: self,
                letter,
                first,
                sums: Sums::default(),
                since: 0,
            };
            worker.slice(slice, &mut |met| match met {
                Met::Opened(key, record) => {
                    let found = good(&mut piece, key, record);
                    if found.is_err() {
                        bad(&mut piece, key);
                    }
                    found
                }
                Met::Bad(key) => {
                    bad(&mut piece, key);
                    Ok(())
                }
            });
            worker.end();
            piece
        })?;
        if first {
            self.summed.lock().push(letter);
        }
        Ok(pieces)
    }

    /// Returns the record at a key, or why it does not open; none if there is none.
    pub(super) fn get(&self, key: &Key) -> Result<Option<Result<Record, SealedError>>, CheckError> {
        let Some(letter) = key.as_bytes().first().copied().and_then(Letter::from_byte) else {
            return Ok(None);
        };
        let slice = Slice::beginning_with(letter, key.as_bytes().get(1..).unwrap_or_default());
        let mut found = None;
        self.view.for_each(&slice, &mut |bytes, sealed| {
            if bytes == key.as_bytes() {
                found = Some(self.target.records.open(key, sealed));
            }
            false
        })?;
        Ok(found)
    }

    /// Returns the first record of a letter whose key begins with `prefix`, if it opens.
    pub(super) fn first(&self, letter: Letter, prefix: &[u8]) -> Option<(Key, Record)> {
        let mut found = None;
        let slice = Slice::beginning_with(letter, prefix);
        let read = self.view.for_each(&slice, &mut |bytes, sealed| {
            found = Key::from_bytes(bytes).zip(Some(sealed.to_vec()));
            false
        });
        read.ok()?;
        let (key, sealed) = found?;
        let record = self.target.records.open(&key, &sealed).ok()?;
        Some((key, record))
    }

    /// Looks for keys that are none of ours, between the letters.
    pub(super) fn foreign(&self) -> Result<(), CheckError> {
        self.spread(&Slice::foreign(), |slice| {
            let read = self.view.for_each(slice, &mut |key, _| {
                self.note(Code::ForeignKey, Subject::Foreign(key.to_vec()), "");
                !self.is_stopped()
            });
            if let Err(e) = read {
                self.note(Code::StoreUnreadable, Subject::Volume, chain(&e));
            }
        })?;
        Ok(())
    }
}

impl Worker<'_, '_> {
    fn slice(&mut self, slice: &Slice, each: &mut dyn FnMut(Met<'_>) -> Decoded) {
        let mut last = slice.start().to_vec();
        let pass = self.pass;
        let read = pass.view.for_each(slice, &mut |bytes, sealed| {
            last.clear();
            last.extend_from_slice(bytes);
            self.record(bytes, sealed, each);
            self.since += 1;
            if self.since == STEP {
                pass.advance(std::mem::take(&mut self.since));
            }
            !pass.is_stopped()
        });
        if let Err(e) = read {
            pass.set_incomplete(self.letter);
            if self.first {
                let subject = Subject::Foreign(last);
                pass.note(Code::StoreUnreadable, subject, chain(&e));
            }
        }
    }

    fn record(&mut self, bytes: &[u8], sealed: &[u8], each: &mut dyn FnMut(Met<'_>) -> Decoded) {
        let pass = self.pass;
        let Some(key) = Key::from_bytes(bytes).filter(has_shape) else {
            if self.first {
                pass.note(Code::ForeignKey, Subject::Foreign(bytes.to_vec()), "");
            }
            return;
        };
        if key == Key::root() {
            return;
        }
        let records = pass.target.records;
        if self.first {
            self.sums.records += 1;
            let term = records.term(&key, sealed);
            self.sums.digests.add(records.bucket(&key), &term);
            if let Some(count) = self.sums.counts.get_mut(key.kind() as usize) {
                *count += 1;
            }
        }
        match records.open(&key, sealed) {
            Ok(record) => {
                if self.first && record.birth > pass.generation {
                    let detail = format!("it says generation {}", record.birth);
                    pass.note(Code::FromTheFuture, Subject::Record(key), detail);
                }
                if let Err(e) = each(Met::Opened(&key, record)) {
                    self.bad(Code::Malformed, key, &e);
                }
            }
            Err(e) => {
                let code = match e {
                    SealedError::Decode { .. } => Code::Malformed,
                    _ => Code::NotAuthentic,
                };
                self.bad(code, key, &e);
                // There is nothing in it that could be malformed too.
                let _ = each(Met::Bad(&key));
            }
        }
    }

    fn bad(&self, code: Code, key: Key, e: &dyn std::error::Error) {
        self.pass.set_incomplete(self.letter);
        if self.first {
            self.pass.note(code, Subject::Record(key), chain(e));
        }
    }

    fn end(self) {
        self.pass.advance(self.since);
        if self.first {
            self.pass.sums.lock().merge(&self.sums);
        }
    }
}

/// Returns true for a key as long as those of its letter are.
fn has_shape(key: &Key) -> bool {
    let bytes = key.as_bytes();
    match bytes.first().copied().and_then(Letter::from_byte) {
        Some(Letter::Block | Letter::Dirent | Letter::Xattr) => bytes.len() == 33,
        Some(Letter::Extents | Letter::Page) => bytes.len() == 25,
        Some(Letter::Inode) => bytes.len() == 18,
        Some(Letter::Orphan) => bytes.len() == 17,
        Some(Letter::Punch | Letter::PackList) => bytes.len() == 9,
        Some(Letter::Account) => bytes.len() == 5,
        // The kind of the key was told by its name.
        Some(Letter::Root) => true,
        None => false,
    }
}

/// Returns the 16 bytes after the letter: the hash of an inode, or of a group of them.
pub(super) fn hash_of(key: &Key) -> [u8; 16] {
    let hash = key.as_bytes().get(1..17).and_then(|b| b.first_chunk());
    *hash.expect("the shape of the key was checked")
}

/// Returns the last 8 bytes as a number.
pub(super) fn number_of(key: &Key) -> u64 {
    let number = key.as_bytes().last_chunk();
    u64::from_be_bytes(*number.expect("the shape of the key was checked"))
}

/// Returns the pack of a key, and the number after it if there is one.
pub(super) fn pack_of(key: &Key) -> (PackNo, u32) {
    let rest = key.as_bytes().get(1..).unwrap_or_default();
    let number = |at: usize| {
        let bytes = rest.get(at..).and_then(|b| b.first_chunk::<4>());
        bytes.map_or(0, |b| u32::from_be_bytes(*b))
    };
    (PackNo(number(0)), number(4))
}

/// Returns an error with the chain of its causes.
pub(super) fn chain(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut source = e.source();
    while let Some(s) = source {
        text = format!("{text}: {s}");
        source = s.source();
    }
    text
}
