//! Groups: what lands together, who is told when.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::{PATIENCE, Rig, after, arrived, commit, contents, inode, set, until};
use crate::base::sync::Arc;
use crate::base::{Clock, Generation, SystemClock, Timestamp};
use crate::crypto::Keyset;
use crate::format::header::Role;
use crate::format::key::Key;
use crate::kv::Kv;
use crate::kv::faulty::Call;
use crate::sealed::Records;
use crate::txn::{GROUP_BYTES, Txn, TxnError};

#[test]
fn a_new_volume_has_generation_one_and_what_was_put_in() {
    let rig = Rig::new(1);
    let txn = rig.open();
    assert_eq!(txn.durable(), Generation(1));
    let root = txn.root();
    assert!(root.clean);
    assert_eq!((root.inodes, root.incarnation), (1, [7; 16]));
    txn.close().unwrap();
}

#[test]
fn reads_see_the_newest_change_wherever_it_is() {
    let rig = Rig::new(1);
    let txn = rig.open();
    for n in 0..4 {
        set(&txn, inode(n), b"stored");
    }
    txn.commit_wait().unwrap();
    let pause = rig.store.faults.pause_changes();
    set(&txn, inode(1), b"closing");
    txn.begin().unwrap().delete(inode(2));
    let asked = commit(&txn);
    until(|| txn.begin().unwrap().group() == 4);
    set(&txn, inode(3), b"open");
    set(&txn, inode(2), b"again");
    let seen = |n| txn.get(&inode(n)).unwrap();
    let expected = [
        Some(b"stored".to_vec()),
        Some(b"closing".to_vec()),
        Some(b"again".to_vec()),
        Some(b"open".to_vec()),
        None,
    ];
    let check = || {
        for (n, value) in (0..).zip(&expected) {
            assert_eq!(&seen(n), value);
            assert_eq!(&txn.begin().unwrap().get(&inode(n)).unwrap(), value);
        }
        let keys: Vec<Key> = (0..5).map(inode).collect();
        assert_eq!(txn.multi_get(&keys).unwrap(), expected);
    };
    check();
    drop(pause);
    assert_eq!(arrived(&asked).unwrap(), Generation(3));
    check();
    txn.commit_wait().unwrap();
    check();
    txn.close().unwrap();
}

#[test]
fn waiters_of_one_group_share_a_commit_and_later_ones_get_the_next() {
    let rig = Rig::new(1);
    let txn = rig.open();
    let pause = rig.store.faults.pause_changes();
    set(&txn, inode(1), b"a");
    let first = [commit(&txn), commit(&txn)];
    until(|| txn.begin().unwrap().group() == 3);
    // Nothing new yet: this waits for the group that is being written.
    let same = commit(&txn);
    set(&txn, inode(2), b"b");
    let second = [commit(&txn), commit(&txn), after(&txn, 3)];
    let before = rig.store.faults.calls(Call::Change);
    drop(pause);
    for rx in first.iter().chain([&same]) {
        assert_eq!(arrived(rx).unwrap(), Generation(2));
    }
    for rx in &second {
        assert_eq!(arrived(rx).unwrap(), Generation(3));
    }
    let writes = rig.store.faults.calls(Call::Change) - before;
    assert!(writes <= 2, "{writes} writes");
    // Nothing is pending: known at once.
    assert_eq!(arrived(&commit(&txn)).unwrap(), Generation(3));
    assert_eq!(arrived(&after(&txn, 1)).unwrap(), Generation(3));
    txn.close().unwrap();
}

#[test]
fn after_does_not_ask() {
    let rig = Rig::new(1);
    let txn = rig.open();
    set(&txn, inode(1), b"a");
    let told = after(&txn, 2);
    assert!(told.try_recv().is_err());
    assert_eq!(txn.durable(), Generation(1));
    txn.commit_wait().unwrap();
    assert_eq!(arrived(&told).unwrap(), Generation(2));
    txn.close().unwrap();
}

/// A clock that goes on by six seconds whenever somebody looks.
struct Hurried(AtomicU64, Instant);

impl Clock for Hurried {
    fn now(&self) -> Timestamp {
        Timestamp::default()
    }

    fn monotonic(&self) -> Instant {
        let looks = self.0.fetch_add(1, Ordering::Relaxed);
        self.1 + std::time::Duration::from_secs(6 * looks)
    }
}

/// A group must close by its age with nobody waiting: the committer slept for ever when the first
/// change came into an empty group, because only commits woke it.
#[test]
fn a_group_closes_by_its_age() {
    let rig = Rig::new(1);
    let clock = Arc::new(Hurried(AtomicU64::new(0), Instant::now()));
    let txn = Txn::open(rig.records(), clock, Box::new(|_| ())).unwrap();
    until(|| txn.state.lock().asleep);
    set(&txn, inode(1), b"a");
    assert_eq!(arrived(&after(&txn, 2)).unwrap(), Generation(2));
    // It is awake still, and looks by itself.
    set(&txn, inode(2), b"a");
    assert_eq!(arrived(&after(&txn, 3)).unwrap(), Generation(3));
    txn.close().unwrap();
}

#[test]
fn a_group_closes_by_its_size() {
    let rig = Rig::new(1);
    let txn = rig.open();
    let pause = rig.store.faults.pause_changes();
    let piece = vec![1; 1 << 20];
    let fill = |first: u32| {
        for n in 0..=(GROUP_BYTES >> 20).try_into().unwrap() {
            set(&txn, inode(first + n), &piece);
        }
    };
    let told = after(&txn, 2);
    assert!(!txn.is_congested());
    fill(0);
    until(|| txn.begin().unwrap().group() == 3);
    assert!(!txn.is_congested());
    fill(100);
    assert!(txn.is_congested());
    drop(pause);
    assert_eq!(arrived(&told).unwrap(), Generation(2));
    txn.commit_wait().unwrap();
    assert!(!txn.is_congested());
    txn.close().unwrap();
}

/// An fsync of a new file waited for ever when the file was removed before the group was closed: the
/// group was empty again, and an empty group was not committed.
#[test]
fn a_group_whose_changes_were_taken_back_answers_its_waiters() {
    let rig = Rig::new(1);
    let txn = rig.open();
    {
        // The committer cannot close the group in between.
        let mut op = txn.begin().unwrap();
        op.put_new(inode(1), b"a".to_vec());
        op.delete(inode(1));
    }
    let told = after(&txn, 2);
    assert_eq!(txn.commit_wait().unwrap(), Generation(2));
    assert_eq!(arrived(&told).unwrap(), Generation(2));
    txn.close().unwrap();
}

#[test]
fn an_operation_without_changes_makes_no_group() {
    let rig = Rig::new(1);
    let txn = rig.open();
    let before = rig.store.faults.calls(Call::Change);
    drop(txn.begin().unwrap().get(&inode(1)).unwrap());
    assert_eq!(txn.commit_wait().unwrap(), Generation(1));
    assert_eq!(rig.store.faults.calls(Call::Change), before);
    txn.close().unwrap();
}

#[test]
fn nobody_sees_half_of_an_operation() {
    let rig = Rig::new(1);
    let txn = rig.open();
    set(&txn, inode(0), b"x");
    let reader = {
        let mut op = txn.begin().unwrap();
        op.delete(inode(0));
        let t = Arc::clone(&txn);
        let reader = std::thread::spawn(move || {
            let keys = [inode(0), inode(1)];
            t.multi_get(&keys).unwrap()
        });
        op.put_new(inode(1), b"x".to_vec());
        reader
    };
    let found = reader.join().unwrap();
    assert_eq!(found.iter().flatten().count(), 1, "{found:?}");
    txn.close().unwrap();
}

#[test]
fn an_operation_that_only_reads_yet_keeps_no_reader_waiting() {
    let rig = Rig::new(1);
    let txn = rig.open();
    let op = txn.begin().unwrap();
    let t = Arc::clone(&txn);
    let (tx, rx) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || tx.send(t.get(&inode(1)).unwrap()));
    assert_eq!(rx.recv_timeout(PATIENCE).unwrap(), None);
    drop(op);
    reader.join().unwrap().unwrap();
    txn.close().unwrap();
}

#[test]
fn closing_commits_everything_with_a_signed_clean_root() {
    let rig = Rig::new(1);
    let txn = rig.open();
    set(&txn, inode(1), b"a");
    txn.commit_wait().unwrap();
    let root = rig.open_root();
    assert!(!root.clean && root.signature.is_none());
    set(&txn, inode(2), b"b");
    txn.close().unwrap();
    let root = rig.open_root();
    assert!(root.clean && root.signature.is_some());
    assert_eq!(root.generation, Generation(3));
    assert!(matches!(txn.begin().map(drop), Err(TxnError::Closed)));
    assert!(matches!(arrived(&commit(&txn)), Err(TxnError::Closed)));
    assert!(matches!(arrived(&after(&txn, 9)), Err(TxnError::Closed)));
    let txn = rig.open();
    assert_eq!(contents(&txn).len(), 2);
    txn.close().unwrap();
}

impl Rig {
    fn open_root(&self) -> crate::format::root::Root {
        let record = self.records().get(&Key::root()).unwrap().unwrap();
        crate::format::root::Root::decode(&record.payload).unwrap()
    }
}

#[test]
fn roots_are_a_chain_across_reopenings() {
    let rig = Rig::new(1);
    let mut hashes = Vec::new();
    let note = |hashes: &mut Vec<_>| {
        let records = rig.records();
        let sealed = records.get_sealed(&Key::root()).unwrap().unwrap();
        let root = rig.open_root();
        if let Some(last) = hashes.last() {
            assert_eq!(root.prev_root_hash, *last, "{}", root.generation);
        }
        hashes.push(records.term(&Key::root(), &sealed));
    };
    note(&mut hashes);
    for n in 0..3 {
        let txn = rig.open();
        set(&txn, inode(n), b"a");
        txn.commit_wait().unwrap();
        note(&mut hashes);
        txn.close().unwrap();
        note(&mut hashes);
    }
}

#[test]
fn a_forged_signature_is_refused() {
    let rig = Rig::new(1);
    let records = rig.records();
    let mut root = rig.open_root();
    let signature = root.signature.as_mut().unwrap();
    signature[10] ^= 1;
    let forged = records
        .seal(&Key::root(), root.generation, &root.encode())
        .unwrap();
    let mut batch = crate::sealed::Batch::default();
    batch.put(&Key::root(), forged);
    records.write(batch).unwrap();
    assert!(matches!(
        rig.try_open().map(drop),
        Err(TxnError::RootSignature)
    ));
}

#[test]
fn a_store_without_a_root_is_refused() {
    let rig = Rig::new(1);
    let root = Key::root().as_bytes().to_vec();
    let gone = crate::kv::Change::Delete(crate::kv::Family::Meta, root);
    rig.store.kv.write(vec![gone], true).unwrap();
    assert!(matches!(rig.try_open().map(drop), Err(TxnError::NoRoot)));
}

#[test]
fn with_the_keys_of_a_reader_nothing_is_written() {
    let rig = Rig::new(1);
    let txn = rig.open();
    set(&txn, inode(1), b"a");
    txn.close().unwrap();
    let reader = Keyset::for_tests_with(1, Role::Ro, Arc::new(crate::base::OsRng));
    let kv: Arc<dyn Kv> = Arc::<crate::kv::faulty::FaultyKv>::clone(&rig.store.kv);
    let records = Records::new(kv, Arc::new(reader));
    let before = rig.store.faults.calls(Call::Change);
    let txn = Txn::open(records, Arc::new(SystemClock), Box::new(|_| ())).unwrap();
    assert_eq!(contents(&txn).len(), 1);
    assert!(matches!(txn.begin().map(drop), Err(TxnError::ReadOnly)));
    until(|| txn.is_verified());
    txn.close().unwrap();
    assert_eq!(rig.store.faults.calls(Call::Change), before);
}

#[test]
fn the_world_learns_a_generation_before_those_who_wait_for_it() {
    let rig = Rig::new(1);
    let (tx, rx) = std::sync::mpsc::channel();
    let tx = std::sync::Mutex::new(tx);
    let told = move |g| tx.lock().unwrap().send(g).unwrap();
    let txn = Txn::open(rig.records(), Arc::new(SystemClock), Box::new(told)).unwrap();
    set(&txn, inode(1), b"a");
    let durable = txn.commit_wait().unwrap();
    assert_eq!(rx.try_recv().unwrap(), durable);
    txn.close().unwrap();
}

#[test]
fn pins_keep_what_died_after_them() {
    let rig = Rig::new(1);
    let txn = rig.open();
    // The scan reads too, and so has a pin of its own.
    until(|| txn.is_verified());
    let early = txn.pin();
    set(&txn, inode(1), b"a");
    assert!(!txn.is_unreachable(2), "not durable");
    txn.commit_wait().unwrap();
    assert!(!txn.is_unreachable(2), "a reader from before");
    assert!(txn.is_unreachable(1));
    let late = txn.pin();
    let twin = txn.pin();
    drop(early);
    assert!(txn.is_unreachable(2));
    set(&txn, inode(1), b"b");
    txn.commit_wait().unwrap();
    assert!(!txn.is_unreachable(3));
    drop(late);
    assert!(!txn.is_unreachable(3));
    drop(twin);
    assert!(txn.is_unreachable(3));
    assert!(
        !txn.is_unreachable(4),
        "nobody reads, but it is not durable"
    );
    txn.close().unwrap();
}

#[test]
fn opened_for_reading_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let open = |access| -> Arc<dyn Kv> {
        Arc::new(crate::kv::rocks::Rocks::open(dir.path(), access).unwrap())
    };
    let keyset = Arc::new(Keyset::for_tests(1));
    let clock = || Arc::new(SystemClock);
    let records = Records::new(open(crate::kv::Access::Create), Arc::clone(&keyset));
    Txn::create(records, clock(), [1; 16], |op| {
        op.put_new(inode(1), b"a".to_vec());
    })
    .unwrap();
    let records = Records::new(open(crate::kv::Access::ReadOnly), keyset);
    let txn = Txn::open(records, clock(), Box::new(|_| ())).unwrap();
    assert_eq!(contents(&txn).len(), 1);
    assert!(matches!(txn.begin().map(drop), Err(TxnError::ReadOnly)));
    txn.close().unwrap();
    assert!(!txn.is_poisoned());
}

#[test]
fn the_store_is_flushed_at_rest_after_many_records() {
    let rig = Rig::new(1);
    let txn = rig.open();
    let flushes = || rig.store.kv.flushes_begun.load(Ordering::Relaxed);
    for first in [0, 3000] {
        let mut op = txn.begin().unwrap();
        (first..first + 3000).for_each(|n| op.put(inode(n), b"a".to_vec()));
        drop(op);
        txn.commit_wait().unwrap();
        assert_eq!(flushes(), 0);
    }
    until(|| txn.state.lock().asleep);
    assert_eq!(flushes(), 1);
    txn.close().unwrap();
}
