//! Transaction groups: many operations, one atomic batch, one root record.
//!
//! All changes of a volume are collected in the *open* group through [`Op`]; the committer closes it
//! when somebody waits for durability, after five seconds, or when it has grown large, and writes it
//! with the new root in one synced batch, while the next group fills. Reads see the open group, the
//! one being written, and the store, in this order: always the latest acknowledged state.
//!
//! Invariants
//! * every durable state is the state after some whole group, and a group holds whole operations;
//! * the root of a state has the set digests of exactly its other records;
//! * after a failed commit nothing is written any more: the volume is *poisoned* until reopened;
//! * with keys that cannot write, or a store opened for reading, nothing is written at all.
//!
//! Locks: `turn` is held by an operation for its whole life and by the committer while it closes a
//! group; `state` holds the groups and is taken by an operation at its first change, so that nobody
//! sees half of one, and the disk reads before that keep nobody waiting. `turn` comes before `state`,
//! both come after every lock of `fs` and `block`, and no callback runs under either.

mod committer;
mod digest;
mod group;
mod op;
mod pins;
mod read;
mod terms;
mod verify;

#[cfg(test)]
mod tests;

use std::time::Duration;

use thiserror::Error;

use crate::base::sync::{Arc, AtomicBool, AtomicU64, Condvar, Mutex, Ordering};
use crate::base::{Clock, Generation};
use crate::format::bytes::DecodeError;
use crate::format::key::Key;
use crate::format::record::Kind;
use crate::format::root::Root;
use crate::sealed::{Records, SealedError};

pub use digest::SetDigests;
use group::Group;
pub use op::Op;
pub use pins::{Pins, ReaderPin};
use terms::Terms;
pub use verify::Verdict;

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
    #[error("the volume is read-only since a failure: {0}")]
    Poisoned(Arc<str>),
    /// The transactions are closed.
    #[error("the volume is being closed")]
    Closed,
    /// The store holds no root: it was never initialised, or its root was removed.
    #[error("C-MISSING: the store holds no root record")]
    NoRoot,
    /// The root's signature is wrong.
    #[error("C-AEAD: the root's signature is not authentic")]
    RootSignature,
    /// The root is not signed, though every root of this volume is.
    #[error("C-AEAD: the root is not signed, so a holder of a read-only key may have made it")]
    RootUnsigned,
    /// The store holds more records than the root counts.
    #[error("C-SETDIGEST: more records of kind {kind:?} are in the store than its root counts")]
    Uncounted {
        /// Their kind.
        kind: Kind,
    },
    /// The volume is open for reading only.
    #[error("C-POLICY: the volume is open for reading only")]
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

/// What the committer tells the world after each durable generation, before anybody who waits for it.
pub type OnDurable = Box<dyn Fn(Generation) + Send + Sync>;

/// Gives space back to a store that is full. Returns false if there is none to give.
pub type Relief = Box<dyn Fn() -> bool + Send + Sync>;

/// Somebody who wants to know when a group is durable.
struct Waiter {
    group: u64,
    /// It was asked for: if the disk is full, tell that too.
    impatient: bool,
    done: Durable,
}

struct State {
    open: Group,
    closing: Option<Arc<Group>>,
    /// Counters as of the latest operation; generation and digests as of the last commit.
    root: Root,
    waiters: Vec<Waiter>,
    /// Close the open group as soon as the one before is written.
    asked: bool,
    /// The next root is signed and clean.
    checkpoint: bool,
    /// The committer waits without a time limit: the first change has to wake it.
    asleep: bool,
    stop: bool,
    poison: Option<Arc<str>>,
}

impl State {
    fn refusal(&self) -> Option<TxnError> {
        match &self.poison {
            Some(cause) => Some(TxnError::Poisoned(Arc::clone(cause))),
            None => self.stop.then_some(TxnError::Closed),
        }
    }

    /// Returns the pending value of a key: some(none) is a pending removal.
    fn pending(&self, key: &Key) -> Option<Option<Vec<u8>>> {
        let found = self
            .open
            .get(key)
            .or_else(|| self.closing.as_ref()?.get(key));
        found.map(Option::<&Vec<u8>>::cloned)
    }
}

/// The transactions of one open volume.
pub struct Txn {
    records: Records,
    clock: Arc<dyn Clock>,
    turn: Mutex<()>,
    state: Mutex<State>,
    wake: Condvar,
    pins: Arc<Pins>,
    /// Copies of what `state` holds, for those who ask often.
    durable: AtomicU64,
    poisoned: AtomicBool,
    congested: AtomicBool,
    verified: AtomicBool,
    /// Not only the roots of checkpoints are signed.
    sign_all: AtomicBool,
    stop_scan: AtomicBool,
    on_durable: OnDurable,
    relief: Mutex<Option<Relief>>,
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
        txn.state.lock().checkpoint = true;
        txn.commit_one(&mut Terms::default())?;
        Ok(txn.records.flush()?)
    }

    /// Opens the transactions of a volume and starts the committer and the verifying scan.
    ///
    /// # Errors
    /// When there is no authentic root, or threads cannot be started.
    pub fn open(
        records: Records,
        clock: Arc<dyn Clock>,
        on_durable: OnDurable,
    ) -> Result<Arc<Self>, TxnError> {
        let root = read_root(&records)?;
        let txn = Arc::new(Self::new(records, clock, root, on_durable));
        committer::start(&txn);
        Ok(txn)
    }

    fn new(records: Records, clock: Arc<dyn Clock>, root: Root, on_durable: OnDurable) -> Self {
        let no = root.generation.0;
        Self {
            pins: Arc::new(Pins::new(no)),
            records,
            turn: Mutex::new(()),
            state: Mutex::new(State {
                open: Group::new(no + 1, clock.monotonic()),
                closing: None,
                root,
                waiters: Vec::new(),
                asked: false,
                checkpoint: false,
                asleep: false,
                stop: false,
                poison: None,
            }),
            clock,
            wake: Condvar::new(),
            durable: AtomicU64::new(no),
            poisoned: AtomicBool::new(false),
            congested: AtomicBool::new(false),
            verified: AtomicBool::new(false),
            sign_all: AtomicBool::new(false),
            stop_scan: AtomicBool::new(false),
            on_durable,
            relief: Mutex::new(None),
            threads: Mutex::new(Vec::new()),
        }
    }

    /// Begins an operation: what is changed through it lands in one group. Reads inside it see its
    /// own changes. Holding it excludes every other operation, and from its first change on every
    /// read, so hold it briefly and read first.
    ///
    /// # Errors
    /// When the volume is poisoned, closed, or open for reading only.
    pub fn begin(&self) -> Result<Op<'_>, TxnError> {
        if !self.records.can_write() {
            return Err(TxnError::ReadOnly);
        }
        let turn = self.turn.lock();
        match self.state.lock().refusal() {
            Some(e) => Err(e),
            None => Ok(Op::new(self, turn)),
        }
    }

    /// Has every root signed from now on, not only those of checkpoints. The one that is just being
    /// written may not be yet.
    pub fn sign_every_root(&self) {
        self.sign_all.store(true, Ordering::Release);
    }

    /// Names who gives space back when a commit finds the store's file system full. The commit is
    /// tried again until there is space; meanwhile those who ask for one are told that there is none.
    pub fn on_full(&self, relief: Relief) {
        *self.relief.lock() = Some(relief);
    }

    /// Returns true while the open group is so large that writers should wait for a commit.
    #[must_use]
    pub fn is_congested(&self) -> bool {
        self.congested.load(Ordering::Acquire)
    }

    /// Returns the number of the newest durable group.
    #[must_use]
    pub fn durable(&self) -> Generation {
        Generation(self.durable.load(Ordering::Acquire))
    }

    /// Returns the root as of the latest acknowledged operation (digests and generation as of the
    /// last commit). Copies some KiB: not for every request.
    #[must_use]
    pub fn root(&self) -> Root {
        self.state.lock().root.clone()
    }

    /// Returns the inodes that exist as of the latest operation.
    #[must_use]
    pub fn inodes(&self) -> u64 {
        self.state.lock().root.inodes
    }

    /// Returns the records of a kind as of the last commit.
    #[must_use]
    pub fn count(&self, kind: Kind) -> u64 {
        let counts = self.state.lock().root.counts;
        counts.get(kind as usize).copied().unwrap_or(0)
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

    /// Returns true if the volume takes no more changes, because a commit has failed or its records
    /// are not those of its root.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }

    /// Returns why the volume takes no more changes, if so.
    #[must_use]
    pub fn poison(&self) -> Option<Arc<str>> {
        self.state.lock().poison.clone()
    }

    /// Lets no more change happen. What no commit has made durable is lost with the process, but can
    /// still be read until then.
    fn set_poison(&self, state: &mut State, cause: &Arc<str>) {
        state.poison.get_or_insert_with(|| {
            eprintln!(
                "coffer: ERROR C-POISON: the volume takes no more changes until it is mounted again, \
                 and those that are not durable will be lost: {cause}"
            );
            Arc::clone(cause)
        });
        self.poisoned.store(true, Ordering::Release);
        self.wake.notify_all();
    }

    /// Returns the sealed records, for the scan and the closing flush.
    #[must_use]
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// Commits everything with a signed, clean root, moves the store's log into its files and ends
    /// the threads. Whoever comes later is told that the volume is closed.
    ///
    /// # Errors
    /// When the last commit fails or an earlier one has; what was durable before stays so.
    pub fn close(&self) -> Result<(), TxnError> {
        self.stop_scan.store(true, Ordering::Release);
        let writes = self.records.can_write();
        let result = if writes {
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
        if writes && result.is_ok() {
            // Everything is durable in the log already: without this the next open only takes longer.
            drop(self.records.flush());
        }
        result
    }
}

/// Returns the root in the store, checked, and ready to be the one before the next.
fn read_root(records: &Records) -> Result<Root, TxnError> {
    let key = Key::root();
    let sealed = records.get_sealed(&key)?.ok_or(TxnError::NoRoot)?;
    let mut root = Root::decode(&records.open(&key, &sealed)?.payload)?;
    if let Some(signature) = &root.signature {
        records
            .keyset()
            .verify_root(&root.signed_bytes(), signature)
            .map_err(|_| TxnError::RootSignature)?;
    }
    root.prev_root_hash = records.term(&key, &sealed);
    Ok(root)
}
