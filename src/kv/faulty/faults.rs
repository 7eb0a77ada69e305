//! What goes wrong in a store with faults, and when.

use std::io;

use crate::base::sync::{Arc, Mutex, RwLock, RwLockWriteGuard};
use crate::kv::KvError;

/// What a call does to a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// It only looks.
    Read,
    /// It changes or syncs.
    Change,
}

/// What goes wrong, and when; shared by the parts of one store, which hang on one power supply and
/// write to one disk.
pub struct Faults {
    plan: Mutex<Plan>,
    gate: RwLock<()>,
    before_scan: Mutex<Option<Hook>>,
}

type Hook = Box<dyn FnOnce() + Send>;

struct Plan {
    reads: u64,
    changes: u64,
    fail: Option<(Call, u64)>,
    hit: Option<&'static str>,
    cut: Option<u64>,
    dead: bool,
    room_bytes: Option<u64>,
    random: u64,
}

/// How a change that is let through ends.
#[derive(PartialEq, Eq)]
pub(super) enum Fate {
    Done,
    /// The power goes while it is under way.
    Cut,
}

pub(super) fn no_power(op: &'static str) -> KvError {
    KvError::Io {
        op,
        source: io::Error::other("the power is cut"),
    }
}

impl Faults {
    pub(super) fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            plan: Mutex::new(Plan {
                reads: 0,
                changes: 0,
                fail: None,
                hit: None,
                cut: None,
                dead: false,
                room_bytes: None,
                random: seed,
            }),
            gate: RwLock::new(()),
            before_scan: Mutex::new(None),
        })
    }

    /// Returns how many calls of a sort there were.
    pub fn calls(&self, call: Call) -> u64 {
        let plan = self.plan.lock();
        match call {
            Call::Read => plan.reads,
            Call::Change => plan.changes,
        }
    }

    /// Makes one call fail without effect: 0 is the next of its sort.
    pub fn fail_call(&self, call: Call, n: u64) {
        let at = self.calls(call) + n;
        self.plan.lock().fail = Some((call, at));
    }

    /// Cuts the power during a change: 0 is the next.
    pub fn cut_power_at(&self, n: u64) {
        let at = self.calls(Call::Change) + n;
        self.plan.lock().cut = Some(at);
    }

    /// Cuts the power now.
    pub fn cut_power(&self) {
        self.plan.lock().dead = true;
    }

    /// Returns true after a power cut.
    pub fn is_dead(&self) -> bool {
        self.plan.lock().dead
    }

    /// Bounds what can still be written, keys and values and pack bytes together.
    pub fn set_room(&self, bytes: Option<u64>) {
        self.plan.lock().room_bytes = bytes;
    }

    /// Returns true if what can be written is bounded.
    pub fn is_full(&self) -> bool {
        self.plan.lock().room_bytes.is_some()
    }

    /// Keeps every change waiting until the guard is dropped.
    pub fn pause_changes(&self) -> RwLockWriteGuard<'_, ()> {
        self.gate.write()
    }

    /// Calls `hook` once, before the next scan of the newest state begins.
    pub fn before_scan(&self, hook: Hook) {
        *self.before_scan.lock() = Some(hook);
    }

    pub(super) fn call_hook(&self) {
        let hook = self.before_scan.lock().take();
        if let Some(hook) = hook {
            hook();
        }
    }

    /// Forgets what is to fail and what has failed, but for a power cut that has happened.
    pub fn cancel(&self) {
        let mut plan = self.plan.lock();
        plan.cut = None;
        plan.fail = None;
        plan.hit = None;
    }

    /// Returns the first call since the last [`Self::cancel`] that was made to fail or found no room.
    pub fn hit(&self) -> Option<&'static str> {
        self.plan.lock().hit
    }

    /// Returns true if a power cut or a failure is still to come.
    pub fn is_armed(&self) -> bool {
        let plan = self.plan.lock();
        plan.cut.is_some() || plan.fail.is_some()
    }

    pub(super) fn revive(&self) {
        self.cancel();
        self.plan.lock().dead = false;
    }

    pub(super) fn random(&self) -> u64 {
        // SplitMix64.
        let mut plan = self.plan.lock();
        plan.random = plan.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = plan.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn coin(&self) -> bool {
        self.random() & 1 == 0
    }

    pub(super) fn below(&self, n: usize) -> usize {
        usize::try_from(self.random() % (n as u64)).expect("the rest is below n")
    }

    pub(super) fn read(&self, op: &'static str) -> Result<(), KvError> {
        let mut plan = self.plan.lock();
        let at = plan.reads;
        plan.reads += 1;
        if plan.dead {
            return Err(no_power(op));
        }
        if plan.fail == Some((Call::Read, at)) {
            plan.hit.get_or_insert(op);
            plan.fail = None;
            return Err(broken(op));
        }
        Ok(())
    }

    pub(super) fn change(&self, op: &'static str, bytes: u64) -> Result<Fate, KvError> {
        drop(self.gate.read());
        let mut plan = self.plan.lock();
        let at = plan.changes;
        plan.changes += 1;
        if plan.dead {
            return Err(no_power(op));
        }
        if plan.fail == Some((Call::Change, at)) {
            plan.hit.get_or_insert(op);
            plan.fail = None;
            return Err(broken(op));
        }
        if plan.cut == Some(at) {
            plan.dead = true;
            plan.hit.get_or_insert(op);
            plan.cut = None;
            return Ok(Fate::Cut);
        }
        if let Some(room) = plan.room_bytes {
            let left = room.checked_sub(bytes);
            if left.is_none() {
                plan.hit.get_or_insert(op);
            }
            plan.room_bytes = Some(left.ok_or(KvError::NoSpace { op })?);
        }
        Ok(Fate::Done)
    }

    pub(super) fn room(&self) -> Option<u64> {
        self.plan.lock().room_bytes
    }

    pub(super) fn give_back(&self, bytes: u64) {
        if let Some(room) = &mut self.plan.lock().room_bytes {
            *room += bytes;
        }
    }
}

pub(super) fn broken(op: &'static str) -> KvError {
    KvError::Io {
        op,
        source: io::Error::other("a fault was injected"),
    }
}
