//! What a restart finds, in order and after a crash.

use super::{Rig, noise, prose};
use crate::base::sync::Arc;
use crate::base::{Epoch, PackNo};
use crate::block::{BlockError, Blocks};
use crate::crypto::Keyset;
use crate::format::key::Letter;
use crate::kv::faulty::FaultyStore;
use crate::kv::files::PackFiles;
use crate::kv::rocks::Rocks;
use crate::kv::{Access, Packs};
use crate::sealed::{Records, SealedPacks};
use crate::txn::{Txn, TxnError};

const CHUNK: usize = 128 << 10;

#[test]
fn a_restart_goes_on_with_the_same_pack() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::in_dir(dir.path());
    let mut ids = Vec::new();
    for round in 0..5 {
        let v = rig.open();
        ids.push(v.put(&noise(round, CHUNK)));
        v.commit();
        v.audit();
        for (n, id) in (0..).zip(&ids) {
            assert_eq!(v.read(id, CHUNK), noise(n, CHUNK));
            assert_eq!(v.record(id).unwrap().place.pack, PackNo(1));
        }
        v.close();
    }
}

#[test]
fn what_no_commit_names_is_dead_after_a_crash() {
    let store = FaultyStore::in_memory(1);
    let rig = Rig::over(&store);
    let v = rig.open();
    let kept = v.put(&noise(1, CHUNK));
    // Landed before the last block that a commit names, and never named itself.
    let forgotten = v.blocks.store(&noise(2, CHUNK)).unwrap();
    v.land().unwrap();
    let last = v.put(&noise(3, CHUNK));
    v.commit();
    let lost = v.put(&noise(4, CHUNK));
    let synced = v.record(&lost).unwrap().place.offset;
    store.faults.cut_power();
    drop(forgotten);
    v.crash();
    store.restart();

    let v = rig.open();
    assert_eq!(v.record(&lost), None);
    assert_eq!(v.read(&kept, CHUNK), noise(1, CHUNK));
    assert_eq!(v.read(&last, CHUNK), noise(3, CHUNK));
    let stats = v.blocks.stats();
    assert_eq!(stats.blocks, 2);
    v.clean();
    v.audit();
    // Only whole units inside the dead ranges come back.
    let stats = v.blocks.stats();
    assert!(
        stats.stored_bytes < stats.live_bytes + 4 * 4096,
        "{stats:?}"
    );
    assert_eq!(v.put(&noise(4, CHUNK)), lost);
    assert_eq!(v.read(&lost, CHUNK), noise(4, CHUNK));
    let place = v.record(&lost).unwrap().place;
    assert!(
        place.offset > synced,
        "what a sync has covered is not written again"
    );
    assert_eq!(v.read(&kept, CHUNK), noise(1, CHUNK));
    v.audit();
    v.close();
}

#[test]
fn files_that_no_record_names_are_removed_and_their_numbers_not_used() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::in_dir(dir.path());
    let stray = dir.path().join("packs/00000007");
    std::fs::write(&stray, b"left by a crash").unwrap();
    let v = rig.open();
    let id = v.put(&noise(1, CHUNK));
    assert_eq!(v.record(&id).unwrap().place.pack, PackNo(8));
    v.clean();
    assert!(!stray.exists());
    assert_eq!(v.read(&id, CHUNK), noise(1, CHUNK));
    v.close();
}

#[test]
fn a_missing_pack_costs_its_blocks_only() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::in_dir(dir.path());
    rig.pack_bytes = 300 << 10;
    let v = rig.open();
    let ids: Vec<_> = (0..6).map(|n| v.put(&noise(n, CHUNK))).collect();
    v.commit();
    v.close();
    std::fs::remove_file(dir.path().join("packs/00000002")).unwrap();
    let v = rig.open();
    for (n, id) in (0..).zip(&ids) {
        match v.try_read(id, CHUNK) {
            Ok(content) => assert_eq!(content, noise(n, CHUNK)),
            Err(BlockError::Damaged { code, .. }) => {
                assert_eq!((code, n / 2), ("C-MISSING", 1));
            }
            Err(e) => panic!("{e}"),
        }
    }
    // There is nothing to punch in it.
    v.release(&ids[2]);
    v.clean();
    v.release(&ids[3]);
    v.commit();
    v.close();
    // Once nothing lives in it, it is forgotten.
    let v = rig.open();
    v.clean();
    assert_eq!(v.records(Letter::Account).len(), 2);
    v.audit();
    v.close();
}

#[test]
fn a_store_opened_for_reading_is_only_read() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::in_dir(dir.path());
    let v = rig.open();
    let id = v.put(&noise(1, CHUNK));
    v.commit();
    v.close();
    let kv = Rocks::open(&dir.path().join("kv"), Access::ReadOnly).unwrap();
    let packs: Arc<dyn Packs> = Arc::new(PackFiles::open(&dir.path().join("packs"), true).unwrap());
    let before = packs.list().unwrap();
    let records = Records::new(Arc::new(kv), Arc::clone(&rig.keyset));
    let clock = Arc::new(crate::base::SystemClock);
    let txn = Txn::open(records, clock, Box::new(|_| ())).unwrap();
    let sealed = SealedPacks::new(Arc::clone(&packs), Arc::clone(&rig.keyset));
    let blocks = Blocks::open(Arc::clone(&txn), sealed, rig.settings).unwrap();
    let mut out = vec![0; CHUNK];
    blocks.read(&id, 0, &mut out).unwrap();
    assert_eq!(out, noise(1, CHUNK));
    assert!(matches!(
        blocks.store(b"x"),
        Err(BlockError::Txn(TxnError::ReadOnly))
    ));
    blocks.close().unwrap();
    txn.close().unwrap();
    assert_eq!(packs.list().unwrap(), before);
    let reserve = std::fs::metadata(dir.path().join("packs/reserve")).unwrap();
    assert_eq!(reserve.len(), 0, "a closed volume keeps nothing back");
}

#[test]
fn blocks_of_an_older_epoch_are_read_and_sealed_anew_when_they_move() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::in_dir(dir.path());
    let v = rig.open();
    let ids = [v.put(&noise(1, CHUNK)), v.put(&prose(2, CHUNK))];
    v.commit();
    v.close();
    rig.keyset = Arc::new(Keyset::for_tests_rotated(1));
    let v = rig.open();
    assert_eq!(v.read(&ids[0], CHUNK), noise(1, CHUNK));
    let new = v.put(&noise(3, CHUNK));
    assert_eq!(v.record(&new).unwrap().place.epoch, Epoch(2));
    assert_eq!(v.record(&new).unwrap().place.pack, PackNo(2));
    v.blocks.shared.copy_forward(PackNo(1)).unwrap();
    v.clean();
    v.audit();
    for id in &ids {
        assert_eq!(v.record(id).unwrap().place.epoch, Epoch(2));
    }
    assert_eq!(v.read(&ids[0], CHUNK), noise(1, CHUNK));
    assert_eq!(v.read(&ids[1], CHUNK), prose(2, CHUNK));
    assert!(!dir.path().join("packs/00000001").exists());
    v.close();
}
