//! Records leave sealed and bound to their place, and only what is authentic comes back.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::base::{ContentId, Generation, PackNo};
use crate::crypto::Keyset;
use crate::format::key::{Key, Letter};
use crate::kv::memory::MemoryKv;
use crate::kv::{Change, Family, Kv, KvRead};
use crate::sealed::{Batch, Records, SealedError};

const BORN: Generation = Generation(77);

fn store(seed: u8) -> (Arc<MemoryKv>, Records) {
    let kv = Arc::new(MemoryKv::default());
    let dynamic: Arc<dyn Kv> = Arc::<MemoryKv>::clone(&kv);
    (kv, Records::new(dynamic, Arc::new(Keyset::for_tests(seed))))
}

fn write(records: &Records, key: &Key, payload: &[u8]) {
    let mut batch = Batch::default();
    batch.put(key, records.seal(key, BORN, payload).unwrap());
    records.write(batch).unwrap();
}

/// One key of each family of records.
fn one_of_each() -> Vec<Key> {
    vec![
        Key::root(),
        Key::settings(),
        Key::block(&ContentId([5; 32])),
        Key::account(PackNo(5)),
        Key::pack_list(PackNo(5), 1),
        Key::punch(PackNo(5), 1),
        Key::new(Letter::Inode, &[&[5; 16], &[1]]),
        Key::new(Letter::Dirent, &[&[5; 16], &[6; 16]]),
        Key::new(Letter::Extents, &[&[5; 16], &[0; 8]]),
        Key::new(Letter::Xattr, &[&[5; 16], &[6; 16]]),
        Key::new(Letter::Orphan, &[&[5; 16]]),
        Key::new(Letter::Page, &[&[5; 16], &[0; 8]]),
    ]
}

fn family(key: &Key) -> Family {
    match key.as_bytes()[0] {
        b'P' => Family::Page,
        _ => Family::Meta,
    }
}

#[test]
fn a_record_comes_back_with_its_birth() {
    let (_, records) = store(1);
    for key in one_of_each() {
        assert_eq!(records.get(&key).unwrap(), None);
        for len in [0, 1, 100, 4096] {
            write(&records, &key, &vec![9; len]);
            let found = records.get(&key).unwrap().unwrap();
            assert_eq!(found.payload, vec![9; len], "{key:?}");
            let bears = b"IDEXP".contains(&key.as_bytes()[0]);
            let birth = if bears { BORN } else { Generation(0) };
            assert_eq!(found.birth, birth, "{key:?}");
        }
    }
}

#[test]
fn pages_lie_in_a_family_of_their_own() {
    let (kv, records) = store(1);
    for key in one_of_each() {
        write(&records, &key, b"x");
        for f in [Family::Meta, Family::Page] {
            let there = kv.get(f, key.as_bytes()).unwrap().is_some();
            assert_eq!(there, f == family(&key), "{key:?}");
        }
    }
}

#[test]
fn no_value_opens_under_another_key_or_in_another_volume() {
    let (_, records) = store(1);
    let (_, other) = store(2);
    let keys = one_of_each();
    for from in &keys {
        let sealed = records.seal(from, BORN, b"payload").unwrap();
        for to in &keys {
            let opened = records.open(to, &sealed);
            assert_eq!(opened.is_ok(), from == to, "{from:?} under {to:?}");
        }
        let foreign = other.open(from, &sealed);
        assert!(matches!(foreign, Err(SealedError::Crypto { key, .. }) if key == *from));
    }
}

#[test]
fn every_flipped_cut_or_added_byte_is_noticed() {
    let (kv, records) = store(1);
    for key in one_of_each() {
        let sealed = records.seal(&key, BORN, b"payload").unwrap();
        let mut tampered: Vec<Vec<u8>> = (0..sealed.len()).map(|n| sealed[..n].to_vec()).collect();
        tampered.extend((0..sealed.len()).map(|n| {
            let mut bad = sealed.clone();
            bad[n] ^= 0x80;
            bad
        }));
        tampered.push([&sealed[..], &[0]].concat());
        for bad in tampered {
            let put = Change::Put(family(&key), key.as_bytes().to_vec(), bad);
            kv.write(vec![put], true).unwrap();
            let read = records.get(&key);
            assert!(matches!(read, Err(SealedError::Crypto { .. })), "{key:?}");
        }
    }
}

#[test]
fn many_are_found_in_their_order_and_one_bad_one_fails_all() {
    let (kv, records) = store(1);
    let key = |n: u8| Key::new(Letter::Inode, &[&[n; 16], &[n]]);
    for n in [1, 2, 4] {
        write(&records, &key(n), &[n]);
    }
    let ask = [4, 3, 1, 4].map(key);
    let found = records.multi_get(&ask).unwrap();
    let payloads: Vec<_> = found.into_iter().map(|r| r.map(|r| r.payload)).collect();
    assert_eq!(
        payloads,
        [Some(vec![4]), None, Some(vec![1]), Some(vec![4])]
    );
    assert_eq!(records.multi_get(&[]).unwrap(), []);
    let scan = |limit| {
        let from = Key::new(Letter::Inode, &[]);
        records.scan(&from, &from.prefix_end(), limit)
    };
    let keys = |limit| -> Vec<Key> { scan(limit).unwrap().into_iter().map(|r| r.0).collect() };
    assert_eq!(keys(10), [1, 2, 4].map(key));
    assert_eq!(keys(2), [1, 2].map(key));
    let swapped = kv.get(Family::Meta, key(1).as_bytes()).unwrap().unwrap();
    let put = Change::Put(Family::Meta, key(4).as_bytes().to_vec(), swapped);
    kv.write(vec![put], true).unwrap();
    assert!(records.multi_get(&ask).is_err());
    assert!(scan(10).is_err());
    assert_eq!(keys(2), [1, 2].map(key));
}

#[test]
fn a_snapshot_is_scanned_as_it_was() {
    let (_, records) = store(1);
    let key = Key::new(Letter::Inode, &[&[1; 16], &[1]]);
    write(&records, &key, b"old");
    let view = records.snapshot().unwrap();
    write(&records, &key, b"new");
    let from = Key::new(Letter::Inode, &[]);
    let found = records
        .scan_in(&*view, &from, &from.prefix_end(), 10)
        .unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].1.payload, b"old");
}

#[test]
fn stored_lengths_are_few() {
    let (_, records) = store(1);
    let key = Key::new(Letter::Dirent, &[&[1; 16], &[1; 16]]);
    let lens: BTreeSet<usize> = (0..512)
        .map(|n| records.seal(&key, BORN, &vec![0; n]).unwrap().len())
        .collect();
    assert!(lens.len() <= 70, "{}", lens.len());
}

#[test]
fn the_same_record_sealed_twice_shares_nothing() {
    let (_, records) = store(1);
    for key in one_of_each() {
        let seal = || records.seal(&key, BORN, &[7; 500]).unwrap();
        let (a, b) = (seal(), seal());
        let windows: BTreeSet<&[u8]> = a[6..].windows(8).collect();
        assert!(b[6..].windows(8).all(|w| !windows.contains(w)), "{key:?}");
        assert_ne!(records.term(&key, &a), records.term(&key, &b));
    }
}
