//! Fold: pages that are cold, or many, become blocks.

use super::{R, blocks, noise, pages, stored};
use crate::base::PAGE_BYTES;
use crate::fs::tests::{CHUNK, Volume};

/// Folds what is due, and commits it.
fn fold(v: &Volume) {
    v.data.fold_step();
    v.core.txn.commit_wait().unwrap();
    crate::fs::tests::wait(|done| v.sync_all(done)).unwrap();
}

#[test]
fn cold_pages_become_a_block() {
    let mut v = Volume::new();
    let mut data = noise(1, 2 * CHUNK);
    let f = stored(&v, b"f", &data);
    v.write_at(f, 100, b"overwritten").unwrap();
    data[100..111].copy_from_slice(b"overwritten");
    v.sync(f).unwrap();
    assert_eq!((blocks(&v), pages(&v)), (2, 1));
    fold(&v);
    assert_eq!(pages(&v), 1, "a warm page stays");
    v.clock.advance(31);
    fold(&v);
    assert_eq!((blocks(&v), pages(&v)), (2, 0));
    assert!(v.contents(f) == data);
    v.crash();
    assert!(v.contents(f) == data);
}

#[test]
fn many_pages_become_a_block_at_once() {
    let v = Volume::new();
    let data = noise(2, CHUNK);
    let f = stored(&v, b"f", &data);
    for page in 0..2 {
        v.write_at(f, (page * PAGE_BYTES) as u64, &[3; PAGE_BYTES])
            .unwrap();
        v.sync(f).unwrap();
    }
    assert_eq!(pages(&v), 2);
    fold(&v);
    assert_eq!((blocks(&v), pages(&v)), (1, 0));
    let mut expected = data;
    expected[..2 * PAGE_BYTES].fill(3);
    assert!(v.contents(f) == expected);
}

#[test]
fn one_page_is_never_folded_and_a_dirty_chunk_waits() {
    let v = Volume::new();
    stored(&v, b"small", &[1; 4096]);
    let f = stored(&v, b"f", &noise(3, CHUNK));
    v.write_at(f, 0, b"x").unwrap();
    v.sync(f).unwrap();
    v.write_at(f, 1, b"y").unwrap();
    v.clock.advance(31);
    v.data.fold_step();
    assert!(v.data.is_dirty(f));
    assert_eq!(v.read_at(f, 0, 2), b"xy");
    crate::fs::tests::wait(|done| v.sync_all(done)).unwrap();
    assert_eq!((blocks(&v), pages(&v)), (1, 2));
}

/// Pages of earlier mounts are found without anybody naming their file.
#[test]
fn pages_left_by_an_earlier_mount_are_folded() {
    let mut v = Volume::new();
    let mut data = noise(4, 2 * CHUNK);
    let f = stored(&v, b"f", &data);
    v.write_at(f, CHUNK as u64, b"late").unwrap();
    data[CHUNK..CHUNK + 4].copy_from_slice(b"late");
    v.sync(f).unwrap();
    v.reopen();
    assert_eq!(pages(&v), 1);
    v.data.fold_step();
    v.clock.advance(31);
    fold(&v);
    assert_eq!(pages(&v), 0);
    assert!(v.contents(f) == data);
}

#[test]
fn removed_files_are_not_folded() {
    let v = Volume::new();
    let f = stored(&v, b"f", &noise(5, CHUNK));
    v.write_at(f, 0, b"x").unwrap();
    v.sync(f).unwrap();
    v.unlink(R, b"f").unwrap();
    v.clock.advance(31);
    fold(&v);
    assert_eq!(v.read_at(f, 0, 1), b"x");
    v.forget(f, 1);
    fold(&v);
    assert_eq!((blocks(&v), pages(&v), v.inodes()), (0, 0, 1));
}
