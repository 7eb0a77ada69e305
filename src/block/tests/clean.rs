//! The cleaner: dead space comes back, and nothing else goes.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{Rig, Volume, noise, until};
use crate::base::ContentId;
use crate::format::key::Letter;
use crate::kv::faulty::FaultyStore;
use crate::kv::{Change, Family, Kv, Packs};

const CHUNK: usize = 128 << 10;

/// Returns the bytes that the files of packs have in their file system, the reserve not counted.
fn allocated(dir: &Path) -> u64 {
    let packs = std::fs::read_dir(dir.join("packs")).unwrap();
    packs
        .map(|e| e.unwrap())
        .filter(|e| e.file_name() != "reserve")
        .map(|e| e.metadata().unwrap().blocks() * 512)
        .sum()
}

fn put_many(v: &Volume, seeds: std::ops::Range<u64>) -> Vec<ContentId> {
    let stored: Vec<_> = seeds
        .map(|n| v.blocks.store(&noise(n, CHUNK)).unwrap())
        .collect();
    v.land().unwrap();
    assert!(stored.iter().all(|s| v.reference(s)));
    stored.iter().map(super::Stored::id).collect()
}

fn punched(v: &Volume) -> u32 {
    let state = v.blocks.shared.state.lock();
    state.packs.values().map(|p| p.account.punched).sum()
}

#[test]
fn the_space_of_dead_blocks_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::in_dir(dir.path());
    let v = rig.open();
    let ids = put_many(&v, 0..128);
    v.commit();
    let full = allocated(dir.path());
    assert!(full >= 16 << 20);
    for id in ids.iter().skip(1).step_by(2) {
        v.release(id);
    }
    v.clean();
    v.audit();
    let half = allocated(dir.path());
    // Of every hole, up to two units at its edges remain.
    assert!(half <= full / 2 + 64 * 8192, "{full} before, {half} after");
    for (n, id) in (0..).zip(&ids).step_by(2) {
        assert_eq!(v.read(id, CHUNK), noise(n, CHUNK));
    }
    // When the neighbours die too, the edges go with them.
    for id in ids.iter().step_by(2).skip(1) {
        v.release(id);
    }
    v.clean();
    v.audit();
    let one = allocated(dir.path());
    assert!(
        one <= (CHUNK as u64) + 4 * 8192,
        "{one} with one block left"
    );
    assert_eq!(v.read(&ids[0], CHUNK), noise(0, CHUNK));
    v.close();
}

#[test]
fn nothing_is_punched_before_its_death_is_durable_and_unseen() {
    let dir = tempfile::tempdir().unwrap();
    let v = Rig::in_dir(dir.path()).open();
    let ids = put_many(&v, 0..4);
    // There is a record of dead ranges already, of an older group.
    v.release(&ids[3]);
    v.clean();
    let before = punched(&v);
    let pin = v.txn.pin();
    v.release(&ids[1]);
    v.blocks.shared.clean().unwrap();
    assert_eq!(punched(&v), before, "its death is not durable");
    v.clean();
    assert_eq!(punched(&v), before, "a reader is pinned");
    drop(pin);
    v.clean();
    assert!(punched(&v) >= before + (100 << 10));
    v.close();
}

#[test]
fn bytes_that_somebody_holds_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let v = Rig::in_dir(dir.path()).open();
    let ids = put_many(&v, 0..4);
    v.commit();
    let held = v.blocks.store(&noise(1, CHUNK)).unwrap();
    v.release(&ids[1]);
    v.clean();
    assert_eq!(v.read(&held.id(), CHUNK), noise(1, CHUNK));
    let before = punched(&v);
    drop(held);
    v.clean();
    assert!(punched(&v) >= before + (100 << 10));
    v.audit();
    v.close();
}

#[test]
fn empty_packs_are_removed() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::in_dir(dir.path());
    rig.pack_bytes = 1 << 20;
    let v = rig.open();
    let ids = put_many(&v, 0..40);
    v.commit();
    ids.iter().take(36).for_each(|id| v.release(id));
    v.clean();
    v.audit();
    let files = std::fs::read_dir(dir.path().join("packs")).unwrap().count();
    assert!(
        files <= 3,
        "{files} files: the reserve and the packs in use"
    );
    assert!(v.records(Letter::PackList).len() <= 4);
    for (n, id) in (36..).zip(&ids[36..]) {
        assert_eq!(v.read(id, CHUNK), noise(n, CHUNK));
    }
    v.close();
}

#[test]
fn what_little_lives_in_a_pack_is_copied_forward() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::in_dir(dir.path());
    rig.pack_bytes = 4 << 20;
    let v = rig.open();
    let ids = put_many(&v, 0..70);
    v.commit();
    let first = v.record(&ids[0]).unwrap().place.pack;
    // One block of ten lives, with two references.
    for (n, id) in ids.iter().enumerate() {
        if n.is_multiple_of(10) {
            v.blocks.share(&mut v.txn.begin().unwrap(), id).unwrap();
        } else {
            v.release(id);
        }
    }
    v.clean();
    v.audit();
    for (n, id) in (0..).zip(&ids).step_by(10) {
        let block = v.record(id).unwrap();
        assert_eq!(block.refs, 2);
        assert_ne!(block.place.pack, first);
        assert_eq!(v.read(id, CHUNK), noise(n, CHUNK));
    }
    v.commit();
    v.close();
    let v = rig.open();
    v.audit();
    for (n, id) in (0..).zip(&ids).step_by(10) {
        assert_eq!(v.read(id, CHUNK), noise(n, CHUNK));
    }
    v.close();
}

#[test]
fn a_block_that_changed_while_it_was_copied_keeps_its_record() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::in_dir(dir.path());
    rig.pack_bytes = 1 << 20;
    let v = rig.open();
    let ids = put_many(&v, 0..3);
    let old: Vec<_> = ids.iter().map(|id| (*id, v.record(id).unwrap())).collect();
    // One dies, one dies and comes back elsewhere, one stays.
    v.release(&ids[0]);
    v.release(&ids[1]);
    v.put(&noise(1, CHUNK));
    let new = v.record(&ids[1]).unwrap();
    v.blocks.shared.copy_batch(&old).unwrap();
    assert_eq!(v.record(&ids[0]), None);
    assert_eq!(v.record(&ids[1]), Some(new));
    assert_ne!(v.record(&ids[2]).unwrap().place, old[2].1.place);
    assert_eq!(v.read(&ids[2], CHUNK), noise(2, CHUNK));
    assert!(v.blocks.shared.state.lock().copied.is_empty());
    // Once the pack is full and sealed, its account must add up.
    put_many(&v, 10..20);
    v.clean();
    v.audit();
    assert_eq!(v.read(&ids[1], CHUNK), noise(1, CHUNK));
    v.close();
}

#[test]
fn filled_and_emptied_ten_times_it_does_not_grow() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::in_dir(dir.path());
    rig.pack_bytes = 4 << 20;
    let v = rig.open();
    let mut second = 0;
    for round in 0..10 {
        let ids = put_many(&v, round * 100..round * 100 + 80);
        v.commit();
        ids.iter().for_each(|id| v.release(id));
        v.clean();
        if round == 1 {
            second = allocated(dir.path());
        }
    }
    let tenth = allocated(dir.path());
    assert!(tenth <= second.max(1 << 20) * 11 / 10, "{second}, {tenth}");
    v.audit();
    v.close();
}

#[test]
fn nothing_is_destroyed_in_a_store_that_is_not_verified() {
    let store = FaultyStore::in_memory(1);
    let rig = Rig::over(&store);
    let v = rig.open();
    put_many(&v, 0..2);
    v.close();
    store.packs.create(crate::base::PackNo(9)).unwrap();
    // A record put back behind our back.
    let key = crate::format::key::Key::block(&ContentId([1; 32]));
    let change = Change::Put(Family::Meta, key.as_bytes().to_vec(), vec![0; 80]);
    store.kv.write(vec![change], true).unwrap();
    let v = rig.open();
    until(|| v.txn.is_poisoned());
    let _ = v.blocks.shared.clean();
    let files: Vec<u32> = store.packs.list().unwrap().iter().map(|f| f.0.0).collect();
    assert_eq!(files, [1, 9]);
    v.crash();
}

#[test]
fn records_of_small_dead_blocks_do_not_pile_up() {
    let dir = tempfile::tempdir().unwrap();
    let v = Rig::in_dir(dir.path()).open();
    // Each dies in a group of its own, and none has a whole unit to punch.
    let stored: Vec<_> = (0..600)
        .map(|n| v.blocks.store(&noise(n, 700)).unwrap())
        .collect();
    v.land().unwrap();
    assert!(stored.iter().all(|s| v.reference(s)));
    v.commit();
    let ids: Vec<_> = stored.iter().map(super::Stored::id).collect();
    drop(stored);
    let resting = v.blocks.shared.cleaning.lock();
    for id in ids.iter().step_by(6) {
        v.release(id);
        v.commit();
    }
    assert!(v.records(Letter::Punch).len() >= 64);
    drop(resting);
    v.clean();
    assert!(v.records(Letter::Punch).len() <= 2);
    v.audit();
    v.close();
}
