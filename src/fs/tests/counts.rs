//! How much each operation costs in the store: reads, scans, and changes of its commit.
//!
//! The numbers are exact, so that a change shows. Every batch holds the root record.

use super::{Volume, wait};
use crate::base::Ino;
use crate::fs::{SetAttr, SetTime};

const R: Ino = Ino::ROOT;

/// A volume with a directory `d`, a small file `f` in it, all committed; counters at zero.
fn prepared() -> (Volume, Ino, Ino) {
    prepared_with(4096)
}

/// The same with a file of `len` bytes.
fn prepared_with(len: usize) -> (Volume, Ino, Ino) {
    let v = Volume::new();
    let d = v.dir(R, b"d");
    let f = v.file(d, b"f");
    v.write_at(f, 0, &vec![1; len]).unwrap();
    wait(|done| v.sync_all(done)).unwrap();
    await_scan(&v);
    v.store().take_counts();
    (v, d, f)
}

/// Waits for the scan that verifies the digests: it reads, too.
fn await_scan(v: &Volume) {
    while !v.core.txn.is_verified() {
        std::thread::yield_now();
    }
}

/// Returns gets, scans and changes of an operation and its commit.
fn cost(v: &Volume) -> (u64, u64, u64) {
    v.core.txn.commit_wait().unwrap();
    let [gets, scans, changes, batches] = v.store().take_counts();
    assert_eq!(batches, 1);
    (gets, scans, changes)
}

#[test]
fn create_reads_only_the_name() {
    let (v, d, _) = prepared();
    v.file(d, b"new");
    // Inode, entry, parent.
    assert_eq!(cost(&v), (1, 0, 3 + 1));
}

#[test]
fn lookup_reads_only_the_name() {
    let (v, d, _) = prepared();
    v.lookup(d, b"f").unwrap();
    assert_eq!(v.store().take_counts(), [1, 0, 0, 0]);
    assert!(v.lookup(d, b"none").is_err());
    assert_eq!(v.store().take_counts(), [1, 0, 0, 0]);
}

#[test]
fn rename_in_a_directory_changes_two_names() {
    let (v, d, _) = prepared();
    v.mv((d, b"f"), (d, b"g"), 0).unwrap();
    // Both entries, parent, inode.
    assert_eq!(cost(&v), (2, 0, 4 + 1));
}

#[test]
fn unlink_of_a_held_file_leaves_an_orphan() {
    let (v, d, _) = prepared();
    v.unlink(d, b"f").unwrap();
    // Entry, parent, inode, orphan.
    assert_eq!(cost(&v), (1, 0, 4 + 1));
}

#[test]
fn a_small_overwrite_puts_page_and_inode() {
    let (v, _, f) = prepared();
    v.write_at(f, 0, &[2; 4096]).unwrap();
    v.sync(f).unwrap();
    assert_eq!(v.store().take_counts(), [0, 0, 2 + 1, 1]);
}

/// The first page over a block marks its chunk in the extents; the next ones find the mark.
#[test]
fn a_small_overwrite_of_a_block_puts_the_extents_once() {
    let (v, _, f) = prepared_with(2 * super::volume::CHUNK);
    for extents in [1, 0, 0] {
        v.write_at(f, 4096, &[2 + extents; 4096]).unwrap();
        v.sync(f).unwrap();
        let [_, _, changes, batches] = v.store().take_counts();
        assert_eq!((changes, batches), (2 + u64::from(extents) + 1, 1));
    }
}

#[test]
fn an_append_puts_page_and_inode() {
    let (v, _, f) = prepared();
    v.write_at(f, 4096, &[2; 100]).unwrap();
    v.sync(f).unwrap();
    assert_eq!(v.store().take_counts(), [0, 0, 2 + 1, 1]);
}

#[test]
fn an_fsync_of_nothing_writes_nothing() {
    let (v, _, f) = prepared();
    v.sync(f).unwrap();
    assert_eq!(v.store().take_counts(), [0; 4]);
}

#[test]
fn setting_times_puts_the_inode() {
    let (v, _, f) = prepared();
    let set = SetAttr {
        mtime: Some(SetTime::Now),
        ..Default::default()
    };
    v.set(super::ROOT, f, set).unwrap();
    assert_eq!(cost(&v), (0, 0, 1 + 1));
}

#[test]
fn readdirplus_scans_once_and_reads_each_inode_at_most_once() {
    let mut v = Volume::new();
    let d = v.dir(R, b"d");
    for n in 0..20_u8 {
        v.file(d, &[b'a' + n]);
    }
    v.reopen();
    await_scan(&v);
    let list = || {
        v.store().take_counts();
        v.readdirplus(d, 2, &mut |_, _| true).unwrap();
        let [gets, scans, ..] = v.store().take_counts();
        (gets, scans)
    };
    // The directory and twenty files; then all are in the cache.
    assert_eq!(list(), (21, 1));
    assert_eq!(list(), (0, 1));
}
