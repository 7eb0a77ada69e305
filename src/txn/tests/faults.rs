//! Failed commits and half-done operations: nothing is written any more, everything can be read.

use super::{Rig, after, arrived, commit, contents, inode, set, until};
use crate::base::Generation;
use crate::kv::faulty::Call;
use crate::kv::{Change, Family, Kv};
use crate::txn::TxnError;

#[test]
fn a_failed_commit_poisons() {
    let rig = Rig::new(1);
    let txn = rig.open();
    set(&txn, inode(1), b"durable");
    txn.commit_wait().unwrap();
    let pause = rig.store.faults.pause_changes();
    rig.store.faults.fail_call(Call::Change, 0);
    set(&txn, inode(1), b"lost");
    let asked = commit(&txn);
    until(|| txn.begin().unwrap().group() == 4);
    set(&txn, inode(2), b"lost too");
    let (second, third) = (commit(&txn), after(&txn, 4));
    drop(pause);
    for rx in [&asked, &second, &third] {
        assert!(matches!(arrived(rx), Err(TxnError::Poisoned(_))));
    }
    assert!(txn.is_poisoned());
    assert!(txn.poison().unwrap().contains("injected"));
    assert!(matches!(txn.begin().map(drop), Err(TxnError::Poisoned(_))));
    assert!(matches!(arrived(&commit(&txn)), Err(TxnError::Poisoned(_))));
    assert!(matches!(
        arrived(&after(&txn, 9)),
        Err(TxnError::Poisoned(_))
    ));
    // What is durable stays known, and reads go on from memory.
    assert_eq!(arrived(&after(&txn, 2)).unwrap(), Generation(2));
    assert_eq!(txn.durable(), Generation(2));
    assert_eq!(txn.get(&inode(1)).unwrap(), Some(b"lost".to_vec()));
    assert_eq!(txn.get(&inode(2)).unwrap(), Some(b"lost too".to_vec()));
    assert_eq!(contents(&txn).len(), 2);
    assert!(!txn.is_unreachable(3));
    assert!(txn.close().is_err());
    let txn = rig.open();
    assert_eq!(
        contents(&txn).into_values().collect::<Vec<_>>(),
        [b"durable"]
    );
    txn.close().unwrap();
}

#[test]
fn an_operation_that_cannot_read_before_its_first_change_has_not_happened() {
    let rig = Rig::new(1);
    let txn = rig.open();
    until(|| txn.is_verified());
    rig.store.faults.fail_call(Call::Read, 0);
    let op = txn.begin().unwrap();
    assert!(op.get(&inode(1)).is_err());
    drop(op);
    assert!(!txn.is_poisoned());
    txn.close().unwrap();
}

/// Half of a rename must never be committed, whatever the caller does with the error.
#[test]
fn an_operation_that_cannot_go_on_after_its_first_change_is_never_committed() {
    let rig = Rig::new(1);
    let txn = rig.open();
    until(|| txn.is_verified());
    set(&txn, inode(1), b"whole");
    txn.commit_wait().unwrap();
    rig.store.faults.fail_call(Call::Read, 0);
    let mut op = txn.begin().unwrap();
    op.delete(inode(1));
    assert!(op.get(&inode(2)).is_err());
    op.put(inode(2), b"half".to_vec());
    drop(op);
    assert!(txn.poison().unwrap().contains("injected"));
    assert!(txn.close().is_err());
    let txn = rig.open();
    assert_eq!(contents(&txn).into_keys().collect::<Vec<_>>(), [inode(1)]);
    txn.close().unwrap();
}

#[test]
fn a_panic_inside_an_operation_is_never_committed() {
    let rig = Rig::new(1);
    let txn = rig.open();
    let t = std::sync::Arc::clone(&txn);
    let panicked = std::thread::spawn(move || {
        let mut op = t.begin().unwrap();
        op.put(inode(1), b"half".to_vec());
        std::panic::resume_unwind(Box::new("on purpose"));
    });
    assert!(panicked.join().is_err());
    assert!(txn.is_poisoned());
    assert!(txn.close().is_err());
    let txn = rig.open();
    assert_eq!(contents(&txn).len(), 0);
    txn.close().unwrap();
}

/// Records that an attacker has put into the store made the committer's count wrap: it panicked, and
/// whoever waited for it waited for ever.
#[test]
fn more_records_than_the_root_counts_are_an_error() {
    let rig = Rig::new(1);
    let txn = rig.open();
    until(|| txn.is_verified());
    let records = rig.records();
    let sealed = records.seal(&inode(1), Generation(1), b"x").unwrap();
    let inserted = Change::Put(Family::Meta, inode(1).as_bytes().to_vec(), sealed);
    rig.store.kv.write(vec![inserted], true).unwrap();
    txn.begin().unwrap().delete(inode(1));
    assert!(matches!(
        txn.commit_wait(),
        Err(TxnError::Poisoned(cause)) if cause.contains("C-SETDIGEST")
    ));
    assert!(txn.close().is_err());
}
