//! Extended attributes and ACLs.

use super::{ROOT, Volume};
use crate::base::Ino;
use crate::fs::{Caller, FsError, SetAttr};
use libc::{XATTR_CREATE, XATTR_REPLACE};

const R: Ino = Ino::ROOT;
const ACCESS: &[u8] = b"system.posix_acl_access";
const DEFAULT: &[u8] = b"system.posix_acl_default";

fn names(v: &Volume, ino: Ino) -> Vec<String> {
    let list = String::from_utf8(v.listxattr(ino).unwrap()).unwrap();
    let mut names: Vec<String> = list.split_terminator('\0').map(String::from).collect();
    names.sort();
    names
}

#[test]
fn small_and_large_values_come_back() {
    let mut v = Volume::new();
    let f = v.file(R, b"f");
    let large = vec![7; 60_000];
    let before = v.getattr(f).unwrap().ctime;
    v.setxattr(ROOT, f, b"user.small", b"1", 0).unwrap();
    v.setxattr(ROOT, f, b"user.empty", b"", 0).unwrap();
    v.setxattr(ROOT, f, b"trusted.large", &large, 0).unwrap();
    v.setxattr(ROOT, f, b"security.selinux", b"ctx", 0).unwrap();
    assert!(v.getattr(f).unwrap().ctime > before);
    v.sync(f).unwrap();
    v.reopen();
    assert_eq!(
        names(&v, f),
        [
            "security.selinux",
            "trusted.large",
            "user.empty",
            "user.small"
        ]
    );
    assert_eq!(v.getxattr(f, b"user.small").unwrap(), b"1");
    assert_eq!(v.getxattr(f, b"user.empty").unwrap(), b"");
    assert_eq!(v.getxattr(f, b"trusted.large").unwrap(), large);
    // Large to small and back.
    v.setxattr(ROOT, f, b"trusted.large", b"now small", 0)
        .unwrap();
    assert_eq!(v.getxattr(f, b"trusted.large").unwrap(), b"now small");
    v.setxattr(ROOT, f, b"user.small", &large, 0).unwrap();
    assert_eq!(v.getxattr(f, b"user.small").unwrap(), large);
    for name in ["trusted.large", "user.small", "user.empty"] {
        v.removexattr(ROOT, f, name.as_bytes()).unwrap();
    }
    assert_eq!(names(&v, f), ["security.selinux"]);
}

#[test]
fn flags_and_limits_are_kept() {
    let v = Volume::new();
    let f = v.file(R, b"f");
    let set = |name: &[u8], value: &[u8], flags| v.setxattr(ROOT, f, name, value, flags);
    assert!(matches!(
        set(b"user.a", b"1", XATTR_REPLACE),
        Err(FsError::NoAttribute)
    ));
    set(b"user.a", b"1", XATTR_CREATE).unwrap();
    assert!(matches!(
        set(b"user.a", b"2", XATTR_CREATE),
        Err(FsError::Exists)
    ));
    set(b"user.a", b"2", XATTR_REPLACE).unwrap();
    assert_eq!(v.getxattr(f, b"user.a").unwrap(), b"2");
    assert!(matches!(
        v.getxattr(f, b"user.b"),
        Err(FsError::NoAttribute)
    ));
    let removed = v.removexattr(ROOT, f, b"user.b");
    assert!(matches!(removed, Err(FsError::NoAttribute)));
    for unknown in [&b"nospace"[..], b"system.other", b"usr.a"] {
        assert!(matches!(set(unknown, b"", 0), Err(FsError::NotSupported)));
    }
    assert!(matches!(set(b"user.", b"", 0), Err(FsError::Invalid)));
    let long = [b"user.".to_vec(), vec![b'x'; 251]].concat();
    assert!(matches!(set(&long, b"", 0), Err(FsError::Range)));
    set(&long[..255], b"", 0).unwrap();
    assert!(matches!(
        set(b"user.a", &[0; 65_537], 0),
        Err(FsError::TooBig)
    ));
    set(b"user.a", &[1; 65_536], 0).unwrap();
    set(b"user.b", &[1; 65_000], 0).unwrap();
    assert!(matches!(
        set(b"user.c", &[1; 1000], 0),
        Err(FsError::NoSpace)
    ));
    set(b"user.b", &[1; 60_000], XATTR_REPLACE).unwrap();
    set(b"user.c", &[1; 1000], 0).unwrap();
}

#[test]
fn many_attributes_overflow_the_inode() {
    let mut v = Volume::new();
    let f = v.file(R, b"f");
    for n in 0..100 {
        let name = format!("user.attribute{n:03}");
        v.setxattr(ROOT, f, name.as_bytes(), &[n; 100], 0).unwrap();
    }
    v.reopen();
    assert_eq!(names(&v, f).len(), 100);
    for n in 0..100 {
        let name = format!("user.attribute{n:03}");
        assert_eq!(v.getxattr(f, name.as_bytes()).unwrap(), [n; 100]);
    }
    assert!(v.core.inode(f).unwrap().encode().len() <= 4096);
    let records = v.core.txn.root().counts[crate::format::record::Kind::Xattr as usize];
    assert!(records > 50);
    v.unlink(R, b"f").unwrap();
    v.reopen();
    v.reopen();
    let root = v.core.txn.root();
    assert_eq!(root.counts[crate::format::record::Kind::Xattr as usize], 0);
    assert_eq!(root.inodes, 1);
}

/// An ACL as the kernel encodes it.
fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut out = 2_u32.to_le_bytes().to_vec();
    for (tag, perm, id) in entries {
        out.extend_from_slice(&tag.to_le_bytes());
        out.extend_from_slice(&perm.to_le_bytes());
        out.extend_from_slice(&id.to_le_bytes());
    }
    out
}

const NOBODY: u32 = u32::MAX;

/// u::rwx, u:7:rw-, g::r-x, m::MASK, o::OTHER
fn with_user(mask: u16, other: u16) -> Vec<u8> {
    acl(&[
        (1, 7, NOBODY),
        (2, 6, 7),
        (4, 5, NOBODY),
        (0x10, mask, NOBODY),
        (0x20, other, NOBODY),
    ])
}

fn mode(mode: u32) -> SetAttr {
    SetAttr {
        mode: Some(mode),
        ..Default::default()
    }
}

#[test]
fn mode_and_access_acl_keep_in_step() {
    let v = Volume::new();
    let f = v.file(R, b"f");
    v.setxattr(ROOT, f, ACCESS, &with_user(6, 1), 0).unwrap();
    assert_eq!(v.getattr(f).unwrap().perm, 0o761);
    assert_eq!(v.getxattr(f, ACCESS).unwrap(), with_user(6, 1));
    // The group bits of chmod are the mask.
    v.set(ROOT, f, mode(0o4740)).unwrap();
    assert_eq!(v.getattr(f).unwrap().perm, 0o4740);
    assert_eq!(v.getxattr(f, ACCESS).unwrap(), with_user(4, 0));
    // What the mode says alone needs no attribute.
    let plain = acl(&[(1, 6, NOBODY), (4, 4, NOBODY), (0x20, 0, NOBODY)]);
    v.setxattr(ROOT, f, ACCESS, &plain, 0).unwrap();
    assert_eq!(v.getattr(f).unwrap().perm, 0o4640);
    assert!(matches!(v.getxattr(f, ACCESS), Err(FsError::NoAttribute)));
    v.setxattr(ROOT, f, ACCESS, &with_user(7, 7), 0).unwrap();
    v.removexattr(ROOT, f, ACCESS).unwrap();
    assert_eq!(v.getattr(f).unwrap().perm, 0o4777);
    assert_eq!(v.listxattr(f).unwrap(), b"");
}

#[test]
fn an_access_acl_of_another_group_ends_sgid() {
    let v = Volume::new();
    let f = v.file(R, b"f");
    let owner = Caller { uid: 9, gid: 9 };
    v.set(ROOT, f, mode(0o2755)).unwrap();
    v.setxattr(ROOT, f, ACCESS, &with_user(5, 5), 0).unwrap();
    assert_eq!(v.getattr(f).unwrap().perm, 0o2755);
    v.setxattr(owner, f, ACCESS, &with_user(5, 5), 0).unwrap();
    assert_eq!(v.getattr(f).unwrap().perm, 0o755);
}

#[test]
fn a_default_acl_takes_the_place_of_the_umask() {
    let v = Volume::new();
    let d = v.dir(R, b"d");
    v.setxattr(ROOT, d, DEFAULT, &with_user(7, 5), 0).unwrap();
    let f = v
        .mknod(ROOT, d, b"f", libc::S_IFREG | 0o664, 0o077, 0)
        .unwrap();
    assert_eq!(f.perm, 0o664);
    let expected = acl(&[
        (1, 6, NOBODY),
        (2, 6, 7),
        (4, 5, NOBODY),
        (0x10, 6, NOBODY),
        (0x20, 4, NOBODY),
    ]);
    assert_eq!(v.getxattr(f.ino, ACCESS).unwrap(), expected);
    assert!(matches!(
        v.getxattr(f.ino, DEFAULT),
        Err(FsError::NoAttribute)
    ));
    let sub = v.mkdir(ROOT, d, b"sub", 0o777, 0o077).unwrap();
    assert_eq!(sub.perm, 0o775);
    assert_eq!(v.getxattr(sub.ino, DEFAULT).unwrap(), with_user(7, 5));
    assert_eq!(v.getxattr(sub.ino, ACCESS).unwrap(), with_user(7, 5));
    let s = v.symlink(ROOT, d, b"s", b"f").unwrap();
    assert_eq!((s.perm, v.listxattr(s.ino).unwrap()), (0o777, Vec::new()));
    // A plain default list only changes the mode.
    let plain = acl(&[(1, 7, NOBODY), (4, 5, NOBODY), (0x20, 0, NOBODY)]);
    v.setxattr(ROOT, d, DEFAULT, &plain, 0).unwrap();
    let g = v
        .mknod(ROOT, d, b"g", libc::S_IFREG | 0o666, 0o022, 0)
        .unwrap();
    assert_eq!((g.perm, v.listxattr(g.ino).unwrap()), (0o640, Vec::new()));
}

#[test]
fn what_is_no_acl_is_refused() {
    let v = Volume::new();
    let f = v.file(R, b"f");
    let denied = |value: &[u8]| v.setxattr(ROOT, f, ACCESS, value, 0);
    let bad = [
        b"".to_vec(),
        1_u32.to_le_bytes().to_vec(),
        acl(&[(1, 7, NOBODY)]),
        acl(&[(1, 7, NOBODY), (4, 8, NOBODY), (0x20, 0, NOBODY)]),
        acl(&[(1, 7, NOBODY), (2, 7, 5), (4, 7, NOBODY), (0x20, 0, NOBODY)]),
        acl(&[(1, 7, NOBODY), (4, 7, NOBODY), (0x20, 0, NOBODY), (3, 0, 0)]),
        with_user(7, 7)[..20].to_vec(),
        with_user(7, 7)[..21].to_vec(),
    ];
    for value in &bad {
        assert!(matches!(denied(value), Err(FsError::Invalid)), "{value:?}");
    }
    let on_file = v.setxattr(ROOT, f, DEFAULT, &with_user(7, 7), 0);
    assert!(matches!(on_file, Err(FsError::NotPermitted)));
    // An empty list removes.
    denied(&with_user(7, 7)).unwrap();
    denied(&acl(&[])).unwrap();
    assert!(matches!(v.getxattr(f, ACCESS), Err(FsError::NoAttribute)));
}

/// `setfattr -x system.posix_acl_access` on a file without a list failed here and on no other file
/// system.
#[test]
fn an_absent_acl_can_be_removed() {
    let v = Volume::new();
    v.removexattr(ROOT, R, ACCESS).unwrap();
    v.removexattr(ROOT, R, DEFAULT).unwrap();
    let absent = v.removexattr(ROOT, R, b"user.absent");
    assert!(matches!(absent, Err(FsError::NoAttribute)));
}
