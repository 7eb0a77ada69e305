//! Storing, referencing and reading.

use super::{Compression, Rig, noise, prose};
use crate::block::BlockError;
use crate::format::blockref::Encoding;

const CHUNK: usize = 128 << 10;

#[test]
fn the_same_content_is_stored_once_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::in_dir(dir.path());
    let v = rig.open();
    let chunk = noise(1, CHUNK);
    let id = v.put(&chunk);
    let place = v.record(&id).unwrap().place;
    let written = v.blocks.stats().stored_bytes;
    assert_eq!(v.put(&chunk), id);
    v.blocks.share(&mut v.txn.begin().unwrap(), &id).unwrap();
    assert_eq!(v.record(&id).unwrap().refs, 3);
    assert_eq!(v.record(&id).unwrap().place, place);
    assert_eq!(v.blocks.stats().stored_bytes, written);
    assert_eq!(v.blocks.stats().blocks, 1);
    v.release(&id);
    v.release(&id);
    assert_eq!(v.read(&id, CHUNK), chunk);
    v.release(&id);
    assert_eq!(v.record(&id), None);
    assert_eq!(v.blocks.stats().blocks, 0);
    assert_eq!(v.blocks.stats().live_bytes, 0);
    v.audit();
    v.close();
}

#[test]
fn content_in_flight_is_readable_and_stored_once() {
    let dir = tempfile::tempdir().unwrap();
    let v = Rig::in_dir(dir.path()).open();
    let chunk = prose(1, CHUNK);
    let first = v.blocks.store(&chunk).unwrap();
    let bytes = v.blocks.unlanded_bytes();
    let second = v.blocks.store(&chunk).unwrap();
    assert_eq!(v.blocks.unlanded_bytes(), bytes);
    assert!(bytes > 0 && bytes < CHUNK);
    assert!(!v.blocks.is_landed(&first));
    assert!(!v.reference(&first), "a block in flight gets no record");
    assert_eq!(v.read(&first.id(), CHUNK), chunk);
    v.land().unwrap();
    assert!(v.blocks.is_landed(&first) && v.blocks.is_landed(&second));
    assert_eq!(v.blocks.unlanded_bytes(), 0);
    assert_eq!(v.read(&first.id(), CHUNK), chunk);
    assert!(v.reference(&first) && v.reference(&second));
    assert_eq!(v.record(&first.id()).unwrap().refs, 2);
    drop((first, second));
    v.audit();
    v.close();
}

#[test]
fn every_part_of_a_block_can_be_read() {
    for chunk_bytes in [16 << 10, 128 << 10, 1 << 20] {
        let dir = tempfile::tempdir().unwrap();
        let mut rig = Rig::in_dir(dir.path());
        rig.settings.chunk_bytes = chunk_bytes;
        let v = rig.open();
        let whole = usize::try_from(chunk_bytes).unwrap();
        for len in [1, 100, whole / 8, whole / 8 + 1, whole / 2 + 77, whole] {
            let mut chunk = prose(3, len / 2);
            chunk.extend(noise(4, len - len / 2));
            let id = v.put(&chunk);
            chunk.resize(whole, 0);
            assert_eq!(v.read(&id, whole), chunk);
            for from in [0, 1, len / 3, whole / 8 - 1, whole / 8, len - 1, whole - 1] {
                for n in [1, 4096, whole / 8, whole] {
                    let n = n.min(whole - from);
                    let mut out = vec![0xee; n];
                    // Twice: from the pack, and maybe from the cache.
                    for _ in 0..2 {
                        let at = u32::try_from(from).unwrap();
                        v.blocks.read(&id, at, &mut out).unwrap();
                        assert_eq!(out, chunk[from..from + n], "{len}: {from} + {n}");
                        out.fill(0xee);
                    }
                }
            }
        }
        v.close();
    }
}

#[test]
fn frames_are_compressed_where_it_helps() {
    for (compression, encoding) in [
        (Compression::None, Encoding::Raw),
        (Compression::Lz4, Encoding::Lz4),
        (Compression::Zstd, Encoding::Zstd),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut rig = Rig::in_dir(dir.path());
        rig.settings.compression = compression;
        let v = rig.open();
        let mut chunk = prose(5, CHUNK / 2);
        chunk.extend(noise(6, CHUNK / 2));
        let id = v.put(&chunk);
        let shape = v.record(&id).unwrap().shape;
        let encodings: Vec<Encoding> = shape.frames().map(|f| f.encoding).collect();
        let mut expected = vec![encoding; 4];
        expected.extend([Encoding::Raw; 4]);
        assert_eq!(encodings, expected);
        assert_eq!(v.read(&id, CHUNK), chunk);
        // Whoever opens it with another setting reads it as well.
        v.commit();
        v.close();
        rig.settings.compression = Compression::None;
        let v = rig.open();
        assert_eq!(v.read(&id, CHUNK), chunk);
        v.close();
    }
}

#[test]
fn zeros_at_the_end_do_not_change_the_name() {
    let dir = tempfile::tempdir().unwrap();
    let v = Rig::in_dir(dir.path()).open();
    let mut chunk = noise(7, 5000);
    chunk.push(1);
    let id = v.put(&chunk);
    for zeros in [1, 63, 64, 4096, CHUNK - chunk.len()] {
        let mut longer = chunk.clone();
        longer.resize(chunk.len() + zeros, 0);
        assert_eq!(v.blocks.store(&longer).unwrap().id(), id);
    }
    assert_ne!(v.blocks.store(&chunk[..5000]).unwrap().id(), id);
    let zero = v.put(&[0; CHUNK]);
    assert_eq!(v.record(&zero).unwrap().shape.raw_len(), 1);
    assert_eq!(v.read(&zero, 10), [0; 10]);
    v.close();
}

#[test]
fn a_block_released_before_it_is_referenced_is_stored_again_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let v = Rig::in_dir(dir.path()).open();
    let chunk = noise(8, CHUNK);
    let id = v.put(&chunk);
    let old = v.record(&id).unwrap().place;
    let stored = v.blocks.store(&chunk).unwrap();
    v.release(&id);
    v.commit();
    v.clean();
    // As a flush does it: inside one operation.
    let again = {
        let mut op = v.txn.begin().unwrap();
        // With the lock of the groups held, nothing may ask the transactions.
        op.root().next_ino += 1;
        assert!(!v.blocks.reference(&mut op, &stored).unwrap());
        let mut content = vec![0; CHUNK];
        v.blocks.read(&stored.id(), 0, &mut content).unwrap();
        assert_eq!(content, chunk);
        v.blocks.store(&content).unwrap()
    };
    drop(stored);
    assert!(!v.blocks.is_landed(&again));
    v.land().unwrap();
    assert!(v.reference(&again));
    let new = v.record(&id).unwrap().place;
    assert_ne!((new.pack, new.offset), (old.pack, old.offset));
    drop(again);
    v.clean();
    assert_eq!(v.read(&id, CHUNK), chunk);
    v.audit();
    v.close();
}

#[test]
fn what_was_stored_for_nothing_is_dead() {
    let dir = tempfile::tempdir().unwrap();
    let v = Rig::in_dir(dir.path()).open();
    let kept = v.put(&noise(9, CHUNK));
    let dropped = v.blocks.store(&noise(10, CHUNK)).unwrap();
    v.land().unwrap();
    let id = dropped.id();
    drop(dropped);
    assert!(matches!(
        v.try_read(&id, 1),
        Err(BlockError::Damaged {
            code: "C-MISSING",
            ..
        })
    ));
    // One that is dropped before it is written is not written at all.
    let before = v.blocks.stats().stored_bytes;
    drop(v.blocks.store(&noise(11, CHUNK)).unwrap());
    v.land().unwrap();
    assert_eq!(v.blocks.stats().stored_bytes, before);
    assert_eq!(v.blocks.unlanded_bytes(), 0);
    v.commit();
    v.audit();
    assert_eq!(v.read(&kept, CHUNK), noise(9, CHUNK));
    v.close();
}

#[test]
fn a_reference_to_nothing_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let v = Rig::in_dir(dir.path()).open();
    let id = v.blocks.store(b"x").unwrap().id();
    let mut op = v.txn.begin().unwrap();
    for result in [v.blocks.share(&mut op, &id), v.blocks.release(&mut op, &id)] {
        assert!(matches!(
            result,
            Err(BlockError::Damaged {
                code: "C-MISSING",
                ..
            })
        ));
    }
    drop(op);
    v.close();
}

#[test]
fn threads_that_store_the_same_at_once_make_one_block() {
    let dir = tempfile::tempdir().unwrap();
    let v = Rig::in_dir(dir.path()).open();
    for round in 0..20 {
        let chunk = noise(100 + round, CHUNK);
        let stored: Vec<_> = std::thread::scope(|s| {
            let threads: Vec<_> = (0..4)
                .map(|_| s.spawn(|| v.blocks.store(&chunk).unwrap()))
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        v.land().unwrap();
        assert!(stored.iter().all(|s| v.reference(s)));
        assert_eq!(v.record(&stored[0].id()).unwrap().refs, 4);
    }
    assert_eq!(v.blocks.stats().blocks, 20);
    assert_eq!(v.blocks.unlanded_bytes(), 0);
    v.audit();
    v.close();
}
