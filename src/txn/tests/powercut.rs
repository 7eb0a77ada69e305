//! After a power cut the volume is in the state after some whole group, and never before one that
//! was acknowledged.

use std::collections::BTreeMap;

use super::{Draw, Rig, change, contents};
use crate::format::key::Key;
use crate::kv::faulty::{Call, FaultyStore};
use crate::txn::Txn;

type State = BTreeMap<Key, Vec<u8>>;

/// What a run promises: the states after each group begun, and how many of them are acknowledged.
struct Promise {
    states: Vec<State>,
    acknowledged: usize,
}

/// Does random operations and commits until the end or the cut.
fn run(txn: &Txn, seed: u64, groups: usize) -> Promise {
    let (mut model, mut draw) = (contents(txn), Draw(seed));
    let mut promise = Promise {
        states: vec![model.clone()],
        acknowledged: 0,
    };
    for n in 1..=groups {
        for _ in 0..=draw.below(4) {
            change(txn, &mut model, &mut draw);
        }
        promise.states.push(model.clone());
        if txn.commit_wait().is_err() {
            break;
        }
        promise.acknowledged = n;
    }
    promise
}

fn check(rig: &Rig, promise: &Promise, told: &str) {
    let txn = rig.open();
    let found = contents(&txn);
    let at = promise.states.iter().rposition(|s| *s == found);
    let at = at.unwrap_or_else(|| panic!("{told}: no state after a group"));
    assert!(at >= promise.acknowledged, "{told}: an acknowledged group");
    let verdict = txn.verify().unwrap();
    assert_eq!(verdict.bad_buckets, Vec::<usize>::new(), "{told}");
    assert_eq!(verdict.records, found.len() as u64, "{told}");
    txn.close().unwrap();
}

#[test]
fn a_cut_at_any_write_leaves_a_whole_group() {
    for seed in 0..40 {
        let (mut at, mut before) = (0, 0);
        loop {
            let rig = Rig::over(FaultyStore::in_memory(seed * 1000 + at));
            let txn = rig.open();
            before += rig.store.faults.calls(Call::Change);
            rig.store.faults.cut_power_at(at);
            let promise = run(&txn, seed, 6);
            let cut = txn.close().is_err();
            rig.store.restart();
            check(&rig, &promise, &format!("seed {seed}, cut at write {at}"));
            if !cut {
                break;
            }
            at += 1;
        }
        assert!(at >= 6 && before > 0, "{at} cuts");
    }
}

#[test]
fn cuts_one_after_the_other_add_up_to_nothing() {
    for seed in 0..20 {
        let rig = Rig::new(seed);
        let mut draw = Draw(seed);
        for round in 0..8 {
            let txn = rig.open();
            rig.store.faults.cut_power_at(u64::from(draw.below(8)));
            let promise = run(&txn, seed * 100 + round, 4);
            drop(txn.close());
            rig.store.restart();
            check(&rig, &promise, &format!("seed {seed}, round {round}"));
        }
    }
}

#[test]
fn a_cut_while_a_volume_is_made_leaves_it_whole_or_absent() {
    for seed in 0..20 {
        let rig = Rig {
            store: FaultyStore::in_memory(seed),
            keyset: std::sync::Arc::new(crate::crypto::Keyset::for_tests(1)),
        };
        rig.store.faults.cut_power_at(seed % 2);
        let made = Txn::create(
            rig.records(),
            std::sync::Arc::new(crate::base::SystemClock),
            [1; 16],
            |op| op.put_new(super::inode(1), b"root".to_vec()),
        );
        assert!(made.is_err());
        rig.store.restart();
        match rig.try_open() {
            Ok(txn) => {
                assert_eq!(contents(&txn).len(), 1);
                txn.close().unwrap();
            }
            Err(e) => assert!(matches!(e, crate::txn::TxnError::NoRoot), "{e}"),
        }
    }
}
