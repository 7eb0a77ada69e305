//! Each call of a script to the store fails once, or the power goes during it.

use std::collections::BTreeMap;

use super::model::{Run, small};
use super::{Rig, until};
use crate::kv::faulty::{Call, Faults, FaultyStore};

/// Steps of a script, and those that follow when a fault has not ended it.
const STEPS: usize = 400;

/// Tells which script has failed.
struct Told(u64, u64);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}, call {}", self.0, self.1);
        }
    }
}

/// Does the script with this seed. Returns the call that has been hit; none if the fault comes too late.
fn script(seed: u64, arm: impl FnOnce(&Faults)) -> Option<&'static str> {
    let store = FaultyStore::in_memory(seed);
    let mut rig = Rig::over(&store);
    small(&mut rig);
    let mut run = Run::new(seed);
    let v = rig.open();
    until(|| v.txn.is_verified());
    arm(&store.faults);
    let mut is_whole = true;
    for _ in 0..STEPS {
        is_whole = run.step(&v);
        if !is_whole || store.faults.hit().is_some() {
            break;
        }
    }
    let hit = store.faults.hit();
    assert!(is_whole || hit.is_some(), "a step failed by itself");
    // What a thread of the volume has met, or was told to somebody, is no reason to stop.
    for _ in 0..STEPS {
        is_whole = is_whole && hit.is_some() && run.step(&v);
    }
    run.held.clear();
    if hit.is_some() {
        store.faults.cut_power();
    }
    v.crash();
    store.restart();
    let v = rig.open();
    run.check(&v, &format!("seed {seed}"));
    v.clean();
    v.audit();
    v.close();
    hit
}

/// Does scripts again and again, each until its fault comes too late. Returns what was hit how often.
fn every(arm: impl Fn(&Faults, u64)) -> BTreeMap<&'static str, u32> {
    let mut hits = BTreeMap::new();
    let is_long = std::env::var_os("COFFER_TEST_LONG").is_some();
    for seed in 1..=if is_long { 60 } else { 2 } {
        for n in 0.. {
            let _told = Told(seed, n);
            match script(seed, |faults| arm(faults, n)) {
                Some(call) => *hits.entry(call).or_default() += 1,
                None => break,
            }
        }
    }
    hits
}

/// What changes packs and records.
const CHANGES: [&str; 5] = ["create", "write", "sync", "punch", "remove"];

#[test]
fn every_read_may_fail() {
    let hits = every(|faults, n| faults.fail_call(Call::Read, n));
    let calls = ["get", "read", "free"];
    assert!(calls.iter().all(|c| hits.contains_key(c)), "{hits:?}");
}

#[test]
fn every_change_may_fail() {
    let hits = every(|faults, n| faults.fail_call(Call::Change, n));
    assert!(CHANGES.iter().all(|c| hits.contains_key(c)), "{hits:?}");
}

#[test]
fn the_power_may_go_during_every_change() {
    let hits = every(Faults::cut_power_at);
    assert!(CHANGES.iter().all(|c| hits.contains_key(c)), "{hits:?}");
}
