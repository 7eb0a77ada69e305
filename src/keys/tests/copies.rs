//! The two copies: which one counts, and that a crash leaves one.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::format::header::MAX_BYTES;
use crate::keys::copies::{Copies, parse, write_both};

/// Returns three headers, each newer than the one before it: short, long, short.
fn headers(dir: &Path) -> [Vec<u8>; 3] {
    let first = header_of(dir);
    let mut long = first.clone();
    change(&mut long, KEY, |h, admin| {
        let slot = slot_for(h, admin, Role::Ro, &[1; 32], None);
        h.slots.push(slot);
    });
    let mut short = long.clone();
    change(&mut short, KEY, |h, _| h.slots.truncate(1));
    [first, long, short].map(|h| file_bytes(&h))
}

/// Returns what a crash leaves while `new` is written over `old`, `cut` bytes of it done.
fn torn(old: &[u8], new: &[u8], cut: usize) -> Vec<u8> {
    let mut bytes = new.to_vec();
    bytes.resize(new.len().max(old.len()), 0);
    bytes.truncate(cut);
    bytes.extend_from_slice(old.get(cut..).unwrap_or_default());
    bytes
}

#[test]
fn a_crash_at_any_byte_of_a_change_leaves_the_old_or_the_new_header() {
    let (dir, _) = volume(SlotKind::KeyFile, KEY);
    let [first, long, short] = headers(dir.path());
    let in_use = |a: &[u8], b: &[u8]| {
        let copies = Copies::pick(parse(a.to_vec()), parse(b.to_vec()));
        let copies = copies.expect("one copy is whole");
        assert_eq!(matches!(copies.twin, Twin::Same), a == b);
        file_bytes(&copies.header)
    };
    for (old, new) in [(&first, &long), (&long, &short)] {
        for cut in 0..=old.len().max(new.len()) {
            let torn = torn(old, new, cut);
            let expected = if torn == *new { new } else { old };
            assert_eq!(in_use(&torn, old), *expected, "{cut}");
            assert_eq!(in_use(new, &torn), *new, "{cut}");
        }
    }
}

#[test]
fn the_newer_copy_counts_and_the_older_is_overwritten() {
    let (dir, _) = volume(SlotKind::KeyFile, KEY);
    let dir = dir.path();
    let [_, old, new] = headers(dir);
    for (newer, older) in [(Copy::A, Copy::B), (Copy::B, Copy::A)] {
        put(dir, newer, &new);
        put(dir, older, &old);
        assert!(matches!(peek(dir).expect("a header").twin, Twin::Older));
        let unlocked = open(dir, KEY, Access::ReadOnly).expect("unlocked");
        assert!(!unlocked.healed);
        assert_eq!(unlocked.header_seq, 3);
        assert_eq!(read(dir, older), old);
        // A secret whose slot was removed does not open the older copy.
        let removed = open(dir, &[1; 32], Access::ReadOnly);
        assert!(matches!(removed, Err(KeysError::WrongSecret)));
        assert!(open(dir, KEY, Access::ReadWrite).expect("unlocked").healed);
        assert_eq!(read(dir, older), new);
        assert!(!open(dir, KEY, Access::ReadWrite).expect("unlocked").healed);
    }
}

#[test]
fn a_damaged_copy_is_mended_only_with_the_right_secret() {
    let (dir, _) = volume(SlotKind::KeyFile, KEY);
    let dir = dir.path();
    let good = read(dir, Copy::A);
    for copy in Copy::BOTH {
        for damage in [&b""[..], b"short", &good[1..], &[0; MAX_BYTES + 1]] {
            put(dir, copy, damage);
            let is_long = damage.len() > MAX_BYTES;
            assert!(match peek(dir).expect("a header").twin {
                Twin::Damaged(CopyFault::TooLong) => is_long,
                Twin::Damaged(CopyFault::Checksum) => !is_long,
                _ => false,
            });
            assert!(open(dir, &[2; 32], Access::ReadWrite).is_err());
            assert_eq!(read(dir, copy), damage);
            assert!(open(dir, KEY, Access::ReadWrite).expect("unlocked").healed);
            assert_eq!(read(dir, copy), good);
        }
        std::fs::remove_file(copy.path(dir)).expect("removed");
        assert!(open(dir, KEY, Access::ReadWrite).expect("unlocked").healed);
        let mode = std::fs::metadata(copy.path(dir)).expect("a copy");
        assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn two_different_headers_with_one_number_are_tampering() {
    let (dir, _) = volume(SlotKind::KeyFile, KEY);
    let other = create(new_header(SlotKind::KeyFile), &secret(&[1; 32]), counting());
    let elsewhere = tempfile::tempdir().expect("a directory");
    other
        .expect("created")
        .write(elsewhere.path())
        .expect("written");
    put(dir.path(), Copy::B, &read(elsewhere.path(), Copy::A));
    let e = peek(dir.path()).err();
    assert!(matches!(e, Some(KeysError::Tampered { .. })), "{e:?}");
}

#[test]
fn only_regular_files_are_read() {
    let (dir, _) = volume(SlotKind::KeyFile, KEY);
    let path = Copy::B.path(dir.path());
    let is_refused = || match peek(dir.path()).expect("the other copy").twin {
        Twin::Damaged(fault) => matches!(fault, CopyFault::NotRegular),
        _ => false,
    };
    std::fs::remove_file(&path).expect("removed");
    symlink(Copy::A.path(dir.path()), &path).expect("a symlink");
    assert!(is_refused());
    let e = open(dir.path(), KEY, Access::ReadWrite).err();
    assert!(
        matches!(e, Some(KeysError::Io { op: "write", .. })),
        "{e:?}"
    );
    std::fs::remove_file(&path).expect("removed");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).expect("a pipe");
    assert!(is_refused());
    std::fs::remove_file(&path).expect("removed");
    std::fs::create_dir(&path).expect("a directory");
    assert!(is_refused());
    open(dir.path(), KEY, Access::ReadOnly).expect("the other copy is enough");
}

#[test]
fn the_second_copy_is_written_only_after_the_first() {
    let (dir, _) = volume(SlotKind::KeyFile, KEY);
    let [.., new] = headers(dir.path());
    let path = Copy::B.path(dir.path());
    std::fs::remove_file(&path).expect("removed");
    std::fs::create_dir(&path).expect("an obstacle");
    let e = write_both(dir.path(), &new).err();
    assert!(
        matches!(&e, Some(KeysError::Io { op: "write", path: p, .. }) if *p == path),
        "{e:?}"
    );
    assert_eq!(read(dir.path(), Copy::A), new);
}
