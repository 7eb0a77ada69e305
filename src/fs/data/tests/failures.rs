//! Stores that fail, and fsyncs that overlap with writes.

use super::{R, noise, stored, truncate};
use crate::base::{Ino, PAGE_BYTES};
use crate::block::BlockError;
use crate::format::key::{Key, Letter};
use crate::fs::FsError;
use crate::fs::data::read::Unread;
use crate::fs::tests::{CHUNK, Volume};
use crate::kv::faulty::Call;

/// Starts an fsync; its answer comes on the channel.
fn begin_sync(v: &Volume, ino: Ino) -> crossbeam_channel::Receiver<Result<(), FsError>> {
    let (tx, rx) = crossbeam_channel::bounded(1);
    v.fsync(ino, false, Box::new(move |r| tx.send(r).unwrap()));
    rx
}

#[test]
fn a_failed_landing_is_told_once_and_loses_nothing() {
    let mut v = Volume::faulty(1);
    let data = noise(1, 3 * CHUNK);
    let f = v.file(R, b"f");
    v.sync(R).unwrap();
    v.write_at(f, 0, &data).unwrap();
    v.faults().unwrap().fail_call(Call::Change, 0);
    assert!(v.sync(f).is_err());
    assert!(v.faults().unwrap().hit().is_some());
    assert!(v.contents(f) == data);
    v.sync(f).unwrap();
    v.crash();
    assert!(v.contents(f) == data);
}

/// Symptom: a file is shorter after a crash than it was when fsync began: the fsync, during which
/// more was written, committed only the size that its chunks reach.
#[test]
fn an_fsync_covers_an_extension_before_it() {
    let mut v = Volume::faulty(2);
    let f = v.file(R, b"f");
    v.sync(R).unwrap();
    let synced = {
        let faults = v.faults().unwrap();
        let _paused = faults.pause_changes();
        v.write_at(f, 0, &noise(1, CHUNK)).unwrap();
        truncate(&v, f, 1 << 20).unwrap();
        let synced = begin_sync(&v, f);
        v.write_at(f, 20 * CHUNK as u64, &noise(2, CHUNK)).unwrap();
        assert!(synced.is_empty());
        synced
    };
    synced.recv().unwrap().unwrap();
    v.crash();
    assert_eq!(v.getattr(f).unwrap().size_bytes, 1 << 20);
    assert!(v.read_at(f, 0, 1 << 16)[..CHUNK] == noise(1, CHUNK));
}

/// Symptom: a write that fails in the middle leaves a page beyond the end of the file, which shows
/// when the file grows. Here the page fills its chunk, and the look for an equal block fails.
#[test]
fn a_write_that_fails_midway_leaves_nothing_behind() {
    let v = Volume::faulty(3);
    let f = v.file(R, b"f");
    let (data, end) = (noise(1, CHUNK), CHUNK - PAGE_BYTES);
    v.write_at(f, 0, &data[..end]).unwrap();
    // A background thread may be the one whose read fails: then once more, with other contents.
    let fails = |n| {
        v.faults().unwrap().fail_call(Call::Read, 0);
        let written = v.write_at(f, end as u64, &noise(n, PAGE_BYTES));
        if written.is_ok() {
            truncate(&v, f, end as u64).unwrap();
        }
        written.is_err()
    };
    assert!((2..100).any(fails));
    assert_eq!(v.getattr(f).unwrap().size_bytes, end as u64);
    truncate(&v, f, CHUNK as u64).unwrap();
    assert_eq!(v.read_at(f, end as u64, u32::MAX), [0; PAGE_BYTES]);
    v.write_at(f, end as u64, &data[end..]).unwrap();
    v.sync(f).unwrap();
    assert!(v.contents(f) == data);
}

#[test]
fn an_fsync_waits_only_for_what_was_written_before_it() {
    let v = Volume::faulty(4);
    let f = v.file(R, b"f");
    let synced = {
        let faults = v.faults().unwrap();
        let _paused = faults.pause_changes();
        v.write_at(f, 0, &noise(1, CHUNK)).unwrap();
        let first = begin_sync(&v, f);
        v.write_at(f, CHUNK as u64, &noise(2, CHUNK)).unwrap();
        let second = begin_sync(&v, f);
        assert!(first.is_empty() && second.is_empty());
        [first, second]
    };
    for s in synced {
        s.recv().unwrap().unwrap();
    }
    assert!(!v.data.is_dirty(f));
    assert!(v.contents(f) == [noise(1, CHUNK), noise(2, CHUNK)].concat());
}

/// Symptom: the log told of a missing block, and every read was right. A reader without the file's lock
/// had come upon a block that an overwrite had just taken away, logged it, and read again.
#[test]
fn the_error_of_a_block_is_told_only_when_it_is_returned() {
    let mut v = Volume::new();
    let f = stored(&v, b"f", &noise(1, CHUNK));
    let mut op = v.core.txn.begin().unwrap();
    let all = Key::new(Letter::Block, &[]);
    for (key, _) in op.scan(&all, &all.prefix_end(), 9).unwrap() {
        op.delete(key);
    }
    drop(op);
    v.reopen();
    let part = v.data.geometry.parts(0, 10).next().unwrap();
    let tried = v.data.read_unlocked(f, part, &mut [0; 10]);
    let code = "C-MISSING";
    assert!(matches!(tried, Err(Unread::Block(BlockError::Damaged { code: c, .. })) if c == code));
    let read = v.data.read(f, 0, 10, &mut Vec::new());
    assert!(matches!(read, Err(FsError::Io(c)) if c == code));
}
