//! The committer: closes groups, seals them, writes each with its root in one synced batch.

use std::collections::HashMap;

use crate::base::Generation;
use crate::base::sync::{Arc, Condvar};
use crate::format::key::Key;
use crate::format::root::Root;
use crate::sealed::Batch;

use super::group::Group;
use super::{Durable, Txn, TxnError, digest, due};

/// Terms kept beside the records last written, so that an overwrite needs no read. Two halves: when
/// the young one is full it becomes the old one, and what was not used since is forgotten.
#[derive(Default)]
pub(super) struct Terms {
    young: HashMap<Key, [u8; 32]>,
    old: HashMap<Key, [u8; 32]>,
}

/// Terms in each half: about 80 bytes each, so at most 5 MiB in all.
const TERMS_HALF: usize = 32 << 10;

impl Terms {
    fn take(&mut self, key: &Key) -> Option<[u8; 32]> {
        self.young.remove(key).or_else(|| self.old.remove(key))
    }

    fn insert(&mut self, key: Key, term: [u8; 32]) {
        if self.young.len() >= TERMS_HALF {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, term);
    }
}

/// Starts the committer and the verifying scan of a volume.
pub(super) fn start(txn: &Arc<Txn>) {
    let mut threads = txn.threads.lock();
    if txn.records.keyset().can_write() {
        let t = Arc::clone(txn);
        threads.push(
            std::thread::Builder::new()
                .name("coffer-commit".into())
                .spawn(move || t.run_committer())
                .expect("a thread can be started while the volume opens"),
        );
    }
    let t = Arc::clone(txn);
    threads.push(
        std::thread::Builder::new()
            .name("coffer-verify".into())
            .spawn(move || t.run_verify())
            .expect("a thread can be started while the volume opens"),
    );
}

impl Txn {
    fn run_committer(&self) {
        let mut terms = Terms::default();
        loop {
            {
                let mut state = self.state.lock();
                loop {
                    if state.stop {
                        return;
                    }
                    if state.asked && !state.open.is_empty() {
                        break;
                    }
                    state.asked = false;
                    match due(&state, self.clock.monotonic()) {
                        None => wait(&self.wake, &mut state, None),
                        Some(d) if d.is_zero() => break,
                        Some(d) => wait(&self.wake, &mut state, Some(d)),
                    }
                }
            }
            if self.commit_one(&mut terms).is_err() {
                return;
            }
        }
    }

    /// Closes the open group and makes it durable; poisons the volume if that fails.
    pub(super) fn commit_one(&self, terms: &mut Terms) -> Result<(), Arc<str>> {
        let (group, root) = {
            let mut state = self.state.lock();
            let next = Group::new(state.open.no + 1, self.clock.monotonic());
            let group = Arc::new(std::mem::replace(&mut state.open, next));
            state.closing = Some(Arc::clone(&group));
            state.asked = false;
            let mut root = state.root.clone();
            root.clean = std::mem::take(&mut state.checkpoint);
            (group, root)
        };
        let written = self.write_group(&group, root, terms);
        self.finish(&group, written)
    }

    fn write_group(
        &self,
        group: &Group,
        mut root: Root,
        terms: &mut Terms,
    ) -> Result<Root, TxnError> {
        let generation = Generation(group.no);
        let mut batch = Batch::default();
        for (key, payload, fresh) in group.iter() {
            let bucket = self.records.bucket(key);
            let sum = root.digests.get_mut(bucket).expect("a bucket is below 64");
            let count = root
                .counts
                .get_mut(key.kind() as usize)
                .expect("a kind is below 20");
            let old = if fresh {
                None
            } else {
                match terms.take(key) {
                    Some(t) => Some(t),
                    None => self
                        .records
                        .get_sealed(key)?
                        .map(|v| self.records.term(key, &v)),
                }
            };
            if let Some(term) = &old {
                digest::sub(sum, term);
                *count -= 1;
            }
            match payload {
                Some(p) => {
                    let sealed = self.records.seal(key, generation, p)?;
                    let term = self.records.term(key, &sealed);
                    digest::add(sum, &term);
                    *count += 1;
                    terms.insert(*key, term);
                    batch.put(key, sealed);
                }
                None if old.is_some() => batch.delete(key),
                None => {}
            }
        }
        root.generation = generation;
        root.time = self.clock.now();
        root.epoch_messages += u64::try_from(group.len()).unwrap_or(u64::MAX) + 1;
        root.signature = if root.clean {
            self.records.keyset().sign_root(&root.signed_bytes())
        } else {
            None
        };
        let key = Key::root();
        let sealed = self.records.seal(&key, generation, &root.encode())?;
        root.prev_root_hash = self.records.term(&key, &sealed);
        batch.put(&key, sealed);
        self.records.write(batch)?;
        (self.on_durable)(generation);
        Ok(root)
    }

    fn finish(&self, group: &Group, written: Result<Root, TxnError>) -> Result<(), Arc<str>> {
        let mut ready: Vec<Durable> = Vec::new();
        let outcome = {
            let mut state = self.state.lock();
            match written {
                Ok(root) => {
                    // Operations went on counting while the group was written.
                    state.root.generation = root.generation;
                    state.root.digests = root.digests;
                    state.root.counts = root.counts;
                    state.root.epoch_messages = root.epoch_messages;
                    state.root.prev_root_hash = root.prev_root_hash;
                    state.root.time = root.time;
                    state.closing = None;
                    self.pins.set_durable(group.no);
                    let mut i = 0;
                    while let Some((no, _)) = state.waiters.get(i) {
                        if *no <= group.no {
                            ready.extend(state.waiters.remove(i).map(|w| w.1));
                        } else {
                            i += 1;
                        }
                    }
                    Ok(root.generation)
                }
                Err(e) => {
                    let cause: Arc<str> = Arc::from(e.to_string());
                    state.poison = Some(Arc::clone(&cause));
                    ready.extend(state.waiters.drain(..).map(|w| w.1));
                    Err(cause)
                }
            }
        };
        for done in ready {
            done(outcome.clone().map_err(TxnError::Poisoned));
        }
        outcome.map(drop)
    }
}

fn wait(
    wake: &Condvar,
    state: &mut crate::base::sync::MutexGuard<'_, super::State>,
    timeout: Option<std::time::Duration>,
) {
    match timeout {
        None => wake.wait(state),
        Some(d) => drop(wake.wait_for(state, d)),
    }
}
