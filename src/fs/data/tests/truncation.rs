//! Truncation and the removal of data in steps.

use super::{R, blocks, noise, pages, stored, truncate};
use crate::base::{Ino, PAGE_BYTES};
use crate::fs::tests::{CHUNK, Volume, wait};
use crate::kv::faulty::Call;

/// Cuts a file at `size`, grows it again, and checks that nothing of the cut part comes back.
fn cut_and_grow(v: &Volume, f: Ino, expected: &[u8], size: usize) {
    truncate(v, f, size as u64).unwrap();
    assert_eq!(v.getattr(f).unwrap().size_bytes, size as u64);
    assert!(v.contents(f) == expected[..size], "cut at {size}");
    truncate(v, f, expected.len() as u64).unwrap();
    let mut grown = expected[..size].to_vec();
    grown.resize(expected.len(), 0);
    assert!(v.contents(f) == grown, "grown from {size}");
    v.sync(f).unwrap();
    assert!(v.contents(f) == grown, "synced after {size}");
}

#[test]
fn what_is_cut_never_comes_back() {
    let sizes = [
        0,
        1,
        5000,
        PAGE_BYTES,
        CHUNK - 1,
        CHUNK,
        CHUNK + 1,
        2 * CHUNK + 5000,
    ];
    for (n, size) in sizes.into_iter().enumerate() {
        let mut v = Volume::new();
        let data = noise(n as u64, 3 * CHUNK - 100);
        let f = stored(&v, b"stored", &data);
        cut_and_grow(&v, f, &data, size);
        let g = v.file(R, b"dirty");
        v.write_at(g, 0, &data).unwrap();
        cut_and_grow(&v, g, &data, size);
        // Pages over blocks.
        let h = stored(&v, b"mixed", &data);
        let mut mixed = data;
        for at in [100, CHUNK + 100, 2 * CHUNK + 100] {
            mixed[at..at + 50].fill(7);
            v.write_at(h, at as u64, &[7; 50]).unwrap();
        }
        v.sync(h).unwrap();
        cut_and_grow(&v, h, &mixed, size);
        let before = v.contents(h);
        v.crash();
        assert_eq!(v.contents(h), before);
    }
}

#[test]
fn truncation_gives_space_back() {
    let v = Volume::new();
    let f = stored(&v, b"f", &noise(1, 10 * CHUNK));
    assert_eq!(
        v.core.txn.root().used_pages,
        10 * (CHUNK / PAGE_BYTES) as u64
    );
    truncate(&v, f, CHUNK as u64 + 1).unwrap();
    v.sync(f).unwrap();
    assert_eq!(
        v.core.txn.root().used_pages,
        (CHUNK / PAGE_BYTES) as u64 + 1
    );
    assert_eq!((blocks(&v), pages(&v)), (1, 1));
    truncate(&v, f, 0).unwrap();
    v.sync(f).unwrap();
    assert_eq!(v.core.txn.root().used_pages, 0);
    assert_eq!((blocks(&v), pages(&v)), (0, 0));
}

/// A file of more extent groups than one step removes.
#[test]
fn a_long_cut_is_seen_at_once_and_survives_a_crash() {
    let mut v = Volume::new();
    let f = v.file(R, b"f");
    // One chunk in each of twelve groups.
    let group = (64 * CHUNK) as u64;
    for n in 0..12 {
        v.write_at(f, n * group, &noise(n, CHUNK)).unwrap();
    }
    v.sync(f).unwrap();
    assert_eq!(blocks(&v), 12);
    truncate(&v, f, group + 100).unwrap();
    truncate(&v, f, 12 * group).unwrap();
    for n in 2..12 {
        assert_eq!(v.read_at(f, n * group, 10), [0; 10]);
    }
    v.write_at(f, 5 * group, b"new").unwrap();
    v.core.txn.commit_wait().unwrap();
    v.crash();
    let size = v.getattr(f).unwrap().size_bytes;
    assert!([group + 100, 12 * group].contains(&size), "{size}");
    assert_eq!(v.read_at(f, group, 100), noise(1, CHUNK)[..100]);
    truncate(&v, f, 12 * group).unwrap();
    for n in 2..12 {
        assert_eq!(v.read_at(f, n * group, 10), [0; 10]);
    }
    v.write_at(f, 5 * group, b"new").unwrap();
    // An fsync comes after the end of the cut.
    v.sync(f).unwrap();
    assert_eq!((blocks(&v), pages(&v)), (1, 2));
    assert_eq!(v.read_at(f, 5 * group, 5), b"new\0\0");
}

#[test]
fn a_long_file_is_removed_in_steps() {
    let v = Volume::new();
    let f = v.file(R, b"f");
    for n in 0..12 {
        v.write_at(f, n * (64 * CHUNK) as u64, &noise(n, CHUNK))
            .unwrap();
    }
    v.sync(f).unwrap();
    v.unlink(R, b"f").unwrap();
    v.forget(f, 1);
    // The background goes on; each commit shows how far.
    while v.inodes() > 1 {
        v.core.txn.commit_wait().unwrap();
    }
    v.sync(R).unwrap();
    assert_eq!((blocks(&v), v.core.txn.root().used_pages), (0, 0));
}

#[test]
fn punched_and_zeroed_ranges_read_as_zeros() {
    let mut v = Volume::new();
    let data = noise(4, 4 * CHUNK);
    let f = stored(&v, b"f", &data);
    let punch = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    let zero = libc::FALLOC_FL_ZERO_RANGE;
    let keep = libc::FALLOC_FL_KEEP_SIZE;
    let apply = |v: &Volume, at: usize, len: usize, mode| {
        let (at, len) = (at as u64, len as u64);
        wait(|done| v.fallocate(crate::fs::tests::ROOT, f, at, len, mode, done))
    };
    apply(&v, 100, 50, punch).unwrap();
    apply(&v, CHUNK - 10, CHUNK + 20, zero).unwrap();
    apply(&v, 4 * CHUNK - 5, CHUNK, punch).unwrap();
    apply(&v, 0, 10 * CHUNK, keep).unwrap();
    let mut expected = data;
    expected[100..150].fill(0);
    expected[CHUNK - 10..2 * CHUNK + 10].fill(0);
    expected[4 * CHUNK - 5..].fill(0);
    assert!(v.contents(f) == expected);
    v.sync(f).unwrap();
    v.reopen();
    assert!(v.contents(f) == expected);
    apply(&v, 4 * CHUNK, 10, 0).unwrap();
    assert_eq!(v.getattr(f).unwrap().size_bytes, 4 * CHUNK as u64 + 10);
    use crate::fs::FsError;
    let collapse = libc::FALLOC_FL_COLLAPSE_RANGE;
    assert!(matches!(
        apply(&v, 0, CHUNK, collapse),
        Err(FsError::NotSupported)
    ));
    let alone = libc::FALLOC_FL_PUNCH_HOLE;
    assert!(matches!(
        apply(&v, 0, CHUNK, alone),
        Err(FsError::NotSupported)
    ));
    assert!(matches!(apply(&v, 0, 0, 0), Err(FsError::Invalid)));
}

/// Symptom: cutting or removing a file of which one page could not be read made the whole volume
/// read-only, and again at every mount, for what a crash has left is removed then. The pages of a chunk
/// were looked for when those of the chunk before were gone already.
#[test]
fn a_cut_that_cannot_read_changes_nothing() {
    for remove in [false, true] {
        for n in 0.. {
            let mut v = Volume::faulty(n);
            let data = noise(n, 4 * CHUNK);
            let f = stored(&v, b"f", &data);
            for chunk in 0..4 {
                v.write_at(f, (chunk * CHUNK) as u64, b"x").unwrap();
            }
            v.sync(f).unwrap();
            v.reopen();
            while !v.core.txn.is_verified() {
                std::thread::yield_now();
            }
            let faults = v.faults().unwrap();
            faults.fail_call(Call::Read, n);
            let ended = match remove {
                true => v.unlink(R, b"f").inspect(|()| v.forget(f, 1)),
                false => truncate(&v, f, 100),
            };
            let has_failed = faults.hit().is_some();
            faults.cancel();
            assert!(!v.core.txn.is_poisoned(), "read {n}");
            if ended.is_err() {
                assert_eq!(v.contents(f).len(), data.len());
            }
            v.file(R, b"g");
            v.sync(R).unwrap();
            if !has_failed {
                assert!(n > 8, "chunks are looked at");
                break;
            }
        }
    }
}
