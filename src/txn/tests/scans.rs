//! Scans: the groups over the store, at one moment.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Draw, LETTERS, Rig, change, commit, contents, inode, key, set, until};
use crate::base::sync::Arc;
use crate::format::key::{Key, Letter};
use crate::txn::Txn;

fn all_inodes() -> (Key, Key) {
    let from = Key::new(Letter::Inode, &[]);
    (from, from.prefix_end())
}

fn scan(txn: &Txn, limit: usize) -> Vec<(Key, Vec<u8>)> {
    let (from, to) = all_inodes();
    txn.scan(&from, &to, limit).unwrap()
}

#[test]
fn a_scan_merges_the_groups_over_the_store() {
    let rig = Rig::new(1);
    let txn = rig.open();
    let mut model = BTreeMap::new();
    let mut put = |n: u32, v: &[u8]| {
        set(&txn, inode(n), v);
        model.insert(inode(n), v.to_vec());
    };
    (0..10).for_each(|n| put(n, b"stored"));
    txn.commit_wait().unwrap();
    let pause = rig.store.faults.pause_changes();
    (3..12).for_each(|n| put(n, b"closing"));
    for n in [0, 4] {
        txn.begin().unwrap().delete(inode(n));
    }
    let asked = commit(&txn);
    until(|| txn.begin().unwrap().group() == 4);
    (6..14).for_each(|n| put(n, b"open"));
    for n in [1, 7, 11] {
        txn.begin().unwrap().delete(inode(n));
    }
    for n in [0, 4, 1, 7, 11] {
        model.remove(&inode(n));
    }
    let expected: Vec<_> = model.into_iter().collect();
    let check = || {
        for limit in 0..=expected.len() + 2 {
            let wanted = &expected[..limit.min(expected.len())];
            assert_eq!(scan(&txn, limit), wanted, "{limit}");
            let (from, to) = all_inodes();
            let op = txn.begin().unwrap();
            assert_eq!(op.scan(&from, &to, limit).unwrap(), wanted, "{limit}");
        }
        for (i, (from, _)) in expected.iter().enumerate() {
            for (j, (to, _)) in expected.iter().enumerate() {
                let wanted = expected.get(i..j).unwrap_or_default();
                assert_eq!(txn.scan(from, to, 100).unwrap(), wanted);
            }
        }
    };
    check();
    drop(pause);
    super::arrived(&asked).unwrap();
    check();
    txn.commit_wait().unwrap();
    check();
    txn.close().unwrap();
}

#[test]
fn scans_of_any_length_agree_with_a_model() {
    for seed in 0..30 {
        let rig = Rig::new(seed);
        let txn = rig.open();
        let (mut model, mut draw) = (BTreeMap::new(), Draw(seed));
        for _ in 0..100 {
            change(&txn, &mut model, &mut draw);
            match draw.below(6) {
                0 => drop(commit(&txn)),
                1 => drop(txn.commit_wait().unwrap()),
                _ => {}
            }
            let letter = LETTERS[draw.below(5) as usize];
            let (a, b) = (key(letter, draw.below(12)), key(letter, draw.below(12)));
            let (from, to) = (a.min(b), a.max(b).successor());
            let limit = draw.below(6) as usize;
            let wanted: Vec<_> = model
                .range(from..to)
                .take(limit)
                .map(|(k, v)| (*k, v.clone()))
                .collect();
            assert_eq!(txn.scan(&from, &to, limit).unwrap(), wanted, "seed {seed}");
        }
        assert_eq!(contents(&txn), model, "seed {seed}");
        txn.close().unwrap();
    }
}

/// Operations move marks from key to key while scans count them: a scan that mixed two moments would
/// find one too many or too few.
#[test]
fn a_scan_is_of_one_moment() {
    const MARKS: u32 = 5;
    let rig = Rig::new(1);
    let txn = rig.open();
    (0..MARKS).for_each(|n| set(&txn, inode(n), b"mark"));
    let stop = Arc::new(AtomicBool::new(false));
    let mover = {
        let (txn, stop) = (Arc::clone(&txn), Arc::clone(&stop));
        std::thread::spawn(move || {
            let mut draw = Draw(1);
            while !stop.load(Ordering::Relaxed) {
                let (from, to) = (inode(draw.below(40)), inode(draw.below(40)));
                let mut op = txn.begin().unwrap();
                let marked = op.get(&from).unwrap().is_some();
                if marked && op.get(&to).unwrap().is_none() {
                    op.delete(from);
                    op.put_new(to, b"mark".to_vec());
                }
                drop(op);
                if draw.below(10) == 0 {
                    drop(commit(&txn));
                }
            }
        })
    };
    for _ in 0..3000 {
        assert_eq!(scan(&txn, 100).len(), MARKS as usize);
    }
    stop.store(true, Ordering::Relaxed);
    mover.join().unwrap();
    txn.close().unwrap();
}

/// A scan that looked at the groups and then read the newest state of the store returned a record
/// that was moved in between at both its places.
#[test]
fn a_commit_during_a_scan_is_not_seen_in_part() {
    let rig = Rig::new(1);
    let txn = rig.open();
    set(&txn, inode(1), b"mark");
    let t = Arc::clone(&txn);
    rig.store.faults.before_scan(Box::new(move || {
        let mut op = t.begin().unwrap();
        op.delete(inode(1));
        op.put_new(inode(2), b"mark".to_vec());
        drop(op);
        t.commit_wait().unwrap();
    }));
    assert_eq!(scan(&txn, 100).len(), 1);
    txn.close().unwrap();
}
