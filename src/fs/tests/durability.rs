//! What survives a crash, and a store that fails.

use super::{ROOT, Volume, wait};
use crate::base::Ino;
use crate::fs::{Caller, FsError};

const R: Ino = Ino::ROOT;

#[test]
fn what_was_synced_survives_a_crash() {
    let mut v = Volume::new();
    let d = v.dir(R, b"d");
    let f = v.file(d, b"f");
    let data: Vec<u8> = (0..100_000_u32)
        .map(|n| u8::try_from(n % 251).unwrap())
        .collect();
    v.write_at(f, 0, &data).unwrap();
    v.sync(f).unwrap();
    v.file(d, b"later");
    v.write_at(f, 0, b"lost").unwrap();
    v.crash();
    assert_eq!(v.names(d), [b"f"]);
    assert_eq!(v.lookup(d, b"f").unwrap().ino, f);
    assert_eq!(v.contents(f), data);
}

#[test]
fn a_clean_end_keeps_everything() {
    let mut v = Volume::new();
    let f = v.file(R, b"f");
    v.write_at(f, 0, &[3; 50_000]).unwrap();
    let attr = v.getattr(f).unwrap();
    v.reopen();
    assert_eq!(v.getattr(f).unwrap(), attr);
    assert_eq!(v.contents(f), [3; 50_000]);
    assert!(v.core.txn.root().generation.0 > 1);
}

#[test]
fn sync_all_covers_every_file() {
    let mut v = Volume::new();
    let files: Vec<Ino> = (0..20_u8).map(|n| v.file(R, &[b'a' + n])).collect();
    for f in &files {
        v.write_at(*f, 10_000, b"data").unwrap();
    }
    wait(|done| v.sync_all(done)).unwrap();
    v.crash();
    for f in &files {
        assert_eq!(v.read_at(*f, 10_000, 10), b"data");
    }
}

/// Symptom to prevent: a program replaces a file by rename without fsync, the power goes, and the
/// file is empty. After the crash it must have all of the old or all of the new contents.
#[test]
fn replacing_by_rename_needs_no_fsync() {
    let mut v = Volume::new();
    let old = v.file(R, b"config");
    v.write_at(old, 0, &[1; 40_000]).unwrap();
    v.sync(old).unwrap();
    let new = v.file(R, b"config.new");
    v.write_at(new, 0, &[2; 40_000]).unwrap();
    v.mv((R, b"config.new"), (R, b"config"), 0).unwrap();
    // Somebody else's commit takes the names along, and with them the data.
    v.core.txn.commit_wait().unwrap();
    v.crash();
    assert_eq!(v.names(R), [b"config"]);
    assert_eq!(v.contents(new), [2; 40_000]);
}

#[test]
fn orphans_of_a_crash_are_removed_at_the_next_start() {
    let mut v = Volume::new();
    let f = v.file(R, b"f");
    let d = v.dir(R, b"d");
    v.write_at(f, 0, &[1; 300_000]).unwrap();
    v.sync(f).unwrap();
    v.unlink(R, b"f").unwrap();
    v.rmdir(R, b"d").unwrap();
    v.sync(R).unwrap();
    assert_eq!(v.inodes(), 3);
    v.crash();
    // The end of a mount waits for removals in progress.
    v.reopen();
    assert!(matches!(v.getattr(f), Err(FsError::NoEntry)));
    assert!(matches!(v.getattr(d), Err(FsError::NoEntry)));
    let root = v.core.txn.root();
    assert_eq!((root.inodes, root.used_pages), (1, 0));
    assert_eq!(
        root.counts.iter().sum::<u64>(),
        root_and_accounts(&root.counts)
    );
}

/// Records that may stay in an empty volume: its root directory, and what the packs keep.
fn root_and_accounts(counts: &[u64]) -> u64 {
    use crate::format::record::Kind;
    let packs = [Kind::PackAccount, Kind::PackList, Kind::PendingPunch];
    1 + packs.iter().map(|k| counts[*k as usize]).sum::<u64>()
}

#[test]
fn the_end_of_a_mount_removes_orphans() {
    let mut v = Volume::new();
    let f = v.file(R, b"f");
    v.write_at(f, 0, &[1; 300_000]).unwrap();
    v.sync(f).unwrap();
    v.unlink(R, b"f").unwrap();
    v.reopen();
    assert!(matches!(v.getattr(f), Err(FsError::NoEntry)));
    assert_eq!(v.inodes(), 1);
}

/// A file that lives for less than a commit leaves no trace in the store.
#[test]
fn a_file_removed_and_forgotten_at_once_costs_nothing() {
    let v = Volume::new();
    v.sync(R).unwrap();
    v.store().take_counts();
    for _ in 0..10 {
        let f = v.file(R, b"f");
        v.write_at(f, 0, b"temporary").unwrap();
        v.unlink(R, b"f").unwrap();
        v.forget(f, 1);
    }
    v.sync(R).unwrap();
    let [_, _, changes, batches] = v.store().take_counts();
    // The root directory and the root record.
    assert_eq!((changes, batches), (2, 1));
}

#[test]
fn a_failed_commit_ends_all_changes_and_no_read() {
    let v = Volume::new();
    let f = v.file(R, b"f");
    v.write_at(f, 0, b"data").unwrap();
    v.fail_writes();
    assert!(matches!(v.sync(f), Err(FsError::Io(_))));
    assert!(matches!(v.sync(f), Err(FsError::Io(_))));
    assert!(matches!(v.try_file(R, b"g"), Err(FsError::Io(_))));
    assert!(matches!(v.write_at(f, 0, b"x"), Err(FsError::Io(_))));
    assert!(matches!(v.unlink(R, b"f"), Err(FsError::Io(_))));
    let renamed = v.mv((R, b"f"), (R, b"g"), 0);
    assert!(matches!(renamed, Err(FsError::Io(_))));
    let who = Caller { uid: 1, gid: 1 };
    let set = v.set(who, f, crate::fs::SetAttr::default());
    assert!(matches!(set, Err(FsError::Io(_))));
    assert_eq!(v.lookup(R, b"f").unwrap().size_bytes, 4);
    assert_eq!(v.contents(f), b"data");
    assert_eq!(v.names(R), [b"f"]);
    v.abandon();
}

#[test]
fn many_fsyncs_share_a_commit() {
    let v = Volume::new();
    let files: Vec<Ino> = (0..16_u8).map(|n| v.file(R, &[b'a' + n])).collect();
    wait(|done| v.sync_all(done)).unwrap();
    v.store().take_counts();
    let (tx, rx) = crossbeam_channel::bounded(16);
    for f in &files {
        v.write_at(*f, 0, b"x").unwrap();
        let tx = tx.clone();
        v.fsync(*f, false, Box::new(move |r| tx.send(r).unwrap()));
    }
    for _ in &files {
        rx.recv().unwrap().unwrap();
    }
    let [_, _, _, batches] = v.store().take_counts();
    assert!(batches < 16, "{batches} batches");
    assert_eq!(
        v.mknod(ROOT, R, b"z", libc::S_IFREG, 0, 0).unwrap().nlink,
        1
    );
}
