//! A full disk is no failed commit while somebody has space to give back.

use super::{Rig, after, arrived, contents, inode, set};
use crate::base::sync::{Arc, AtomicBool, Ordering};
use crate::base::{Generation, SystemClock};
use crate::crypto::Keyset;
use crate::kv::files::PackFiles;
use crate::kv::rocks::Rocks;
use crate::kv::small_disk::SmallDisk;
use crate::kv::{Access, Kv, Packs};
use crate::sealed::Records;
use crate::txn::{Txn, TxnError};

#[test]
fn a_commit_that_finds_the_disk_full_is_tried_again_with_the_reserve() {
    let rig = Rig::new(1);
    rig.store.faults.set_room(Some(100_000));
    rig.store.packs.set_reserve(80_000).unwrap();
    let txn = rig.open();
    set(&txn, inode(1), b"before");
    txn.commit_wait().unwrap();
    let packs = Arc::clone(&rig.store.packs);
    txn.on_full(Box::new(move || packs.set_reserve(0).is_ok()));
    set(&txn, inode(1), &[1; 30_000]);
    set(&txn, inode(2), &[2; 30_000]);
    assert_eq!(txn.commit_wait().unwrap(), Generation(3));
    assert!(!txn.is_poisoned());
    assert_eq!(txn.verify().unwrap().bad_buckets, Vec::<usize>::new());
    assert_eq!(txn.verify().unwrap().records, 2);
    rig.store.faults.set_room(None);
    txn.close().unwrap();
}

#[test]
fn without_space_to_give_back_a_commit_waits_for_some() {
    let rig = Rig::new(1);
    let txn = rig.open();
    rig.store.faults.set_room(Some(1000));
    set(&txn, inode(1), &[1; 30_000]);
    let patient = after(&txn, 2);
    let full = txn.commit_wait();
    assert!(matches!(full, Err(TxnError::Sealed { no_space: true, .. })));
    assert!(!txn.is_poisoned());
    // Life goes on in memory, and who asks is told.
    set(&txn, inode(2), b"more");
    assert!(txn.commit_wait().is_err());
    assert_eq!(contents(&txn).len(), 2);
    assert!(patient.try_recv().is_err());
    rig.store.faults.set_room(None);
    assert_eq!(arrived(&patient).unwrap(), Generation(2));
    assert_eq!(txn.commit_wait().unwrap(), Generation(3));
    assert_eq!(txn.verify().unwrap().bad_buckets, Vec::<usize>::new());
    txn.close().unwrap();
}

#[test]
fn a_volume_whose_disk_stays_full_can_be_closed() {
    let rig = Rig::new(1);
    let txn = rig.open();
    // It says that it gives, and gives nothing.
    txn.on_full(Box::new(|| true));
    set(&txn, inode(1), b"durable");
    txn.commit_wait().unwrap();
    rig.store.faults.set_room(Some(1000));
    set(&txn, inode(2), &[1; 30_000]);
    assert!(matches!(
        txn.close(),
        Err(TxnError::Sealed { no_space: true, .. })
    ));
    rig.store.faults.set_room(None);
    let txn = rig.open();
    assert_eq!(contents(&txn).len(), 1);
    txn.close().unwrap();
}

/// The engine stops when its log finds no space, and has to be waited for: only a real file system
/// that is really full shows whether it comes back.
#[test]
fn a_real_file_system_that_is_full_takes_commits_with_the_reserve() {
    const RESERVE: u64 = 64 << 20;
    let disk = SmallDisk::new(RESERVE + (48 << 20));
    let (kv_dir, pack_dir) = (disk.path().join("kv"), disk.path().join("packs"));
    std::fs::create_dir(&pack_dir).unwrap();
    let packs = Arc::new(PackFiles::open(&pack_dir, false).unwrap());
    packs.set_reserve(RESERVE).unwrap();
    let keyset = Arc::new(Keyset::for_tests(1));
    let records = |access| {
        let kv: Arc<dyn Kv> = Arc::new(Rocks::open(&kv_dir, access).unwrap());
        Records::new(kv, Arc::clone(&keyset))
    };
    let clock = || Arc::new(SystemClock);
    Txn::create(records(Access::Create), clock(), [1; 16], |op| {
        op.root().inodes = 1;
    })
    .unwrap();
    let txn = Txn::open(records(Access::ReadWrite), clock(), Box::new(|_| ())).unwrap();
    let (reserve, given) = (Arc::clone(&packs), Arc::new(AtomicBool::new(false)));
    let gives = Arc::clone(&given);
    txn.on_full(Box::new(move || {
        gives.store(true, Ordering::Relaxed);
        reserve.set_reserve(0).is_ok()
    }));
    disk.fill();
    // Far more than what the log has allocated ahead, in commits of 1 MiB.
    for n in 0..32 {
        set(&txn, inode(n), &vec![1; 1 << 20]);
        assert_eq!(txn.commit_wait().unwrap(), Generation(u64::from(n) + 2));
    }
    assert!(given.load(Ordering::Relaxed), "the reserve was not needed");
    assert_eq!(txn.verify().unwrap().bad_buckets, Vec::<usize>::new());
    txn.close().unwrap();
    drop(txn);
    let txn = Txn::open(records(Access::ReadWrite), clock(), Box::new(|_| ())).unwrap();
    assert_eq!(contents(&txn).len(), 32);
    txn.close().unwrap();
}
