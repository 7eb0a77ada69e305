//! The root's digests and counts are those of the other records, and the scan finds what is not.

use std::collections::BTreeMap;

use super::{Draw, LETTERS, Rig, change, contents, inode, key, set, until};
use crate::base::sync::Arc;
use crate::crypto::Keyset;
use crate::format::key::{Key, Letter};
use crate::format::root::{BUCKETS, KIND_SLOTS};
use crate::kv::{Change, Family, Kv, KvRead, Pair};
use crate::txn::{Txn, TxnError};

fn clean(txn: &Txn) -> u64 {
    let verdict = txn.verify().unwrap();
    assert_eq!(verdict.bad_buckets, Vec::<usize>::new());
    assert!(!verdict.stopped);
    verdict.records
}

#[test]
fn digests_and_counts_are_exact_after_random_operations() {
    for seed in 0..40 {
        let rig = Rig::new(seed);
        let (mut model, mut draw) = (BTreeMap::new(), Draw(seed));
        for _ in 0..4 {
            // Reopening forgets the cached terms: the next change reads what it replaces.
            let txn = rig.open();
            for _ in 0..30 {
                change(&txn, &mut model, &mut draw);
                if draw.below(4) == 0 {
                    txn.commit_wait().unwrap();
                    assert_eq!(clean(&txn), model.len() as u64, "seed {seed}");
                }
            }
            txn.commit_wait().unwrap();
            let root = txn.root();
            let mut counts = [0; KIND_SLOTS];
            for k in model.keys() {
                counts[k.kind() as usize] += 1;
            }
            assert_eq!(root.counts, counts, "seed {seed}");
            assert_eq!(clean(&txn), model.len() as u64, "seed {seed}");
            assert_eq!(contents(&txn), model, "seed {seed}");
            txn.close().unwrap();
        }
    }
}

#[test]
fn a_record_put_as_new_after_a_removal_in_flight_is_counted_once() {
    let rig = Rig::new(1);
    let txn = rig.open();
    set(&txn, inode(1), b"first");
    txn.commit_wait().unwrap();
    let pause = rig.store.faults.pause_changes();
    txn.begin().unwrap().delete(inode(1));
    let asked = super::commit(&txn);
    until(|| txn.begin().unwrap().group() == 4);
    txn.begin().unwrap().put_new(inode(1), b"second".to_vec());
    drop(pause);
    super::arrived(&asked).unwrap();
    assert_eq!(clean(&txn), 0);
    txn.commit_wait().unwrap();
    assert_eq!(clean(&txn), 1);
    // In one group as well.
    let mut op = txn.begin().unwrap();
    op.delete(inode(1));
    op.put_new(inode(1), b"third".to_vec());
    drop(op);
    txn.commit_wait().unwrap();
    assert_eq!(clean(&txn), 1);
    txn.close().unwrap();
}

#[test]
fn many_records_are_forgotten_by_the_cache_of_terms_and_still_counted() {
    let rig = Rig::new(1);
    let txn = rig.open();
    const MANY: u32 = 70_000;
    for round in 0..4_u8 {
        let mut op = txn.begin().unwrap();
        for n in 0..MANY {
            let (k, v) = (key(Letter::Account, n), vec![round]);
            match round {
                0 => op.put_new(k, v),
                2 => op.delete(k),
                _ => op.put(k, v),
            }
        }
        drop(op);
        txn.commit_wait().unwrap();
        let left = if round == 2 { 0 } else { MANY };
        assert_eq!(clean(&txn), u64::from(left));
    }
    txn.close().unwrap();
}

/// A volume with some history, as an attacker with the store's files sees it.
struct Victim {
    rig: Rig,
    /// What the store held before the last commit.
    old: Vec<(Family, Pair)>,
}

fn dump(kv: &dyn KvRead) -> Vec<(Family, Pair)> {
    let mut all = Vec::new();
    for family in [Family::Meta, Family::Page] {
        let pairs = kv.scan(family, &[0], &[0xff], usize::MAX).unwrap();
        all.extend(pairs.into_iter().map(|p| (family, p)));
    }
    all
}

impl Victim {
    fn new() -> Self {
        let rig = Rig::new(1);
        let txn = rig.open();
        for letter in LETTERS {
            (0..4).for_each(|n| set(&txn, key(letter, n), b"old"));
        }
        txn.close().unwrap();
        let old = dump(&*rig.store.kv);
        let txn = rig.open();
        for letter in LETTERS {
            set(&txn, key(letter, 1), b"new");
            txn.begin().unwrap().delete(key(letter, 2));
        }
        txn.close().unwrap();
        Self { rig, old }
    }

    fn write(&self, changes: Vec<Change>) {
        self.rig.store.kv.write(changes, true).unwrap();
    }

    fn bucket(&self, key: &Key) -> usize {
        self.rig.records().bucket(key)
    }

    /// The scan names exactly these buckets, and the mount takes no more changes.
    fn is_found(&self, mut buckets: Vec<usize>) {
        buckets.sort_unstable();
        buckets.dedup();
        let txn = self.rig.open();
        assert_eq!(txn.verify().unwrap().bad_buckets, buckets);
        until(|| txn.is_poisoned());
        assert!(!txn.is_verified());
        match txn.begin().map(drop) {
            Err(TxnError::Poisoned(cause)) => assert!(cause.contains("C-SETDIGEST"), "{cause}"),
            other => panic!("{other:?}"),
        }
        assert!(txn.close().is_err());
    }
}

fn put((family, (k, v)): &(Family, Pair)) -> Change {
    Change::Put(*family, k.clone(), v.clone())
}

fn delete((family, (k, _)): &(Family, Pair)) -> Change {
    Change::Delete(*family, k.clone())
}

fn key_of(record: &(Family, Pair)) -> Key {
    Key::from_bytes(&record.1.0).unwrap()
}

#[test]
fn an_untouched_store_is_verified() {
    let victim = Victim::new();
    let txn = victim.rig.open();
    until(|| txn.is_verified());
    assert!(!txn.is_poisoned());
    txn.close().unwrap();
}

#[test]
fn an_older_value_put_back_is_found() {
    for letter in LETTERS {
        let victim = Victim::new();
        let changed = key(letter, 1);
        let old = victim.old.iter().find(|r| key_of(r) == changed).unwrap();
        victim.write(vec![put(old)]);
        victim.is_found(vec![victim.bucket(&changed)]);
    }
}

#[test]
fn a_removed_record_put_back_is_found() {
    for letter in LETTERS {
        let victim = Victim::new();
        let gone = key(letter, 2);
        let old = victim.old.iter().find(|r| key_of(r) == gone).unwrap();
        victim.write(vec![put(old)]);
        victim.is_found(vec![victim.bucket(&gone)]);
    }
}

#[test]
fn a_deleted_record_is_found() {
    for letter in LETTERS {
        let victim = Victim::new();
        let there = key(letter, 3);
        let all = dump(&*victim.rig.store.kv);
        let record = all.iter().find(|r| key_of(r) == there).unwrap();
        victim.write(vec![delete(record)]);
        victim.is_found(vec![victim.bucket(&there)]);
    }
}

#[test]
fn an_inserted_record_is_found() {
    let victim = Victim::new();
    let fresh = key(Letter::Inode, 77);
    let all = dump(&*victim.rig.store.kv);
    let any = all.iter().find(|r| r.1.0[0] == b'I').unwrap();
    let copy = (Family::Meta, (fresh.as_bytes().to_vec(), any.1.1.clone()));
    victim.write(vec![put(&copy)]);
    victim.is_found(vec![victim.bucket(&fresh)]);
}

#[test]
fn two_exchanged_records_are_found() {
    let victim = Victim::new();
    let all = dump(&*victim.rig.store.kv);
    let find = |n| {
        let k = key(Letter::Dirent, n);
        all.iter().find(|r| key_of(r) == k).unwrap()
    };
    let (a, b) = (find(0), find(3));
    let swapped = [
        (Family::Meta, (a.1.0.clone(), b.1.1.clone())),
        (Family::Meta, (b.1.0.clone(), a.1.1.clone())),
    ];
    victim.write(swapped.iter().map(put).collect());
    victim.is_found(vec![victim.bucket(&key_of(a)), victim.bucket(&key_of(b))]);
}

#[test]
fn an_older_root_alone_or_everything_but_the_root_is_found() {
    let changed = |victim: &Victim| -> Vec<usize> {
        LETTERS
            .iter()
            .flat_map(|l| [1, 2].map(|n| victim.bucket(&key(*l, n))))
            .collect()
    };
    let victim = Victim::new();
    let root = |r: &&(Family, Pair)| key_of(r) == Key::root();
    victim.write(victim.old.iter().filter(root).map(put).collect());
    victim.is_found(changed(&victim));
    let victim = Victim::new();
    let rest = victim.old.iter().filter(|r| !root(r));
    victim.write(rest.map(put).collect());
    victim.is_found(changed(&victim));
}

#[test]
fn a_foreign_key_or_another_volumes_root_is_no_pass() {
    let victim = Victim::new();
    let foreign = (Family::Meta, (b"Zforeign".to_vec(), b"x".to_vec()));
    victim.write(vec![put(&foreign)]);
    let txn = victim.rig.open();
    assert!(txn.verify().is_err());
    assert!(!txn.is_verified());
    txn.close().unwrap();
    let victim = Victim::new();
    let other = Rig {
        store: Victim::new().rig.store,
        keyset: Arc::new(Keyset::for_tests(2)),
    };
    assert!(other.try_open().is_err());
    drop(victim);
}

#[test]
fn buckets_are_all_used() {
    let rig = Rig::new(1);
    let records = rig.records();
    for letter in LETTERS {
        let mut used = [false; BUCKETS];
        for n in 0..2000 {
            used[records.bucket(&key(letter, n))] = true;
        }
        assert!(used.iter().all(|u| *u), "{letter:?}");
    }
}
