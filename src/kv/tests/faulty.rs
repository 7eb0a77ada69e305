//! The faults are those that the tests of higher layers rely on.

use std::collections::BTreeSet;

use super::packs_contract::aligned;
use super::{delete, put};
use crate::base::PackNo;
use crate::kv::faulty::{Call, FaultyStore};
use crate::kv::{Family, Kv, KvError, KvRead, Packs};

const PACK: PackNo = PackNo(1);

fn keys(store: &FaultyStore) -> Vec<u8> {
    let all = store.kv.scan(Family::Meta, &[0], &[0xff], 1000).unwrap();
    all.into_iter().map(|(k, _)| k[0]).collect()
}

fn content(store: &FaultyStore) -> Vec<u8> {
    let (_, len) = store.packs.list().unwrap()[0];
    let mut out = vec![0; usize::try_from(len).unwrap()];
    store.packs.read_at(PACK, 0, &mut out).unwrap();
    out
}

#[test]
fn the_nth_call_fails_without_effect() {
    let store = FaultyStore::in_memory(1);
    store.faults.fail_call(Call::Change, 1);
    store.kv.write(vec![put(&[1], b"")], true).unwrap();
    assert!(store.kv.write(vec![put(&[2], b"")], true).is_err());
    store.kv.write(vec![put(&[3], b"")], true).unwrap();
    assert_eq!(keys(&store), [1, 3]);
    store.faults.fail_call(Call::Read, 0);
    assert!(store.kv.get(Family::Meta, &[1]).is_err());
    assert!(store.kv.get(Family::Meta, &[1]).unwrap().is_some());
}

#[test]
fn a_power_cut_leaves_a_prefix_that_holds_all_that_was_synced() {
    let mut seen = BTreeSet::new();
    for seed in 0..200 {
        let store = FaultyStore::in_memory(seed);
        store.kv.write(vec![put(&[1], b"old")], true).unwrap();
        store.kv.write(vec![put(&[2], b"")], false).unwrap();
        store.kv.write(vec![delete(&[1])], false).unwrap();
        store.faults.cut_power();
        assert!(store.kv.get(Family::Meta, &[1]).is_err());
        assert!(store.kv.write(vec![put(&[9], b"")], true).is_err());
        store.restart();
        seen.insert(keys(&store));
    }
    assert_eq!(seen, BTreeSet::from([vec![1], vec![1, 2], vec![2]]));
}

#[test]
fn a_batch_under_way_is_there_or_not_and_brings_those_before() {
    let mut seen = BTreeSet::new();
    for seed in 0..200 {
        let store = FaultyStore::in_memory(seed);
        store.faults.cut_power_at(1);
        store.kv.write(vec![put(&[1], b"")], false).unwrap();
        assert!(
            store
                .kv
                .write(vec![put(&[2], b""), put(&[3], b"")], true)
                .is_err()
        );
        store.restart();
        seen.insert(keys(&store));
    }
    assert_eq!(seen, BTreeSet::from([vec![], vec![1], vec![1, 2, 3]]));
}

#[test]
fn without_a_cut_a_restart_loses_nothing() {
    let store = FaultyStore::in_memory(1);
    store.kv.write(vec![put(&[1], b"")], false).unwrap();
    store.packs.create(PACK).unwrap();
    store.packs.write_at(PACK, 0, &aligned(&[7; 8192])).unwrap();
    store.restart();
    assert_eq!(keys(&store), [1]);
    assert_eq!(content(&store), [7; 8192]);
}

#[test]
fn unsynced_parts_of_a_pack_are_torn() {
    let (mut lens, mut torn) = (BTreeSet::new(), false);
    for seed in 0..100 {
        let store = FaultyStore::in_memory(seed);
        store.packs.create(PACK).unwrap();
        store.packs.write_at(PACK, 0, &aligned(&[1; 4096])).unwrap();
        store.packs.sync(PACK).unwrap();
        store
            .packs
            .write_at(PACK, 4096, &aligned(&[2; 12288]))
            .unwrap();
        store.faults.cut_power();
        store.restart();
        let left = content(&store);
        assert_eq!(left[..4096], [1; 4096]);
        assert!(left[4096..].iter().all(|b| [0, 2].contains(b)));
        let sectors = left[4096..].chunks(512).map(|s| s[0]);
        torn |= sectors.collect::<BTreeSet<u8>>().len() > 1;
        lens.insert(left.len());
    }
    assert!(torn);
    assert_eq!(lens, BTreeSet::from([4096, 8192, 12288, 16384]));
}

#[test]
fn removing_and_cutting_a_pack_may_be_undone_until_a_sync() {
    let mut seen = BTreeSet::new();
    for seed in 0..100 {
        let store = FaultyStore::in_memory(seed);
        for n in 1..4 {
            store.packs.create(PackNo(n)).unwrap();
            store
                .packs
                .write_at(PackNo(n), 0, &aligned(&[1; 4096]))
                .unwrap();
            store.packs.sync(PackNo(n)).unwrap();
        }
        store.packs.remove(PackNo(3)).unwrap();
        store.packs.create(PackNo(4)).unwrap();
        store.packs.remove(PackNo(1)).unwrap();
        store.packs.truncate(PackNo(2), 0).unwrap();
        store.faults.cut_power();
        store.restart();
        let list = store.packs.list().unwrap();
        seen.insert(list.into_iter().map(|(p, l)| (p.0, l)).collect::<Vec<_>>());
    }
    let all = [
        vec![(2, 0), (4, 0)],
        vec![(2, 4096), (4, 0)],
        vec![(1, 4096), (2, 0), (4, 0)],
        vec![(1, 4096), (2, 4096), (4, 0)],
    ];
    assert_eq!(seen, BTreeSet::from(all));
}

#[test]
fn what_a_failed_sync_missed_no_later_sync_brings() {
    let mut lost = [false; 2];
    for seed in 0..50_u8 {
        let cuts = usize::from(seed % 2);
        let store = FaultyStore::in_memory(seed.into());
        store.packs.create(PACK).unwrap();
        store.packs.write_at(PACK, 0, &aligned(&[1; 4096])).unwrap();
        store.faults.fail_call(Call::Change, 0);
        assert!(store.packs.sync(PACK).is_err());
        if cuts == 1 {
            store.packs.truncate(PACK, 0).unwrap();
            store.packs.write_at(PACK, 0, &aligned(&[1; 4096])).unwrap();
        }
        store.packs.sync(PACK).unwrap();
        store.faults.cut_power();
        store.restart();
        lost[cuts] |= content(&store) != [1; 4096];
    }
    // Unless it is cut away and written anew.
    assert_eq!(lost, [true, false]);
}

#[test]
fn a_full_disk_refuses_whole_calls_and_takes_them_after_a_removal() {
    let store = FaultyStore::in_memory(1);
    store.packs.create(PACK).unwrap();
    store.faults.set_room(Some(5000));
    store.packs.write_at(PACK, 0, &aligned(&[1; 4096])).unwrap();
    let full = |r: Result<(), KvError>| assert!(matches!(r, Err(KvError::NoSpace { .. })));
    full(store.packs.write_at(PACK, 4096, &aligned(&[1; 4096])));
    full(store.kv.write(vec![put(&[1], &[0; 2000])], true));
    full(store.packs.set_reserve(2000));
    store.packs.set_reserve(500).unwrap();
    assert_eq!(store.packs.free_bytes().unwrap(), 404);
    store.packs.set_reserve(0).unwrap();
    store.packs.remove(PACK).unwrap();
    store.kv.write(vec![put(&[1], &[0; 2000])], true).unwrap();
    assert_eq!(keys(&store), [1]);
}
