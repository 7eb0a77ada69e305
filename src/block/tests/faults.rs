//! Packs that cannot be written: no block is lost silently.

use super::{Rig, noise};
use crate::block::BlockError;
use crate::kv::faulty::{Call, FaultyStore};

const CHUNK: usize = 128 << 10;

#[test]
fn a_block_that_could_not_land_stays_in_memory_and_is_stored_again() {
    // Creating the pack, writing it, syncing it.
    for call in 0..3 {
        let store = FaultyStore::in_memory(1);
        let rig = Rig::over(&store);
        let v = rig.open();
        let stored = v.blocks.store(&noise(1, CHUNK)).unwrap();
        store.faults.fail_call(Call::Change, call);
        assert!(matches!(
            v.land(),
            Err(BlockError::Store {
                no_space: false,
                ..
            })
        ));
        assert!(v.land().is_ok(), "a failure is told once");
        assert!(v.blocks.is_landed(&stored), "nothing is on its way");
        assert!(!v.reference(&stored));
        assert_eq!(v.blocks.unlanded_bytes(), 0);
        assert_eq!(v.read(&stored.id(), CHUNK), noise(1, CHUNK));
        let again = v.blocks.store(&noise(1, CHUNK)).unwrap();
        assert!(
            !v.blocks.is_landed(&stored),
            "the same block, for all who hold it"
        );
        drop(stored);
        v.land().unwrap();
        assert!(v.reference(&again));
        v.commit();
        v.audit();
        v.close();
        let v = rig.open();
        assert_eq!(v.read(&again_id(), CHUNK), noise(1, CHUNK));
        v.clean();
        v.audit();
        v.close();

        fn again_id() -> crate::base::ContentId {
            crate::crypto::Keyset::for_tests(1).content_id(&noise(1, CHUNK))
        }
    }
}

#[test]
fn blocks_that_landed_before_a_failure_are_not_touched_by_it() {
    let store = FaultyStore::in_memory(1);
    let v = Rig::over(&store).open();
    let first = v.blocks.store(&noise(1, CHUNK)).unwrap();
    v.land().unwrap();
    let second = v.blocks.store(&noise(2, CHUNK)).unwrap();
    store.faults.fail_call(Call::Change, 1);
    assert!(v.land().is_err());
    assert!(v.reference(&first));
    assert!(!v.reference(&second));
    let third = v.put(&noise(3, CHUNK));
    v.commit();
    for (n, id) in [(1, first.id()), (2, second.id()), (3, third)] {
        assert_eq!(v.read(&id, CHUNK), noise(n, CHUNK));
    }
    drop((first, second));
    v.audit();
    v.close();
}

#[test]
fn a_full_disk_is_told_as_such_and_the_pack_goes_on() {
    let store = FaultyStore::in_memory(1);
    let v = Rig::over(&store).open();
    let kept = v.put(&noise(1, CHUNK));
    let pack = v.record(&kept).unwrap().place.pack;
    let end = v.record(&kept).unwrap().shape.sealed_len();
    store.faults.set_room(Some(10_000));
    let stored = v.blocks.store(&noise(2, CHUNK)).unwrap();
    assert!(matches!(
        v.land(),
        Err(BlockError::Store { no_space: true, .. })
    ));
    assert!(!v.reference(&stored));
    assert_eq!(v.read(&stored.id(), CHUNK), noise(2, CHUNK));
    store.faults.set_room(None);
    let again = v.blocks.store(&noise(2, CHUNK)).unwrap();
    v.land().unwrap();
    assert!(v.reference(&again));
    let place = v.record(&again.id()).unwrap().place;
    assert_eq!(place.pack, pack);
    assert_eq!(place.offset, end.next_multiple_of(4096));
    assert_eq!(v.read(&kept, CHUNK), noise(1, CHUNK));
    drop((stored, again));
    v.commit();
    v.audit();
    v.close();
}

#[test]
fn a_failure_nobody_waited_for_is_told_to_the_next_who_asks() {
    let store = FaultyStore::in_memory(1);
    let v = Rig::over(&store).open();
    store.faults.fail_call(Call::Change, 2);
    // Enough to be written, and synced, unasked.
    let stored: Vec<_> = (0..65)
        .map(|n| v.blocks.store(&noise(n, CHUNK)).unwrap())
        .collect();
    super::until(|| v.blocks.shared.state.lock().failure.is_some());
    assert!(v.land().is_err());
    assert!(v.land().is_ok());
    for (n, s) in (0..).zip(&stored) {
        assert_eq!(v.read(&s.id(), CHUNK), noise(n, CHUNK));
    }
    drop(stored);
    v.close();
}

#[test]
fn a_poisoned_volume_still_reads_what_is_in_memory() {
    let store = FaultyStore::in_memory(1);
    let v = Rig::over(&store).open();
    let id = v.put(&noise(1, CHUNK));
    store.faults.fail_call(Call::Change, 0);
    assert!(v.txn.commit_wait().is_err());
    assert_eq!(v.read(&id, CHUNK), noise(1, CHUNK));
    let stored = v.blocks.store(&noise(2, CHUNK)).unwrap();
    let _ = v.land();
    assert_eq!(v.read(&stored.id(), CHUNK), noise(2, CHUNK));
    drop(stored);
    v.crash();
}
