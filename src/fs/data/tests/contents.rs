//! Writing and reading back.

use std::thread::ScopedJoinHandle;

use super::{R, blocks, noise, pages, stored};
use crate::base::PAGE_BYTES;
use crate::base::sync::{AtomicBool, Ordering};
use crate::fs::FsError;
use crate::fs::tests::{CHUNK, Volume};

#[test]
fn reads_agree_at_every_alignment() {
    let mut v = Volume::new();
    let data = noise(1, 3 * CHUNK + 5000);
    let f = stored(&v, b"f", &data);
    // Dirty pages over blocks, over pages, and at the end.
    let mut expected = data;
    for (at, len) in [
        (10, 20),
        (CHUNK - 7, 14),
        (2 * CHUNK, PAGE_BYTES),
        (3 * CHUNK + 4990, 300),
    ] {
        let piece = noise(at as u64, len);
        v.write_at(f, at as u64, &piece).unwrap();
        expected.resize(expected.len().max(at + len), 0);
        expected[at..at + len].copy_from_slice(&piece);
    }
    let check = |v: &Volume| {
        let borders = [
            0,
            1,
            20,
            PAGE_BYTES,
            CHUNK - 7,
            CHUNK,
            2 * CHUNK + 1,
            3 * CHUNK,
        ];
        for from in borders {
            for len in [1, PAGE_BYTES, CHUNK, 2 * CHUNK + 77, 4 * CHUNK] {
                let end = (from + len).min(expected.len());
                let read = v.read_at(f, from as u64, u32::try_from(len).unwrap());
                assert!(read == expected[from..end], "{from}+{len}");
            }
        }
        assert_eq!(v.read_at(f, expected.len() as u64, 10), b"");
        assert_eq!(v.read_at(f, u64::MAX, 10), b"");
    };
    check(&v);
    v.sync(f).unwrap();
    check(&v);
    v.reopen();
    check(&v);
}

#[test]
fn a_hole_reads_as_zeros_and_costs_nothing() {
    let v = Volume::new();
    let f = v.file(R, b"f");
    let far = 1_u64 << 40;
    v.write_at(f, far, b"end").unwrap();
    v.write_at(f, 0, &vec![0; 2 * CHUNK]).unwrap();
    v.sync(f).unwrap();
    let attr = v.getattr(f).unwrap();
    assert_eq!((attr.size_bytes, attr.blocks_512), (far + 3, 4 * 8));
    assert_eq!((blocks(&v), pages(&v)), (0, 1));
    assert_eq!(v.read_at(f, far - 5, 100), b"\0\0\0\0\0end");
    assert!(v.read_at(f, 0, 100_000).iter().all(|b| *b == 0));
    // Zeros over a block give it back.
    v.write_at(f, 0, &noise(1, CHUNK)).unwrap();
    v.sync(f).unwrap();
    assert_eq!(blocks(&v), 1);
    v.write_at(f, 0, &vec![0; CHUNK]).unwrap();
    v.sync(f).unwrap();
    assert_eq!(blocks(&v), 0);
}

#[test]
fn equal_chunks_are_stored_once() {
    let v = Volume::new();
    let chunk = noise(9, CHUNK);
    let f = stored(&v, b"f", &chunk.repeat(5));
    let g = stored(&v, b"g", &chunk);
    assert_eq!(blocks(&v), 1);
    assert_eq!(v.contents(f), chunk.repeat(5));
    v.unlink(R, b"f").unwrap();
    v.forget(f, 1);
    v.sync(R).unwrap();
    assert_eq!(blocks(&v), 1);
    assert_eq!(v.contents(g), chunk);
    v.unlink(R, b"g").unwrap();
    v.forget(g, 1);
    v.sync(R).unwrap();
    assert_eq!(blocks(&v), 0);
}

#[test]
fn a_small_file_stays_a_page() {
    let v = Volume::new();
    let f = stored(&v, b"f", b"hello");
    assert_eq!((blocks(&v), pages(&v)), (0, 1));
    for n in 0..10_u8 {
        v.write_at(f, 0, &[n; 4096]).unwrap();
        v.sync(f).unwrap();
    }
    assert_eq!((blocks(&v), pages(&v)), (0, 1));
}

#[test]
fn a_file_ends_below_the_limit() {
    let v = Volume::new();
    let f = v.file(R, b"f");
    let last = (1_u64 << 63) - 2;
    v.write_at(f, last, b"x").unwrap();
    assert_eq!(v.getattr(f).unwrap().size_bytes, last + 1);
    assert_eq!(v.read_at(f, last - 1, 10), b"\0x");
    assert!(matches!(v.write_at(f, last, b"xy"), Err(FsError::TooLarge)));
    assert!(matches!(
        v.write_at(f, u64::MAX, b"xy"),
        Err(FsError::TooLarge)
    ));
    v.sync(f).unwrap();
    assert_eq!(v.read_at(f, last, 10), b"x");
}

/// A reader looks at extents, pages and blocks one after the other, while a flush changes them
/// together and a write replaces blocks that are still dirty: it must see each page whole, never one
/// older than it has seen before, and no error.
#[test]
fn readers_see_pages_whole_and_never_older_ones() {
    let v = Volume::new();
    let f = stored(&v, b"f", &[1; 4 * CHUNK]);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = || {
            let mut newest = [1; 4 * CHUNK / PAGE_BYTES];
            while !stop.load(Ordering::Acquire) {
                for (n, newest) in newest.iter_mut().enumerate() {
                    let page = v.read_at(f, (n * PAGE_BYTES) as u64, 4096);
                    assert!(page.iter().all(|b| *b == page[0]), "page {n} is torn");
                    assert!(page[0] >= *newest, "page {n} is older than before");
                    *newest = page[0];
                }
            }
        };
        let readers = [scope.spawn(reader), scope.spawn(reader)];
        for byte in 2..=250_u8 {
            let page = usize::from(byte) % 16 * PAGE_BYTES;
            v.write_at(f, page as u64, &[byte; PAGE_BYTES]).unwrap();
            v.sync(f).unwrap();
            if byte % 3 == 0 {
                v.write_at(f, 0, &vec![byte; 4 * CHUNK]).unwrap();
            }
            if readers.iter().any(ScopedJoinHandle::is_finished) {
                break;
            }
        }
        stop.store(true, Ordering::Release);
    });
}
