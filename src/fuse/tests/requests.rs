//! Which requests the kernel sends, and which it has learned not to send.

use std::fs::{self, File};
use std::io::Write;
use std::thread;
use std::time::Duration;

use rustix::fs::{SeekFrom, seek};

use super::served::Served;
use crate::base::{Clock, SystemClock};
use crate::fuse::RequestKind::{
    Flush, Fsync, Getattr, Lookup, Lseek, Open, Opendir, Release, Releasedir,
};

#[test]
fn opens_and_closes_stay_in_the_kernel() {
    let m = Served::new();
    for i in 0..10 {
        fs::write(m.path(&format!("f{i}")), "x").unwrap();
    }
    for _ in 0..10 {
        for i in 0..10 {
            assert_eq!(fs::read(m.path(&format!("f{i}"))).unwrap(), b"x");
        }
        assert_eq!(fs::read_dir(m.dir()).unwrap().count(), 10);
    }
    // One each, to learn it; created files are released until the kernel knows.
    for kind in [Open, Opendir, Flush] {
        assert_eq!(m.count(kind), 1, "{kind:?}");
    }
    assert!(m.count(Release) <= 10);
    assert_eq!(m.count(Releasedir), 0);
}

#[test]
fn names_and_attributes_are_asked_for_once() {
    let m = Served::new();
    let mut there = File::create(m.path("there")).unwrap();
    there.write_all(b"12345").unwrap();
    assert!(!m.path("missing").exists());
    assert_eq!(fs::metadata(m.path("there")).unwrap().len(), 5);
    let before = (m.count(Lookup), m.count(Getattr));
    for _ in 0..100 {
        assert!(!m.path("missing").exists());
        assert_eq!(fs::metadata(m.path("there")).unwrap().len(), 5);
    }
    assert_eq!((m.count(Lookup), m.count(Getattr)), before);
    // What the kernel remembers as missing can be made all the same.
    fs::write(m.path("missing"), "now").unwrap();
    assert_eq!(fs::read(m.path("missing")).unwrap(), b"now");
}

/// A hole would be skipped by programs that copy only data; cached pages could lie in it.
#[test]
fn dirty_pages_are_never_in_a_hole() {
    let m = Served::new();
    let mut f = File::create(m.path("f")).unwrap();
    f.set_len(1 << 20).unwrap();
    f.write_all(b"cached").unwrap();
    let other = File::open(m.path("f")).unwrap();
    assert_eq!(seek(&other, SeekFrom::Data(0)).unwrap(), 0);
    assert_eq!(seek(&other, SeekFrom::Hole(0)).unwrap(), 1 << 20);
    assert_eq!(seek(&other, SeekFrom::Data(77)).unwrap(), 77);
    assert_eq!(m.count(Lseek), 1);
}

/// Two threads serve; the disk stands still. If an fsync kept its thread, the third would wait for
/// one, and with it everything else.
#[test]
fn sixteen_fsyncs_in_flight_leave_both_threads_free() {
    let m = Served::new();
    let files: Vec<File> = (0..16)
        .map(|i| File::create(m.path(&format!("f{i}"))).unwrap())
        .collect();
    let still = m.store.faults.pause_changes();
    thread::scope(|s| {
        for mut f in files {
            s.spawn(move || {
                f.write_all(&[7; 4096]).unwrap();
                f.sync_all().unwrap();
            });
        }
        let patience = SystemClock.monotonic() + Duration::from_secs(60);
        while m.count(Fsync) < 16 {
            assert!(SystemClock.monotonic() < patience, "a thread waits");
            thread::yield_now();
        }
        fs::write(m.path("another"), "answered").unwrap();
        assert_eq!(fs::read(m.path("another")).unwrap(), b"answered");
        drop(still);
    });
    assert_eq!(m.count(Fsync), 16);
}
