//! The contract of a key-value store.

use std::sync::Arc;

use super::{delete, put};
use crate::kv::faulty::FaultyStore;
use crate::kv::memory::{MemoryKv, MemoryPacks};
use crate::kv::rocks::Rocks;
use crate::kv::{Access, Change, Family, Kv, KvRead, Pair};

/// Calls `test` with an empty store of each sort.
fn each_store(test: impl Fn(&dyn Kv)) {
    test(&MemoryKv::default());
    let dir = tempfile::tempdir().unwrap();
    test(&Rocks::open(&dir.path().join("plain"), Access::Create).unwrap());
    test(&*FaultyStore::in_memory(1).kv);
    let rocks = Rocks::open(&dir.path().join("faulty"), Access::Create).unwrap();
    let packs = Arc::new(MemoryPacks::default());
    test(&*FaultyStore::over(Arc::new(rocks), packs, 1).kv);
}

fn pairs(list: &[(&[u8], &[u8])]) -> Vec<Pair> {
    list.iter().map(|(k, v)| (k.to_vec(), v.to_vec())).collect()
}

fn all(kv: &(impl KvRead + ?Sized), family: Family) -> Vec<Pair> {
    kv.scan(family, &[0], &[0xff], usize::MAX).unwrap()
}

#[test]
fn a_key_has_the_value_last_put() {
    each_store(|kv| {
        assert_eq!(kv.get(Family::Meta, b"a").unwrap(), None);
        kv.write(vec![put(b"a", b"1")], true).unwrap();
        kv.write(vec![put(b"a", b"2"), put(b"e", b"")], false)
            .unwrap();
        assert_eq!(kv.get(Family::Meta, b"a").unwrap(), Some(b"2".to_vec()));
        assert_eq!(kv.get(Family::Meta, b"e").unwrap(), Some(Vec::new()));
        kv.write(vec![delete(b"a"), delete(b"never")], true)
            .unwrap();
        assert_eq!(kv.get(Family::Meta, b"a").unwrap(), None);
    });
}

#[test]
fn changes_of_a_batch_apply_in_their_order() {
    each_store(|kv| {
        let batch = vec![
            put(b"a", b"1"),
            delete(b"a"),
            put(b"a", b"2"),
            put(b"b", b"1"),
            delete(b"b"),
        ];
        kv.write(batch, true).unwrap();
        assert_eq!(all(kv, Family::Meta), pairs(&[(b"a", b"2")]));
        kv.write(Vec::new(), true).unwrap();
    });
}

#[test]
fn families_are_apart() {
    each_store(|kv| {
        let page = Change::Put(Family::Page, b"k".to_vec(), b"page".to_vec());
        kv.write(vec![put(b"k", b"meta"), page], true).unwrap();
        assert_eq!(kv.get(Family::Meta, b"k").unwrap(), Some(b"meta".to_vec()));
        assert_eq!(kv.get(Family::Page, b"k").unwrap(), Some(b"page".to_vec()));
        kv.write(vec![delete(b"k")], true).unwrap();
        assert_eq!(all(kv, Family::Meta), pairs(&[]));
        assert_eq!(all(kv, Family::Page), pairs(&[(b"k", b"page")]));
    });
}

#[test]
fn multi_get_answers_in_the_order_asked() {
    each_store(|kv| {
        kv.write(vec![put(b"a", b"1"), put(b"c", b"3")], true)
            .unwrap();
        let found = kv
            .multi_get(Family::Meta, &[b"c", b"b", b"a", b"c"])
            .unwrap();
        let expected = [Some(b"3"), None, Some(b"1"), Some(b"3")];
        assert_eq!(found, expected.map(|v| v.map(|v| v.to_vec())));
        assert_eq!(kv.multi_get(Family::Meta, &[]).unwrap(), Vec::new());
    });
}

#[test]
fn a_scan_is_ascending_half_open_and_limited() {
    each_store(|kv| {
        let keys: [&[u8]; 5] = [b"a", b"a\0", b"b", b"b\xff", b"c"];
        let batch = keys.iter().rev().map(|k| put(k, k)).collect();
        kv.write(batch, true).unwrap();
        let scan = |from: &[u8], to: &[u8], limit| -> Vec<Vec<u8>> {
            let found = kv.scan(Family::Meta, from, to, limit).unwrap();
            found.into_iter().map(|(k, _)| k).collect()
        };
        assert_eq!(scan(b"a", b"c", 10), [&b"a"[..], b"a\0", b"b", b"b\xff"]);
        assert_eq!(scan(b"a\0", b"b", 10), [&b"a\0"[..]]);
        assert_eq!(scan(b"a", b"z", 2), [&b"a"[..], b"a\0"]);
        assert_eq!(scan(b"aa", b"az", 10), Vec::<Vec<u8>>::new());
        assert_eq!(scan(b"a", b"z", 0), Vec::<Vec<u8>>::new());
        assert_eq!(scan(b"b", b"b", 10), Vec::<Vec<u8>>::new());
        assert_eq!(scan(b"c", b"a", 10), Vec::<Vec<u8>>::new());
    });
}

#[test]
fn a_pass_visits_every_pair_until_told_to_stop() {
    each_store(|kv| {
        let batch = (0..1000_u32).map(|i| put(&i.to_be_bytes(), b"v")).collect();
        kv.write(batch, true).unwrap();
        let mut seen = 0_u32;
        let mut visit = |k: &[u8], v: &[u8]| {
            assert_eq!((k, v), (&seen.to_be_bytes()[..], &b"v"[..]));
            seen += 1;
            seen < 700
        };
        kv.for_each(Family::Meta, &[0], &[1], &mut visit).unwrap();
        assert_eq!(seen, 700);
    });
}

#[test]
fn a_snapshot_does_not_change() {
    each_store(|kv| {
        kv.write(vec![put(b"a", b"old"), put(b"b", b"old")], true)
            .unwrap();
        let before = kv.snapshot().unwrap();
        kv.write(
            vec![put(b"a", b"new"), delete(b"b"), put(b"c", b"new")],
            true,
        )
        .unwrap();
        kv.flush().unwrap();
        kv.compact().unwrap();
        let old = pairs(&[(b"a", b"old"), (b"b", b"old")]);
        assert_eq!(all(&*before, Family::Meta), old);
        let mut visited = Vec::new();
        let mut visit = |k: &[u8], v: &[u8]| {
            visited.push((k.to_vec(), v.to_vec()));
            true
        };
        before
            .for_each(Family::Meta, &[0], &[0xff], &mut visit)
            .unwrap();
        assert_eq!(visited, old);
        assert_eq!(
            before.get(Family::Meta, b"b").unwrap(),
            Some(b"old".to_vec())
        );
        let found = before.multi_get(Family::Meta, &[b"c", b"a"]).unwrap();
        assert_eq!(found, [None, Some(b"old".to_vec())]);
        assert_eq!(
            all(kv, Family::Meta),
            pairs(&[(b"a", b"new"), (b"c", b"new")])
        );
    });
}

#[test]
fn a_snapshot_outlives_its_store() {
    let dir = tempfile::tempdir().unwrap();
    let kv = Rocks::open(dir.path(), Access::Create).unwrap();
    kv.write(vec![put(b"a", b"1")], true).unwrap();
    let view = kv.snapshot().unwrap();
    drop(kv);
    assert_eq!(view.get(Family::Meta, b"a").unwrap(), Some(b"1".to_vec()));
}

#[test]
fn flushing_and_compacting_change_nothing_that_is_read() {
    each_store(|kv| {
        for round in 0..3_u8 {
            let batch = (0..500_u32).map(|i| put(&i.to_be_bytes(), &[round; 100]));
            kv.write(batch.collect(), false).unwrap();
            let gone = (0..500_u32)
                .filter(|i| i % 3 == u32::from(round))
                .map(|i| delete(&i.to_be_bytes()));
            kv.write(gone.collect(), false).unwrap();
            let before = all(kv, Family::Meta);
            kv.flush().unwrap();
            assert_eq!(all(kv, Family::Meta), before);
            kv.compact().unwrap();
            assert_eq!(all(kv, Family::Meta), before);
        }
    });
}

#[test]
fn recovery_of_a_store_that_works_does_nothing() {
    each_store(|kv| {
        kv.write(vec![put(b"a", b"1")], true).unwrap();
        kv.recover().unwrap();
        assert_eq!(all(kv, Family::Meta), pairs(&[(b"a", b"1")]));
    });
}
