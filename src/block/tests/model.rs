//! Random operations against a model, with restarts and power cuts in between.

use std::collections::BTreeMap;

use super::{Draw, Rig, Stored, Volume, noise, prose};
use crate::base::ContentId;
use crate::format::key::Letter;
use crate::kv::faulty::FaultyStore;

/// Different contents.
const CONTENTS: usize = 24;

/// References of each content.
type Model = BTreeMap<usize, u64>;

fn content(n: usize) -> Vec<u8> {
    let len = 1 + n * 719 % (16 << 10);
    let seed = u64::try_from(n).unwrap();
    if n.is_multiple_of(3) {
        prose(seed, len)
    } else {
        noise(seed, len)
    }
}

/// A volume under test: the model of its latest state, and of the states that a crash may show.
pub(super) struct Run {
    draw: Draw,
    model: Model,
    /// States after each operation since the last acknowledged commit, that state first.
    since: Vec<Model>,
    pub(super) held: Vec<(usize, Stored)>,
}

impl Run {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            draw: Draw(seed),
            model: Model::new(),
            since: vec![Model::new()],
            held: Vec::new(),
        }
    }

    fn changed(&mut self) {
        self.since.push(self.model.clone());
    }

    /// One random operation; false once the volume takes no more.
    pub(super) fn step(&mut self, v: &Volume) -> bool {
        let n = self.draw.below(CONTENTS);
        let id = id_of(v, n);
        match self.draw.below(20) {
            0..6 => {
                let Ok(stored) = v.blocks.store(&content(n)) else {
                    return false;
                };
                self.held.push((n, stored));
            }
            6..8 => drop(v.land()),
            8..12 => return self.reference(v),
            12..14 => {
                if !self.held.is_empty() {
                    let at = self.draw.below(self.held.len());
                    self.held.swap_remove(at);
                }
            }
            14..16 => {
                if let Some(refs) = self.model.get_mut(&n) {
                    let Ok(mut op) = v.txn.begin() else {
                        return false;
                    };
                    if self.draw.below(3) == 0 {
                        *refs += 1;
                        if v.blocks.share(&mut op, &id).is_err() {
                            return false;
                        }
                    } else {
                        *refs -= 1;
                        self.model.retain(|_, refs| *refs > 0);
                        if v.blocks.release(&mut op, &id).is_err() {
                            return false;
                        }
                    }
                    drop(op);
                    self.changed();
                }
            }
            16..18 => {
                if v.txn.commit_wait().is_err() {
                    return false;
                }
                self.since = vec![self.model.clone()];
            }
            18 => {
                let _ = v.blocks.shared.clean();
            }
            _ => {
                let known = self.model.contains_key(&n) || self.held.iter().any(|h| h.0 == n);
                match v.try_read(&id, 16 << 10) {
                    Ok(found) => assert_eq!(found, padded(n)),
                    Err(_) => return !known || v.txn.is_poisoned(),
                }
            }
        }
        true
    }

    /// References what has landed, of what is held; stores again what could not be.
    fn reference(&mut self, v: &Volume) -> bool {
        let Some(at) = self.draw.next().checked_rem(self.held.len() as u64) else {
            return true;
        };
        let (n, stored) = self.held.swap_remove(usize::try_from(at).unwrap());
        if !v.blocks.is_landed(&stored) {
            self.held.push((n, stored));
            return true;
        }
        let Ok(mut op) = v.txn.begin() else {
            return false;
        };
        match v.blocks.reference(&mut op, &stored) {
            Err(_) => return false,
            Ok(true) => {
                *self.model.entry(n).or_default() += 1;
                self.changed();
            }
            Ok(false) => {
                let mut found = vec![0; 16 << 10];
                if v.blocks.read(&stored.id(), 0, &mut found).is_err() {
                    return false;
                }
                assert_eq!(found, padded(n));
                let Ok(again) = v.blocks.store(&found) else {
                    return false;
                };
                self.held.push((n, again));
            }
        }
        true
    }

    /// Checks a volume after a restart, and goes on from the state it is in.
    pub(super) fn check(&mut self, v: &Volume, told: &str) {
        let mut found = Model::new();
        let ids: BTreeMap<ContentId, usize> = (0..CONTENTS).map(|n| (id_of(v, n), n)).collect();
        for (key, _) in v.records(Letter::Block) {
            let id = ContentId(key.as_bytes()[1..].try_into().unwrap());
            found.insert(ids[&id], v.record(&id).unwrap().refs);
        }
        assert!(self.since.contains(&found), "{told}: no state of the model");
        for n in found.keys() {
            let read = v.try_read(&id_of(v, *n), 16 << 10);
            assert_eq!(read.ok(), Some(padded(*n)), "{told}: content {n}");
        }
        v.audit();
        self.since = vec![found.clone()];
        self.model = found;
    }
}

fn padded(n: usize) -> Vec<u8> {
    let mut out = content(n);
    out.resize(16 << 10, 0);
    out
}

fn id_of(v: &Volume, n: usize) -> ContentId {
    let content = content(n);
    v.blocks.shared.packs.content_id(&content)
}

pub(super) fn small(rig: &mut Rig) {
    rig.settings.chunk_bytes = 16 << 10;
    rig.settings.cache_bytes = 32 << 10;
    rig.pack_bytes = 64 << 10;
}

#[test]
fn random_operations_with_restarts_keep_to_the_model() {
    for seed in 0..12 {
        let dir = tempfile::tempdir().unwrap();
        let mut rig = Rig::in_dir(dir.path());
        small(&mut rig);
        let mut run = Run::new(seed);
        for round in 0..4 {
            let v = rig.open();
            for _ in 0..300 {
                assert!(run.step(&v), "seed {seed}");
            }
            run.held.clear();
            if round % 2 == 0 {
                v.clean();
                v.audit();
            }
            run.since = vec![run.model.clone()];
            v.close();
            let v = rig.open();
            run.check(&v, &format!("seed {seed}, round {round}"));
            v.close();
        }
    }
}

#[test]
fn random_operations_with_power_cuts_keep_to_the_model() {
    for seed in 0..150 {
        let store = FaultyStore::in_memory(seed);
        let mut rig = Rig::over(&store);
        small(&mut rig);
        let mut run = Run::new(seed);
        for round in 0..6 {
            let told = format!("seed {seed}, round {round}");
            let v = rig.open();
            let cut = run.draw.below(60) as u64;
            store.faults.cut_power_at(cut);
            for _ in 0..200 {
                if !run.step(&v) || store.faults.is_dead() {
                    break;
                }
            }
            store.faults.cut_power();
            run.held.clear();
            v.crash();
            store.restart();
            let v = rig.open();
            run.check(&v, &told);
            v.clean();
            v.audit();
            run.since = vec![run.model.clone()];
            v.close();
        }
    }
}
