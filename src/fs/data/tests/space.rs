//! Quota and the bound of dirty data.

use super::{R, noise, stored, truncate};
use crate::fs::tests::{CHUNK, ROOT, Setup, Volume, wait};
use crate::fs::{FsError, WriteFlags};

fn with_quota(bytes: usize) -> Volume {
    Volume::with(Setup {
        quota_bytes: Some(bytes as u64),
        ..Default::default()
    })
}

#[test]
fn a_write_beyond_the_quota_is_refused_at_once() {
    let mut v = with_quota(8 * CHUNK);
    let f = stored(&v, b"f", &noise(1, 6 * CHUNK));
    let g = v.file(R, b"g");
    assert!(matches!(
        v.write_at(g, 0, &noise(2, 3 * CHUNK)),
        Err(FsError::Quota)
    ));
    truncate(&v, g, 0).unwrap();
    // Overwriting needs no more room, and holes need none.
    v.write_at(f, 0, &noise(3, 6 * CHUNK)).unwrap();
    truncate(&v, g, 1 << 40).unwrap();
    v.sync(f).unwrap();
    assert_eq!(v.statfs().unwrap().free_blocks, 8);
    v.write_at(g, 0, &noise(2, 2 * CHUNK)).unwrap();
    assert!(matches!(v.write_at(g, 1 << 30, b"x"), Err(FsError::Quota)));
    v.sync(g).unwrap();
    assert_eq!(v.statfs().unwrap().free_blocks, 0);
    v.reopen();
    assert!(matches!(v.write_at(g, 1 << 30, b"x"), Err(FsError::Quota)));
    v.unlink(R, b"f").unwrap();
    v.lookup(R, b"g").unwrap();
    v.sync(R).unwrap();
    v.reopen();
    v.write_at(g, 1 << 30, b"x").unwrap();
}

#[test]
fn what_was_reserved_and_not_written_comes_back() {
    let v = with_quota(4 * CHUNK);
    for n in 0..10 {
        let f = v.file(R, b"f");
        v.write_at(f, 0, &noise(n, 4 * CHUNK)).unwrap();
        if n % 2 == 0 {
            truncate(&v, f, 0).unwrap();
            v.write_at(f, 0, &noise(n + 100, 4 * CHUNK)).unwrap();
        }
        v.unlink(R, b"f").unwrap();
        v.forget(f, 1);
    }
    assert_eq!(v.statfs().unwrap().free_blocks, 16);
}

#[test]
fn the_quota_can_be_changed() {
    let v = with_quota(2 * CHUNK);
    let f = stored(&v, b"f", &noise(1, 2 * CHUNK));
    v.set_quota(Some(3 * CHUNK as u64));
    v.write_at(f, 2 * CHUNK as u64, &noise(2, CHUNK)).unwrap();
    v.sync(f).unwrap();
    v.set_quota(Some(CHUNK as u64));
    assert_eq!(v.statfs().unwrap().free_blocks, 0);
    assert!(matches!(v.write_at(f, 1 << 30, b"x"), Err(FsError::Quota)));
    assert_eq!(v.contents(f).len(), 3 * CHUNK);
    v.set_quota(None);
    v.write_at(f, 1 << 30, b"x").unwrap();
}

/// Writers that outrun the disk wait for it, and none is forgotten.
#[test]
fn writers_beyond_the_bound_are_answered_in_the_end() {
    let v = Volume::new();
    let f = v.file(R, b"f");
    let data = noise(7, 8 << 20);
    let (tx, rx) = crossbeam_channel::unbounded();
    for n in 0..24 {
        let tx = tx.clone();
        let mut data = data.clone();
        data[..8].copy_from_slice(&u64::to_le_bytes(n));
        let done = Box::new(move |r: Result<u32, FsError>| tx.send(r).unwrap());
        v.write(ROOT, f, n * (8 << 20), &data, WriteFlags::default(), done);
    }
    for _ in 0..24 {
        let written = rx.recv_timeout(std::time::Duration::from_secs(60)).unwrap();
        assert_eq!(written.unwrap(), 8 << 20);
    }
    wait(|done| v.sync_all(done)).unwrap();
    assert_eq!(v.getattr(f).unwrap().size_bytes, 24 * (8 << 20));
    assert_eq!(v.read_at(f, 23 * (8 << 20), 8), u64::to_le_bytes(23));
}

/// Symptom: small appends passed the quota: room was reserved for the first page of a chunk, and
/// the others came with the growing file.
#[test]
fn a_growing_file_reserves_as_it_grows() {
    let v = with_quota(CHUNK);
    let f = v.file(R, b"f");
    let g = v.file(R, b"g");
    let page = CHUNK as u64 / 4;
    for n in 0..3 {
        v.write_at(f, n * page, &noise(n, 4096)).unwrap();
    }
    v.write_at(g, 0, b"x").unwrap();
    assert!(matches!(v.write_at(g, page, b"x"), Err(FsError::Quota)));
    assert!(matches!(v.write_at(f, 3 * page, b"x"), Err(FsError::Quota)));
    // A chunk counts to the end of the file, as its flush will.
    assert!(matches!(truncate(&v, g, 2 * page), Err(FsError::Quota)));
    wait(|done| v.sync_all(done)).unwrap();
    assert_eq!(v.statfs().unwrap().free_blocks, 0);
    assert_eq!(v.getattr(f).unwrap().size_bytes, 3 * page);
    truncate(&v, f, page).unwrap();
    truncate(&v, g, 2 * page).unwrap();
    v.write_at(g, page, b"x").unwrap();
    wait(|done| v.sync_all(done)).unwrap();
    assert_eq!(v.statfs().unwrap().free_blocks, 1);
}
