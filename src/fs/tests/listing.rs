//! Directory listings and their cookies.

use std::collections::BTreeMap;

use super::volume::Setup;
use super::{ROOT, Volume};
use crate::base::Ino;
use crate::fs::{FileKind, FsError};

const R: Ino = Ino::ROOT;

/// An entry as a listing gave it.
type Seen = (Vec<u8>, Ino, FileKind, u64);

/// Lists at most `count` entries from a cookie.
fn list(v: &Volume, ino: Ino, cookie: u64, count: usize) -> Vec<Seen> {
    let mut seen = Vec::new();
    v.readdir(ino, cookie, &mut |e| {
        if seen.len() == count {
            return false;
        }
        seen.push((e.name.to_vec(), e.ino, e.kind, e.next_cookie));
        true
    })
    .unwrap();
    seen
}

/// Lists everything in replies of `count` entries.
fn list_in_steps(v: &Volume, ino: Ino, count: usize) -> Vec<Seen> {
    let mut all: Vec<Seen> = Vec::new();
    loop {
        let cookie = all.last().map_or(0, |e| e.3);
        let step = list(v, ino, cookie, count);
        if step.is_empty() {
            return all;
        }
        all.extend(step);
    }
}

fn fill(v: &Volume, count: u32) -> Ino {
    let d = v.dir(R, b"d");
    for n in 0..count {
        v.file(d, format!("file{n}").as_bytes());
    }
    d
}

#[test]
fn a_listing_has_every_entry_once() {
    let v = Volume::new();
    let d = fill(&v, 700);
    let all = list(&v, d, 0, 1000);
    assert_eq!(all.len(), 702);
    assert_eq!(all[0], (b".".to_vec(), d, FileKind::Directory, 1));
    assert_eq!(all[1], (b"..".to_vec(), R, FileKind::Directory, 2));
    let names: BTreeMap<_, _> = all.iter().map(|e| (e.0.clone(), e.1)).collect();
    assert_eq!(names.len(), 702);
    for n in 0..700 {
        let name = format!("file{n}");
        assert_eq!(
            names[name.as_bytes()],
            v.lookup(d, name.as_bytes()).unwrap().ino
        );
    }
    assert!(all.iter().all(|e| e.3 < 1 << 63), "a cookie has 63 bits");
}

#[test]
fn a_listing_goes_on_from_every_cookie() {
    let mut v = Volume::new();
    let d = fill(&v, 100);
    let all = list(&v, d, 0, 1000);
    for (n, e) in all.iter().enumerate() {
        assert_eq!(list(&v, d, e.3, 1000), all[n + 1..]);
    }
    for count in [1, 7, 31, 32, 33] {
        assert_eq!(list_in_steps(&v, d, count), all);
    }
    v.reopen();
    assert_eq!(list(&v, d, all[40].3, 1000), all[41..]);
}

#[test]
fn what_stays_is_listed_once_while_the_rest_changes() {
    let v = Volume::new();
    let d = fill(&v, 200);
    let mut seen: Vec<Seen> = Vec::new();
    let mut round = 0;
    loop {
        let step = list(&v, d, seen.last().map_or(0, |e| e.3), 10);
        if step.is_empty() {
            break;
        }
        seen.extend(step);
        // Odd files go, others come.
        v.file(d, format!("new{round}").as_bytes());
        let gone = format!("file{}", round * 2 + 1);
        v.unlink(d, gone.as_bytes()).unwrap();
        round += 1;
    }
    for n in (0..200).step_by(2) {
        let name = format!("file{n}").into_bytes();
        assert_eq!(seen.iter().filter(|e| e.0 == name).count(), 1, "file{n}");
    }
}

#[test]
fn readdirplus_counts_what_is_taken() {
    let v = Volume::new();
    let d = fill(&v, 50);
    let inodes: Vec<Ino> = list(&v, d, 2, 100).iter().map(|e| e.1).collect();
    let mut taken = Vec::new();
    v.readdirplus(d, 0, &mut |e, attr| {
        assert_eq!(e.ino, attr.ino);
        if taken.len() == 12 {
            return false;
        }
        taken.push(e.ino);
        true
    })
    .unwrap();
    assert_eq!(taken[2..], inodes[..10]);
    for (n, ino) in inodes.iter().enumerate() {
        v.forget(*ino, 1);
        assert_eq!(v.lookups.holds(*ino), n < 10);
    }
    // Once for its creation; neither `.` nor `..` counts.
    v.forget(d, 1);
    assert!(!v.lookups.holds(d));
    assert!(!v.lookups.holds(R));
}

#[test]
fn readdirplus_shows_live_attributes() {
    let v = Volume::new();
    let f = v.file(R, b"f");
    v.write_at(f, 0, b"12345").unwrap();
    let mut seen = Vec::new();
    v.readdirplus(R, 2, &mut |_, attr| {
        seen.push(*attr);
        true
    })
    .unwrap();
    assert_eq!(seen, [v.getattr(f).unwrap()]);
    assert_eq!(seen[0].size_bytes, 5);
}

#[test]
fn only_directories_are_listed() {
    let v = Volume::new();
    let f = v.file(R, b"f");
    let listed = v.readdir(f, 0, &mut |_| true);
    assert!(matches!(listed, Err(FsError::NotDirectory)));
    let listed = v.readdirplus(Ino(77), 0, &mut |_, _| true);
    assert!(matches!(listed, Err(FsError::NoEntry)));
}

/// Lists in replies of `count` entries as a reader that drops what it has got already.
fn names_in_steps(v: &Volume, ino: Ino, count: usize) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    let mut cookie = 2;
    loop {
        let step = list(v, ino, cookie, count);
        let Some(last) = step.last() else {
            names.sort();
            return names;
        };
        cookie = last.3;
        names.extend(step.into_iter().map(|e| e.0));
        names.sort();
        names.dedup();
    }
}

/// Few hashes: several names in each record.
#[test]
fn names_of_equal_hash_live_together() {
    let mut v = Volume::with(Setup {
        name_mask: 0xf << 124,
        ..Default::default()
    });
    let d = fill(&v, 64);
    let name = |n: u32| format!("file{n}").into_bytes();
    let mut expected: Vec<_> = (0..64).map(name).collect();
    expected.sort();
    assert_eq!(v.names(d), expected);
    for n in 0..64 {
        assert_eq!(v.lookup(d, &name(n)).unwrap().nlink, 1);
    }
    assert!(matches!(v.try_file(d, b"file7"), Err(FsError::Exists)));
    assert!(matches!(v.lookup(d, b"file64"), Err(FsError::NoEntry)));
    assert_eq!(names_in_steps(&v, d, 20), expected);
    for n in (0..64).step_by(3) {
        v.unlink(d, &name(n)).unwrap();
    }
    v.reopen();
    let mut expected: Vec<_> = (0..64).filter(|n| n % 3 != 0).map(name).collect();
    expected.sort();
    assert_eq!(v.names(d), expected);
}

/// Hashes that differ only behind the bits of the cookie: several records with one cookie.
#[test]
fn records_of_equal_cookie_are_not_torn() {
    for mask in [0xff, 0xff | 0x7 << 125] {
        let v = Volume::with(Setup {
            name_mask: mask,
            ..Default::default()
        });
        let d = v.mkdir(ROOT, R, b"d", 0o755, 0).unwrap().ino;
        let mut expected: Vec<Vec<u8>> = (0..48_u32).map(|n| n.to_string().into()).collect();
        for n in &expected {
            v.file(d, n);
        }
        expected.sort();
        assert_eq!(v.names(d), expected);
        assert_eq!(names_in_steps(&v, d, 48), expected, "mask {mask:x}");
    }
}
