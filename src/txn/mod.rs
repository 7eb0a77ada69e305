//! Transaction groups: many operations, one atomic batch, one root record.
//!
//! All changes of a volume are collected in the *open* group through [`Op`]; the committer closes it
//! when somebody waits for durability, after five seconds, or when it has grown large, and writes it
//! with the new root in one synced batch, while the next group fills. Reads see the open group, the
//! one being written, and the store, in this order: always the latest acknowledged state.
//!
//! Invariants
//! * every durable state is the state after some whole group;
//! * the root of a state has the set digests of exactly its other records;
//! * after a failed commit nothing is written any more: the volume is *poisoned* until reopened.
//!
//! Locks: one mutex holds the groups; it is below every lock of `fs` and `block`, and no callback
//! runs under it.

mod committer;
mod digest;
mod group;
mod pins;
mod verify;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::base::sync::{Arc, AtomicBool, Condvar, Mutex, MutexGuard, Ordering};
use crate::base::{Clock, Generation};
use crate::format::bytes::DecodeError;
use crate::format::key::Key;
use crate::format::root::Root;
use crate::sealed::{Record, Records, SealedError};

use group::Group;
pub use pins::{Pins, ReaderPin};

/// Age at which a group closes by itself.
pub const GROUP_AGE: Duration = Duration::from_secs(5);

/// Size at which a group closes by itself, in payload bytes.
pub const GROUP_BYTES: usize = 32 << 20;

/// Why a transaction did not happen.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum TxnError {
    /// The store failed or a record is not authentic.
    #[error("{message}")]
    Sealed {
        /// Stable code for logs.
        code: &'static str,
        /// The cause with its chain.
        message: String,
        /// The store's file system is full.
        no_space: bool,
    },
    /// A record is authentic but malformed.
    #[error("a record is malformed")]
    Decode(#[from] DecodeError),
    /// A commit failed earlier; the text is its cause.
    #[error("the volume is read-only since a failed commit: {0}")]
    Poisoned(Arc<str>),
    /// The store holds no root: it was never initialised, or its root was removed.
    #[error("C-MISSING: the store holds no root record")]
    NoRoot,
    /// The root's signature is wrong.
    #[error("C-AEAD: the root's signature is not authentic")]
    RootSignature,
    /// The keys at hand cannot write.
    #[error("C-POLICY: the secret given opens the volume read-only")]
    ReadOnly,
}

impl From<SealedError> for TxnError {
    fn from(e: SealedError) -> Self {
        let code = match &e {
            SealedError::Kv(_) => "C-STORE",
            SealedError::Crypto { .. } => "C-AEAD",
            _ => "C-DECODE",
        };
        let no_space = matches!(&e, SealedError::Kv(crate::kv::KvError::NoSpace { .. }));
        let mut message = e.to_string();
        let mut source = std::error::Error::source(&e);
        while let Some(s) = source {
            message = format!("{message}: {s}");
            source = s.source();
        }
        Self::Sealed {
            code,
            message,
            no_space,
        }
    }
}

/// Called once a group is durable, or has failed.
pub type Durable = Box<dyn FnOnce(Result<Generation, TxnError>) + Send>;

struct State {
    open: Group,
    closing: Option<Arc<Group>>,
    root: Root,
    waiters: VecDeque<(u64, Durable)>,
    /// Close the open group as soon as the one before is written.
    asked: bool,
    checkpoint: bool,
    stop: bool,
    poison: Option<Arc<str>>,
}

/// What the committer tells the world after each durable generation.
pub type OnDurable = Box<dyn Fn(Generation) + Send + Sync>;

/// The transactions of one open volume.
pub struct Txn {
    records: Records,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    wake: Condvar,
    pins: Arc<Pins>,
    verified: AtomicBool,
    stop_scan: AtomicBool,
    on_durable: OnDurable,
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
}

impl Txn {
    /// Writes the first root of a new volume, with what `fill` puts into it.
    ///
    /// # Errors
    /// When the store fails.
    pub fn create(
        records: Records,
        clock: Arc<dyn Clock>,
        incarnation: [u8; 16],
        fill: impl FnOnce(&mut Op<'_>),
    ) -> Result<(), TxnError> {
        let txn = Self::new(records, clock, Root::new(incarnation), Box::new(|_| ()));
        fill(&mut txn.begin()?);
        let mut digests = committer::Terms::default();
        txn.state.lock().checkpoint = true;
        txn.commit_one(&mut digests).map_err(TxnError::Poisoned)?;
        txn.records.flush()?;
        Ok(())
    }

    /// Opens the transactions of a volume and starts the committer.
    ///
    /// # Errors
    /// When there is no authentic root, or threads cannot be started.
    pub fn open(
        records: Records,
        clock: Arc<dyn Clock>,
        on_durable: OnDurable,
    ) -> Result<Arc<Self>, TxnError> {
        let root = read_root(&records, records.get(&Key::root())?)?;
        let txn = Arc::new(Self::new(records, clock, root, on_durable));
        committer::start(&txn);
        Ok(txn)
    }

    fn new(records: Records, clock: Arc<dyn Clock>, root: Root, on_durable: OnDurable) -> Self {
        let no = root.generation.0;
        Self {
            pins: Arc::new(Pins::new(no)),
            records,
            state: Mutex::new(State {
                open: Group::new(no + 1, clock.monotonic()),
                closing: None,
                root,
                waiters: VecDeque::new(),
                asked: false,
                checkpoint: false,
                stop: false,
                poison: None,
            }),
            clock,
            wake: Condvar::new(),
            verified: AtomicBool::new(false),
            stop_scan: AtomicBool::new(false),
            on_durable,
            threads: Mutex::new(Vec::new()),
        }
    }

    /// Begins an operation: what is changed through it lands in one group. Reads inside it see its
    /// own changes. Holding it excludes every other operation, so hold it briefly.
    ///
    /// # Errors
    /// When the volume is poisoned or the keys cannot write.
    pub fn begin(&self) -> Result<Op<'_>, TxnError> {
        if !self.records.keyset().can_write() {
            return Err(TxnError::ReadOnly);
        }
        let state = self.state.lock();
        if let Some(p) = &state.poison {
            return Err(TxnError::Poisoned(p.clone()));
        }
        Ok(Op { txn: self, state })
    }

    /// Returns the record at `key` in the latest state.
    ///
    /// # Errors
    /// When the store fails or the value is not authentic.
    pub fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, TxnError> {
        if let Some(pending) = self.state.lock().pending(key) {
            return Ok(pending);
        }
        Ok(self.records.get(key)?.map(|r| r.payload))
    }

    /// Returns the records at `keys` (all of one family) in the latest state, in their order.
    ///
    /// # Errors
    /// When the store fails or a value is not authentic.
    pub fn multi_get(&self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>, TxnError> {
        let mut found: Vec<Option<Option<Vec<u8>>>> = {
            let state = self.state.lock();
            keys.iter().map(|k| state.pending(k)).collect()
        };
        let missing: Vec<Key> = keys
            .iter()
            .zip(&found)
            .filter(|(_, f)| f.is_none())
            .map(|(k, _)| *k)
            .collect();
        let mut rest = self.records.multi_get(&missing)?.into_iter();
        Ok(found
            .iter_mut()
            .map(|f| match f.take() {
                Some(pending) => pending,
                None => rest.next().flatten().map(|r| r.payload),
            })
            .collect())
    }

    /// Returns at most `limit` records with `from <= key < to` of the latest state, ascending. Both
    /// keys have the same letter.
    ///
    /// # Errors
    /// When the store fails or a value is not authentic.
    pub fn scan(
        &self,
        from: &Key,
        to: &Key,
        limit: usize,
    ) -> Result<Vec<(Key, Vec<u8>)>, TxnError> {
        scan(&self.records, &self.state.lock(), from, to, limit)
    }

    /// Asks for everything begun so far to become durable; `done` is called when it is.
    pub fn commit(&self, done: Durable) {
        let mut state = self.state.lock();
        if let Some(p) = state.poison.clone() {
            drop(state);
            return done(Err(TxnError::Poisoned(p)));
        }
        let newest = match (&state.closing, state.open.is_empty()) {
            (_, false) => state.open.no,
            (Some(closing), true) => closing.no,
            (None, true) => {
                let generation = state.root.generation;
                drop(state);
                return done(Ok(generation));
            }
        };
        if newest == state.open.no {
            state.asked = true;
        }
        state.waiters.push_back((newest, done));
        self.wake.notify_all();
    }

    /// Calls `done` when the group of this number is durable, without asking for it.
    pub fn after(&self, group: u64, done: Durable) {
        let mut state = self.state.lock();
        if let Some(p) = state.poison.clone() {
            drop(state);
            return done(Err(TxnError::Poisoned(p)));
        }
        if group <= state.root.generation.0 {
            let generation = state.root.generation;
            drop(state);
            return done(Ok(generation));
        }
        state.waiters.push_back((group, done));
    }

    /// Makes everything begun so far durable and waits. Not for threads that answer requests.
    ///
    /// # Errors
    /// When the commit fails.
    pub fn commit_wait(&self) -> Result<Generation, TxnError> {
        let (tx, rx) = crossbeam_channel::bounded(1);
        self.commit(Box::new(move |r| drop(tx.send(r))));
        rx.recv()
            .unwrap_or_else(|_| Err(TxnError::Poisoned(Arc::from("the committer is gone"))))
    }

    /// Returns true while the open group is so large that writers should wait for a commit.
    #[must_use]
    pub fn is_congested(&self) -> bool {
        let state = self.state.lock();
        state.closing.is_some() && state.open.bytes > GROUP_BYTES
    }

    /// Returns the number of the newest durable group.
    #[must_use]
    pub fn durable(&self) -> Generation {
        self.state.lock().root.generation
    }

    /// Returns the root as of the latest acknowledged operation (digests and generation as of the
    /// last commit).
    #[must_use]
    pub fn root(&self) -> Root {
        self.state.lock().root.clone()
    }

    /// Pins the present: locations that die from now on are not punched until the pin is dropped.
    #[must_use]
    pub fn pin(&self) -> ReaderPin {
        Pins::pin(&self.pins)
    }

    /// Returns true if whatever died in `group` can be seen by nobody any more.
    #[must_use]
    pub fn is_unreachable(&self, group: u64) -> bool {
        self.pins.all_after(group)
    }

    /// Returns true once this mount's scan has verified all set digests (SECURITY G8).
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.verified.load(Ordering::Acquire)
    }

    /// Returns why the volume takes no more changes, if a commit has failed.
    #[must_use]
    pub fn poison(&self) -> Option<Arc<str>> {
        self.state.lock().poison.clone()
    }

    /// Returns the sealed records, for the scan and the closing flush.
    #[must_use]
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// Commits everything with a signed, clean root, flushes the store and ends the threads.
    ///
    /// # Errors
    /// When the last commit fails; what was durable before stays so.
    pub fn close(&self) -> Result<(), TxnError> {
        self.stop_scan.store(true, Ordering::Release);
        let result = if self.records.keyset().can_write() && self.poison().is_none() {
            {
                let mut state = self.state.lock();
                state.checkpoint = true;
                state.open.touch();
            }
            self.commit_wait().map(drop)
        } else {
            Ok(())
        };
        self.state.lock().stop = true;
        self.wake.notify_all();
        for t in self.threads.lock().drain(..) {
            drop(t.join());
        }
        if result.is_ok() && self.poison().is_none() {
            self.records.flush()?;
        }
        result
    }
}

/// Opens and checks a root found in a store or a snapshot.
fn read_root(records: &Records, found: Option<Record>) -> Result<Root, TxnError> {
    let root = Root::decode(&found.ok_or(TxnError::NoRoot)?.payload)?;
    if let Some(signature) = &root.signature {
        records
            .keyset()
            .verify_root(&root.signed_bytes(), signature)
            .map_err(|_| TxnError::RootSignature)?;
    }
    Ok(root)
}

impl State {
    /// Returns the pending value of a key: some(none) is a pending removal.
    fn pending(&self, key: &Key) -> Option<Option<Vec<u8>>> {
        let found = self
            .open
            .get(key)
            .or_else(|| self.closing.as_ref()?.get(key));
        found.map(|v| v.cloned())
    }
}

fn scan(
    records: &Records,
    state: &State,
    from: &Key,
    to: &Key,
    limit: usize,
) -> Result<Vec<(Key, Vec<u8>)>, TxnError> {
    let mut out = Vec::new();
    let mut from = *from;
    // Pending removals can hide what the store returns, so a short result is completed.
    while out.len() < limit {
        let want = limit - out.len();
        let stored = records.scan(&from, to, want)?;
        let end = if stored.len() < want {
            *to
        } else {
            stored.last().map_or(*to, |(k, _)| k.successor())
        };
        let mut merged: std::collections::BTreeMap<Key, Option<Vec<u8>>> = stored
            .into_iter()
            .map(|(k, r)| (k, Some(r.payload)))
            .collect();
        for group in state.closing.iter().map(Arc::as_ref).chain([&state.open]) {
            for (k, v) in group.range(&from, &end) {
                merged.insert(*k, v.cloned());
            }
        }
        out.extend(
            merged
                .into_iter()
                .filter_map(|(k, v)| v.map(|v| (k, v)))
                .take(want),
        );
        if end == *to || out.len() >= limit {
            break;
        }
        from = end;
    }
    Ok(out)
}

/// An operation in progress on the open group.
pub struct Op<'a> {
    txn: &'a Txn,
    state: MutexGuard<'a, State>,
}

impl Op<'_> {
    /// Returns the record at `key`, with what this operation has changed.
    ///
    /// # Errors
    /// When the store fails or the value is not authentic.
    pub fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, TxnError> {
        match self.state.pending(key) {
            Some(pending) => Ok(pending),
            None => Ok(self.txn.records.get(key)?.map(|r| r.payload)),
        }
    }

    /// Returns at most `limit` records with `from <= key < to`, ascending.
    ///
    /// # Errors
    /// When the store fails or a value is not authentic.
    pub fn scan(
        &self,
        from: &Key,
        to: &Key,
        limit: usize,
    ) -> Result<Vec<(Key, Vec<u8>)>, TxnError> {
        scan(&self.txn.records, &self.state, from, to, limit)
    }

    /// Sets a record.
    pub fn put(&mut self, key: Key, payload: Vec<u8>) {
        self.state.open.put(key, payload, false);
    }

    /// Sets a record that is known not to exist: its commit needs no read.
    pub fn put_new(&mut self, key: Key, payload: Vec<u8>) {
        // A removal still being written, or pending in this group, hides an older value.
        let absent = self.state.pending(&key).is_none();
        self.state.open.put(key, payload, absent);
    }

    /// Removes a record; an absent one is no error.
    pub fn delete(&mut self, key: Key) {
        self.state.open.delete(key);
    }

    /// Returns the counters that go into the next root.
    pub fn root(&mut self) -> &mut Root {
        self.state.open.touch();
        &mut self.state.root
    }

    /// Returns the number of the open group.
    #[must_use]
    pub fn group(&self) -> u64 {
        self.state.open.no
    }
}

impl Drop for Op<'_> {
    fn drop(&mut self) {
        if self.state.open.bytes > GROUP_BYTES && !self.state.asked {
            self.state.asked = true;
            self.txn.wake.notify_all();
        }
    }
}

/// How long the committer may sleep before the open group is due.
fn due(state: &State, now: Instant) -> Option<Duration> {
    if state.open.is_empty() {
        return None;
    }
    Some((state.open.opened + GROUP_AGE).saturating_duration_since(now))
}
