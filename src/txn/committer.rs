//! The committer: closes groups, seals them, writes each with its root in one synced batch.

use std::time::{Duration, Instant};

use crate::base::sync::{Arc, Ordering};
use crate::base::{Generation, os};
use crate::format::key::Key;
use crate::format::root::Root;
use crate::sealed::Batch;

use super::group::Group;
use super::terms::Terms;
use super::{Durable, GROUP_AGE, GROUP_BYTES, State, Txn, TxnError, Waiter, digest};

/// What is to be done next.
enum Work {
    Commit,
    /// Nothing has changed for a while.
    Rest,
    End,
}

/// Records committed after which the store is flushed at the next rest: what they have replaced and
/// removed takes space on the disk until then, and the log that holds them too. With fewer, many
/// small files would cost more than that.
const REST_RECORDS: usize = 4096;

/// How often a full store is asked whether it takes writes again: after space was given back to it,
/// when it needs some seconds, and while it has to wait for somebody to make room.
const RELIEVED_STEP: Duration = Duration::from_millis(50);
const RELIEVED_TRIES: u32 = 200;
const FULL_STEP: Duration = Duration::from_secs(1);

/// A group in the store: its root, and what became of the terms of its records.
struct Written {
    root: Root,
    terms: Vec<(Key, Option<[u8; 32]>)>,
}

/// Starts the committer and the verifying scan of a volume.
pub(super) fn start(txn: &Arc<Txn>) {
    let mut threads = txn.threads.lock();
    let mut spawn = |name: &str, run: fn(&Txn)| {
        let t = Arc::clone(txn);
        threads.push(
            std::thread::Builder::new()
                .name(name.into())
                .spawn(move || run(&t))
                .expect("a thread can be started while the volume opens"),
        );
    };
    if txn.records.can_write() {
        spawn("coffer-commit", Txn::run_committer);
    }
    spawn("coffer-verify", Txn::run_verify);
}

impl Txn {
    /// Asks for everything begun so far to become durable; `done` is called when it is.
    pub fn commit(&self, done: Durable) {
        let mut state = self.state.lock();
        if let Some(e) = state.refusal() {
            drop(state);
            return done(Err(e));
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
        state.waiters.push(Waiter {
            group: newest,
            impatient: true,
            done,
        });
        self.wake.notify_all();
    }

    /// Calls `done` when the group of this number is durable, without asking for it.
    pub fn after(&self, group: u64, done: Durable) {
        let mut state = self.state.lock();
        let generation = state.root.generation;
        let known = match state.refusal() {
            _ if group <= generation.0 => Ok(generation),
            Some(e) => Err(e),
            None => {
                return state.waiters.push(Waiter {
                    group,
                    impatient: false,
                    done,
                });
            }
        };
        drop(state);
        done(known);
    }

    /// Makes everything begun so far durable and waits. Not for threads that answer requests.
    ///
    /// # Errors
    /// When the commit fails.
    pub fn commit_wait(&self) -> Result<Generation, TxnError> {
        let (tx, rx) = crossbeam_channel::bounded(1);
        self.commit(Box::new(move |r| drop(tx.send(r))));
        rx.recv().unwrap_or(Err(TxnError::Closed))
    }

    pub(super) fn note_congestion(&self, state: &State) {
        let congested = state.closing.is_some() && state.open.bytes > GROUP_BYTES;
        self.congested.store(congested, Ordering::Release);
    }

    fn run_committer(&self) {
        let mut terms = Terms::default();
        // Nothing is pending yet.
        let (mut idle, mut unflushed) = (true, 0);
        loop {
            match self.wait_for_work(idle) {
                Work::Commit => match self.commit_one(&mut terms) {
                    Ok(records) => (idle, unflushed) = (false, unflushed + records),
                    Err(_) => break,
                },
                Work::Rest => {
                    idle = true;
                    // What a stream has needed lies free in several heaps: 120 MiB after 400 MiB
                    // written and read.
                    os::give_back_memory();
                    if unflushed >= REST_RECORDS {
                        unflushed = 0;
                        self.records.flush_later();
                    }
                }
                Work::End => break,
            }
        }
        let (waiters, refusal) = {
            let mut state = self.state.lock();
            (std::mem::take(&mut state.waiters), state.refusal())
        };
        for w in waiters {
            (w.done)(Err(refusal.clone().unwrap_or(TxnError::Closed)));
        }
    }

    /// Waits until the open group is to be closed, or there is time for other things.
    ///
    /// After a commit the next change is likely soon: the committer looks by itself then, which
    /// spares that change a system call. It sleeps once a whole time has passed without any.
    fn wait_for_work(&self, idle: bool) -> Work {
        let mut state = self.state.lock();
        loop {
            if state.refusal().is_some() {
                return Work::End;
            }
            if state.open.is_empty() {
                state.asked = false;
            }
            let now = self.clock.monotonic();
            match due(&state, now) {
                Some(d) if d.is_zero() => return Work::Commit,
                Some(d) => {
                    self.wake.wait_for(&mut state, d);
                }
                None if idle => {
                    state.asleep = true;
                    self.wake.wait(&mut state);
                    state.asleep = false;
                }
                None if self.wake.wait_for(&mut state, GROUP_AGE).timed_out() => return Work::Rest,
                None => {}
            }
        }
    }

    /// Closes the open group and makes it durable; poisons the volume if that fails.
    /// Returns the number of its records.
    pub(super) fn commit_one(&self, terms: &mut Terms) -> Result<usize, TxnError> {
        let (group, root) = {
            let _turn = self.turn.lock();
            let mut state = self.state.lock();
            if let Some(e) = state.refusal() {
                return Err(e);
            }
            let next = Group::new(state.open.no + 1, self.clock.monotonic());
            let group = Arc::new(std::mem::replace(&mut state.open, next));
            state.closing = Some(Arc::clone(&group));
            state.asked = false;
            let mut root = state.root.clone();
            root.clean = std::mem::take(&mut state.checkpoint);
            (group, root)
        };
        let mut rounds = 0;
        let written = loop {
            match self.write_group(&group, &root, terms) {
                Err(e @ TxnError::Sealed { no_space: true, .. }) => {
                    rounds += 1;
                    if !self.await_room(&e, rounds) {
                        break Err(e);
                    }
                }
                written => break written,
            }
        };
        if written.is_ok() {
            (self.on_durable)(Generation(group.no));
        }
        self.finish(&group, written, terms)?;
        Ok(group.len())
    }

    /// Waits until a store that was full may take a group again; false if the volume ends before.
    /// What was given back counts in the first round only: there is no end to it otherwise.
    fn await_room(&self, full: &TxnError, round: u32) -> bool {
        let given = self.relief.lock().as_ref().is_some_and(|relief| relief());
        let relieved = given && round == 1;
        let step = if relieved { RELIEVED_STEP } else { FULL_STEP };
        let mut tries = 0;
        loop {
            if !relieved {
                self.tell_impatient(full);
            }
            {
                let mut state = self.state.lock();
                if state.stop {
                    return false;
                }
                self.wake.wait_for(&mut state, step);
            }
            tries += 1;
            let recovered = self.records.recover().map_err(TxnError::from);
            let still_full = matches!(recovered, Err(TxnError::Sealed { no_space: true, .. }));
            if !still_full || relieved && tries == RELIEVED_TRIES {
                return true;
            }
        }
    }

    fn tell_impatient(&self, full: &TxnError) {
        let impatient: Vec<Waiter> = {
            let mut state = self.state.lock();
            state.waiters.extract_if(.., |w| w.impatient).collect()
        };
        for w in impatient {
            (w.done)(Err(full.clone()));
        }
    }

    /// Writes a group with its root. A failed one may be written again: nothing is changed by it but
    /// the store.
    fn write_group(&self, group: &Group, root: &Root, terms: &Terms) -> Result<Written, TxnError> {
        let generation = Generation(group.no);
        let mut root = root.clone();
        let mut batch = Batch::default();
        let mut changed = Vec::with_capacity(group.len());
        for (key, payload, fresh) in group.iter() {
            let old = match (fresh, terms.get(key)) {
                (true, _) => None,
                (false, Some(term)) => Some(*term),
                (false, None) => {
                    let stored = self.records.get_sealed(key)?;
                    stored.map(|v| self.records.term(key, &v))
                }
            };
            let bucket = self.records.bucket(key);
            let sum = root.digests.get_mut(bucket).expect("a bucket is below 64");
            let kind = key.kind();
            let count = root.counts.get_mut(kind as usize);
            let count = count.expect("a kind is below 20");
            if let Some(term) = &old {
                digest::sub(sum, term);
                *count = count.checked_sub(1).ok_or(TxnError::Uncounted { kind })?;
            }
            let term = match payload {
                Some(p) => {
                    let sealed = self.records.seal(key, generation, p)?;
                    let term = self.records.term(key, &sealed);
                    digest::add(sum, &term);
                    *count += 1;
                    batch.put(key, sealed);
                    Some(term)
                }
                None => {
                    if old.is_some() {
                        batch.delete(key);
                    }
                    None
                }
            };
            changed.push((*key, term));
        }
        root.generation = generation;
        root.time = self.clock.now();
        root.epoch_messages += u64::try_from(group.len()).unwrap_or(u64::MAX) + 1;
        root.signature = if root.clean || self.sign_all.load(Ordering::Acquire) {
            self.records.keyset().sign_root(&root.signed_bytes())
        } else {
            None
        };
        let key = Key::root();
        let sealed = self.records.seal(&key, generation, &root.encode())?;
        root.prev_root_hash = self.records.term(&key, &sealed);
        batch.put(&key, sealed);
        self.records.write(batch)?;
        Ok(Written {
            root,
            terms: changed,
        })
    }

    fn finish(
        &self,
        group: &Group,
        written: Result<Written, TxnError>,
        terms: &mut Terms,
    ) -> Result<(), TxnError> {
        let ready: Vec<Durable>;
        let outcome = {
            let mut state = self.state.lock();
            match written {
                Ok(Written { root, terms: new }) => {
                    for (key, term) in new {
                        terms.set(key, term);
                    }
                    // Operations went on counting while the group was written.
                    let live = &mut state.root;
                    live.generation = root.generation;
                    live.digests = root.digests;
                    live.counts = root.counts;
                    live.epoch_messages = root.epoch_messages;
                    live.prev_root_hash = root.prev_root_hash;
                    live.time = root.time;
                    live.signature = root.signature;
                    state.closing = None;
                    self.note_congestion(&state);
                    self.durable.store(group.no, Ordering::Release);
                    self.pins.set_durable(group.no);
                    let waiters = std::mem::take(&mut state.waiters);
                    let (done, rest): (Vec<_>, Vec<_>) =
                        waiters.into_iter().partition(|w| w.group <= group.no);
                    state.waiters = rest;
                    ready = done.into_iter().map(|w| w.done).collect();
                    Ok(root.generation)
                }
                Err(e) => {
                    let cause: Arc<str> = Arc::from(e.to_string());
                    self.set_poison(&mut state, &cause);
                    let waiters = std::mem::take(&mut state.waiters);
                    ready = waiters.into_iter().map(|w| w.done).collect();
                    Err(TxnError::Poisoned(cause))
                }
            }
        };
        for done in ready {
            done(outcome.clone());
        }
        outcome.map(drop)
    }
}

/// How long the committer may sleep before the open group is to be closed; none: for ever.
fn due(state: &State, now: Instant) -> Option<Duration> {
    if state.open.is_empty() {
        return None;
    }
    if state.asked {
        return Some(Duration::ZERO);
    }
    Some((state.open.opened + GROUP_AGE).saturating_duration_since(now))
}
