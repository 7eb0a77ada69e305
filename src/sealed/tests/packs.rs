//! Packs whose syncs fail.

use super::super::SealedPacks;
use crate::base::PackNo;
use crate::base::sync::Arc;
use crate::crypto::Keyset;
use crate::kv::faulty::{Call, FaultyStore};

const PACK: PackNo = PackNo(1);

/// Symptom: blocks that fsync had reported were lost with the power. The cleaner had punched holes into
/// the pack they were being appended to, and its sync failed; the medium tells that once, so the sync of
/// the blocks, which came next, succeeded without them.
#[test]
fn a_failed_sync_is_told_to_everybody_who_writes_to_the_pack() {
    let store = FaultyStore::in_memory(1);
    let packs = SealedPacks::new(
        Arc::clone(&store.packs) as Arc<_>,
        Arc::new(Keyset::for_tests(1)),
    );
    let mut writer = packs.create(PACK).unwrap();
    let buffer = vec![7; 1 << 20];
    writer.append(&buffer).unwrap();
    store.faults.fail_call(Call::Change, 0);
    assert!(packs.sync(PACK).is_err());
    assert!(packs.sync(PACK).is_err());
    assert!(writer.sync().is_err());
    writer.roll_back().unwrap();
    writer.append(&buffer).unwrap();
    writer.sync().unwrap();
    store.faults.cut_power();
    store.restart();
    let mut found = vec![0; buffer.len()];
    packs.read(PACK, 0, &mut found).unwrap();
    assert!(found == buffer);
}
