//! Attributes: setting them, times, and the loss of privileges.

use super::{ROOT, Volume, wait};
use crate::base::{Clock, Ino, Timestamp};
use crate::fs::{Caller, FsError, SetAttr, SetTime, WriteFlags};

const R: Ino = Ino::ROOT;
const SOMEBODY: Caller = Caller {
    uid: 1000,
    gid: 1000,
};

fn at(secs: i64) -> Timestamp {
    Timestamp { secs, nanos: 5 }
}

fn mode(mode: u32) -> SetAttr {
    SetAttr {
        mode: Some(mode),
        ..Default::default()
    }
}

fn size(size_bytes: u64) -> SetAttr {
    SetAttr {
        size_bytes: Some(size_bytes),
        ..Default::default()
    }
}

#[test]
fn each_attribute_is_set_alone() {
    let v = Volume::new();
    let f = v.file(R, b"f");
    let old = v.getattr(f).unwrap();
    let new = v.set(ROOT, f, mode(0o4751)).unwrap();
    assert_eq!((new.perm, new.uid, new.mtime), (0o4751, old.uid, old.mtime));
    assert!(new.ctime > old.ctime);
    let set = SetAttr {
        gid: Some(44),
        ..Default::default()
    };
    let owned = v.set(ROOT, f, set).unwrap();
    assert_eq!((owned.uid, owned.gid), (0, 44));
    let set = SetAttr {
        atime: Some(SetTime::At(at(-7))),
        mtime: Some(SetTime::At(at(99))),
        ..Default::default()
    };
    let timed = v.set(ROOT, f, set).unwrap();
    assert_eq!((timed.atime, timed.mtime), (at(-7), at(99)));
    assert!(timed.ctime > new.ctime);
    assert_eq!(timed.btime, old.btime);
    let set = SetAttr {
        mtime: Some(SetTime::Now),
        ctime: Some(at(123)),
        ..Default::default()
    };
    let now = v.set(ROOT, f, set).unwrap();
    assert!(now.mtime > old.mtime);
    assert_eq!((now.atime, now.ctime), (at(-7), at(123)));
    assert_eq!(v.getattr(f).unwrap(), now);
}

#[test]
fn a_size_is_set_only_for_regular_files() {
    let v = Volume::new();
    let f = v.file(R, b"f");
    let old = v.getattr(f).unwrap();
    let grown = v.set(ROOT, f, size(10_000)).unwrap();
    assert_eq!((grown.size_bytes, grown.blocks_512), (10_000, 0));
    assert!(grown.mtime > old.mtime);
    assert_eq!(v.contents(f), vec![0; 10_000]);
    assert!(matches!(v.set(ROOT, R, size(0)), Err(FsError::IsDirectory)));
    let s = v.symlink(ROOT, R, b"s", b"f").unwrap().ino;
    assert!(matches!(v.set(ROOT, s, size(0)), Err(FsError::Invalid)));
    assert!(matches!(
        v.set(ROOT, f, size(1 << 63)),
        Err(FsError::TooLarge)
    ));
    assert_eq!(
        v.set(ROOT, f, size((1 << 63) - 1)).unwrap().size_bytes,
        (1 << 63) - 1
    );
}

#[test]
fn attributes_show_data_that_is_still_dirty() {
    let v = Volume::new();
    let f = v.file(R, b"f");
    let old = v.getattr(f).unwrap();
    v.write_at(f, 5000, b"x").unwrap();
    let dirty = v.getattr(f).unwrap();
    assert_eq!((dirty.size_bytes, dirty.blocks_512), (5001, 16));
    assert!(dirty.mtime > old.mtime);
    assert_eq!(v.lookup(R, b"f").unwrap(), dirty);
    assert_eq!(v.link(f, R, b"g").unwrap().size_bytes, 5001);
    v.sync(f).unwrap();
    let clean = v.getattr(f).unwrap();
    assert_eq!(
        (clean.size_bytes, clean.mtime),
        (dirty.size_bytes, dirty.mtime)
    );
    assert!(
        clean.ctime > dirty.ctime,
        "the link is later than the write"
    );
}

/// The times of data and the data are committed together.
#[test]
fn times_set_over_dirty_data_go_with_it() {
    let mut v = Volume::new();
    let f = v.file(R, b"f");
    v.sync(f).unwrap();
    let cached = WriteFlags {
        cached: true,
        ..Default::default()
    };
    wait(|done| v.write(ROOT, f, 0, b"data", cached, done)).unwrap();
    let set = SetAttr {
        mtime: Some(SetTime::At(at(7))),
        ctime: Some(v.getattr(f).unwrap().ctime),
        ..Default::default()
    };
    assert_eq!(v.set(ROOT, f, set).unwrap().mtime, at(7));
    // Another fsync commits everything but that file's data.
    v.sync(R).unwrap();
    v.crash();
    let lost = v.lookup(R, b"f").unwrap();
    assert_eq!(lost.size_bytes, 0);
    assert_ne!(lost.mtime, at(7));
    wait(|done| v.write(ROOT, f, 0, b"data", cached, done)).unwrap();
    v.set(ROOT, f, set).unwrap();
    v.sync(f).unwrap();
    v.crash();
    let kept = v.lookup(R, b"f").unwrap();
    assert_eq!((kept.size_bytes, kept.mtime), (4, at(7)));
}

#[test]
fn chmod_does_not_hide_the_time_of_a_dirty_write() {
    let v = Volume::new();
    let f = v.file(R, b"f");
    v.write_at(f, 0, b"x").unwrap();
    let written = v.getattr(f).unwrap();
    let changed = v.set(ROOT, f, mode(0o600)).unwrap();
    assert_eq!(changed.mtime, written.mtime);
    assert!(changed.ctime > written.ctime);
    v.sync(f).unwrap();
    assert_eq!(v.getattr(f).unwrap().ctime, changed.ctime);
}

#[test]
fn a_cached_write_leaves_the_times_alone() {
    let v = Volume::new();
    let f = v.file(R, b"f");
    let old = v.getattr(f).unwrap();
    let cached = WriteFlags {
        cached: true,
        kill_suidgid: false,
    };
    wait(|done| v.write(ROOT, f, 0, b"x", cached, done)).unwrap();
    let new = v.getattr(f).unwrap();
    assert_eq!(
        (new.mtime, new.ctime, new.size_bytes),
        (old.mtime, old.ctime, 1)
    );
}

#[test]
fn changes_of_owner_and_contents_end_privileges() {
    let v = Volume::new();
    let f = v.file(R, b"f");
    let perm = |v: &Volume| v.getattr(f).unwrap().perm;
    let grant = |bits| v.set(ROOT, f, mode(bits)).unwrap();
    let write = |kill_suidgid| {
        let flags = WriteFlags {
            cached: false,
            kill_suidgid,
        };
        wait(|done| v.write(SOMEBODY, f, 0, b"x", flags, done)).unwrap();
    };
    grant(0o6755);
    write(false);
    assert_eq!(perm(&v), 0o6755);
    write(true);
    assert_eq!(perm(&v), 0o755);
    // Without execution by the group, sgid means something else and stays.
    grant(0o6745);
    write(true);
    assert_eq!(perm(&v), 0o2745);

    grant(0o6755);
    v.set(ROOT, f, size(0)).unwrap();
    assert_eq!(perm(&v), 0o6755);
    v.set(SOMEBODY, f, size(0)).unwrap();
    assert_eq!(perm(&v), 0o755);

    grant(0o6755);
    let owner = SetAttr {
        uid: Some(1),
        ctime: Some(v.clock.now()),
        ..Default::default()
    };
    assert_eq!(v.set(ROOT, f, owner).unwrap().perm, 0o755);
    let d = v.mkdir(ROOT, R, b"d", 0o6755, 0).unwrap();
    assert_eq!(v.set(ROOT, d.ino, owner).unwrap().perm, 0o6755);

    grant(0o6755);
    wait(|done| v.fallocate(ROOT, f, 0, 10, 0, done)).unwrap();
    assert_eq!(perm(&v), 0o6755);
    wait(|done| v.fallocate(SOMEBODY, f, 0, 10, 0, done)).unwrap();
    assert_eq!(perm(&v), 0o755);

    grant(0o6755);
    let g = v.file(R, b"g");
    v.write_at(g, 0, b"abc").unwrap();
    wait(|done| v.copy_file_range(SOMEBODY, (g, 0), (f, 0), 3, done)).unwrap();
    assert_eq!(perm(&v), 0o755);
}

#[test]
fn contents_and_owner_end_file_capabilities() {
    let v = Volume::new();
    let f = v.file(R, b"f");
    let name = b"security.capability";
    let has = || v.getxattr(f, name).is_ok();
    let grant = || v.setxattr(ROOT, f, name, &[1; 20], 0).unwrap();
    grant();
    let cached = WriteFlags {
        cached: true,
        kill_suidgid: false,
    };
    wait(|done| v.write(ROOT, f, 0, b"x", cached, done)).unwrap();
    assert!(has(), "what the kernel had cached was written before");
    v.write_at(f, 0, b"x").unwrap();
    assert!(!has());
    grant();
    v.set(SOMEBODY, f, size(0)).unwrap();
    assert!(!has());
    grant();
    let owner = SetAttr {
        gid: Some(1),
        ctime: Some(v.clock.now()),
        ..Default::default()
    };
    v.set(ROOT, f, owner).unwrap();
    assert!(!has());
}

/// Symptom: in overlayfs over a mount a program lost its set-user-id bit or its capabilities as soon
/// as it was copied up. The kernel gives the copy xattrs and mode first, then size and owner, and that
/// looked like truncate(2) and chown(2), which end privileges.
#[test]
fn a_copy_by_overlayfs_keeps_its_privileges() {
    let v = Volume::new();
    let f = v.file(R, b"f");
    let name = b"security.capability";
    v.setxattr(ROOT, f, name, &[1; 20], 0).unwrap();
    v.set(ROOT, f, mode(0o6755)).unwrap();
    let owner = SetAttr {
        uid: Some(0),
        gid: Some(0),
        ..Default::default()
    };
    v.set(ROOT, f, size(0)).unwrap();
    assert_eq!(v.set(ROOT, f, owner).unwrap().perm, 0o6755);
    assert!(v.getxattr(f, name).is_ok());
}

#[test]
fn access_times_follow_relatime() {
    let v = Volume::new();
    let f = v.file(R, b"f");
    v.write_at(f, 0, b"x").unwrap();
    let atime = |ino| v.getattr(ino).unwrap().atime;
    let first = atime(f);
    v.read_at(f, 0, 1);
    let second = atime(f);
    assert!(second > first, "older than the last change");
    v.sync(f).unwrap();
    v.read_at(f, 0, 1);
    assert_eq!(atime(f), second, "newer than the last change");
    v.clock.advance(24 * 60 * 60);
    v.read_at(f, 0, 1);
    assert!(atime(f) > second, "a day old");

    let d = v.dir(R, b"d");
    let before = atime(d);
    v.names(d);
    assert!(atime(d) > before);
    let s = v.symlink(ROOT, R, b"s", b"x").unwrap().ino;
    let before = atime(s);
    v.readlink(s).unwrap();
    assert!(atime(s) > before);
    let ctime = v.getattr(s).unwrap().ctime;
    assert!(ctime < atime(s), "being read is no change");
}

#[test]
fn contents_belong_to_regular_files() {
    let v = Volume::new();
    let s = v.symlink(ROOT, R, b"s", b"f").unwrap().ino;
    let mut out = Vec::new();
    assert!(matches!(
        v.read(R, 0, 1, &mut out),
        Err(FsError::IsDirectory)
    ));
    assert!(matches!(v.write_at(R, 0, b"x"), Err(FsError::IsDirectory)));
    assert!(matches!(v.write_at(s, 0, b"x"), Err(FsError::Invalid)));
    assert!(matches!(
        v.write_at(Ino(99), 0, b"x"),
        Err(FsError::NoEntry)
    ));
    let copied = wait(|done| v.copy_file_range(ROOT, (R, 0), (s, 0), 1, done));
    assert!(matches!(copied, Err(FsError::IsDirectory)));
}

#[test]
fn statfs_counts_pages_and_inodes() {
    let v = Volume::with(super::volume::Setup {
        quota_bytes: Some(1 << 20),
        ..Default::default()
    });
    let empty = v.statfs().unwrap();
    assert_eq!((empty.blocks, empty.free_blocks), (256, 256));
    let f = v.file(R, b"f");
    v.write_at(f, 0, &[1; 8192]).unwrap();
    v.sync(f).unwrap();
    let used = v.statfs().unwrap();
    assert_eq!((used.blocks, used.free_blocks), (256, 254));
    assert_eq!(used.files - used.free_files, 2);
}

#[test]
fn a_quota_can_change_while_files_are_written() {
    let v = Volume::new();
    let f = v.file(R, b"f");
    // Dirty under no quota, so nothing is reserved for it.
    v.write_at(f, 0, &[1; 8192]).unwrap();
    v.set_quota(Some(16 << 10));
    v.sync(f).unwrap();
    v.write_at(f, 8192, &[2; 8192]).unwrap();
    assert!(matches!(
        v.write_at(f, 1 << 20, &[3; 4096]),
        Err(FsError::Quota)
    ));
    v.set_quota(None);
    v.write_at(f, 1 << 20, &[3; 4096]).unwrap();
    v.sync(f).unwrap();
    v.set_quota(Some(20 << 10));
    assert_eq!(v.statfs().unwrap().free_blocks, 0);
}

#[test]
fn a_stamp_of_the_kernel_is_never_younger_than_what_comes_after_it() {
    let v = Volume::new();
    let f = v.file(R, b"f");
    let told = |ahead_nanos: u32| {
        let now = v.clock.now().after(ahead_nanos);
        let set = SetAttr {
            mtime: Some(SetTime::At(now)),
            ctime: Some(now),
            ..Default::default()
        };
        v.set(ROOT, f, set).unwrap();
        now
    };
    let ahead = told(4_000_000);
    let next = v.getattr(v.dir(R, b"next")).unwrap();
    assert!(next.mtime >= ahead, "{next:?} {ahead:?}");
    // Further ahead than a tick was a clock that has been set back since.
    let far = told(999_000_000);
    let then = v.getattr(v.dir(R, b"then")).unwrap();
    assert!(then.mtime < far, "{then:?} {far:?}");
}
