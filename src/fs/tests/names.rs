//! Making and removing names.

use super::{ROOT, Volume};
use crate::base::Ino;
use crate::fs::{Caller, FileKind, FsError};

const R: Ino = Ino::ROOT;

#[test]
fn a_new_file_is_found_by_its_name() {
    let v = Volume::new();
    let who = Caller { uid: 7, gid: 8 };
    let made = v
        .mknod(who, R, b"f", libc::S_IFREG | 0o666, 0o027, 0)
        .unwrap();
    assert_eq!(
        (made.kind, made.perm, made.nlink),
        (FileKind::Regular, 0o640, 1)
    );
    assert_eq!((made.uid, made.gid, made.size_bytes), (7, 8, 0));
    assert_eq!(
        (made.atime, made.mtime, made.ctime),
        (made.btime, made.btime, made.btime)
    );
    assert_eq!(v.lookup(R, b"f").unwrap(), made);
    assert_eq!(v.getattr(made.ino).unwrap(), made);
    assert!(matches!(v.lookup(R, b"g"), Err(FsError::NoEntry)));
}

#[test]
fn every_kind_of_node_can_be_made() {
    let v = Volume::new();
    let kinds = [
        (libc::S_IFIFO, FileKind::Fifo, 0),
        (libc::S_IFSOCK, FileKind::Socket, 0),
        (libc::S_IFCHR, FileKind::CharDevice, 0x103),
        (libc::S_IFBLK, FileKind::BlockDevice, 0x800),
    ];
    for (n, (bits, kind, rdev)) in kinds.into_iter().enumerate() {
        let name = [b'a' + u8::try_from(n).unwrap()];
        let made = v.mknod(ROOT, R, &name, bits | 0o600, 0, 0x103).unwrap();
        assert_eq!(made.kind, kind);
        let expected = if rdev == 0 { 0 } else { 0x103 };
        assert_eq!(made.rdev, expected);
        assert_eq!(v.lookup(R, &name).unwrap(), made);
    }
    for bad in [libc::S_IFDIR, libc::S_IFLNK, 0] {
        let made = v.mknod(ROOT, R, b"bad", bad | 0o600, 0, 0);
        assert!(matches!(made, Err(FsError::Invalid)));
    }
}

#[test]
fn bad_names_are_refused() {
    let v = Volume::new();
    let long = [b'x'; 256];
    assert!(matches!(v.try_file(R, &long), Err(FsError::NameTooLong)));
    assert!(matches!(v.lookup(R, &long), Err(FsError::NameTooLong)));
    v.file(R, &long[..255]);
    assert_eq!(v.lookup(R, &long[..255]).unwrap().nlink, 1);
    for bad in [&b""[..], b".", b"..", b"a/b", b"a\0b"] {
        assert!(
            matches!(v.try_file(R, bad), Err(FsError::Invalid)),
            "{bad:?}"
        );
    }
    let f = v.file(R, b"f");
    assert!(matches!(v.try_file(R, b"f"), Err(FsError::Exists)));
    assert!(matches!(v.try_file(f, b"g"), Err(FsError::NotDirectory)));
    assert!(matches!(v.lookup(f, b"g"), Err(FsError::NotDirectory)));
    assert!(matches!(v.try_file(Ino(999), b"g"), Err(FsError::NoEntry)));
}

#[test]
fn directories_count_their_links() {
    let v = Volume::new();
    let a = v.mkdir(ROOT, R, b"a", 0o777, 0o022).unwrap();
    assert_eq!((a.nlink, a.perm, a.kind), (2, 0o755, FileKind::Directory));
    let b = v.dir(a.ino, b"b");
    v.file(a.ino, b"f");
    assert_eq!(v.getattr(R).unwrap().nlink, 3);
    assert_eq!(v.getattr(a.ino).unwrap().nlink, 3);
    assert!(matches!(v.rmdir(R, b"a"), Err(FsError::NotEmpty)));
    assert!(matches!(v.rmdir(a.ino, b"f"), Err(FsError::NotDirectory)));
    assert!(matches!(v.unlink(a.ino, b"b"), Err(FsError::IsDirectory)));
    assert!(matches!(v.rmdir(a.ino, b"c"), Err(FsError::NoEntry)));
    v.rmdir(a.ino, b"b").unwrap();
    assert_eq!(v.getattr(a.ino).unwrap().nlink, 2);
    // The kernel holds the removed directory still: nothing can be made in it.
    assert_eq!(v.getattr(b).unwrap().nlink, 0);
    assert!(matches!(v.try_file(b, b"x"), Err(FsError::NoEntry)));
    v.unlink(a.ino, b"f").unwrap();
    v.rmdir(R, b"a").unwrap();
    assert_eq!(v.getattr(R).unwrap().nlink, 2);
    assert_eq!(v.names(R), Vec::<Vec<u8>>::new());
}

#[test]
fn changes_of_a_directory_show_in_its_times() {
    let v = Volume::new();
    let d = v.dir(R, b"d");
    let mut last = v.getattr(d).unwrap();
    let mut changed = |what: &str| {
        let now = v.getattr(d).unwrap();
        assert!(now.mtime > last.mtime, "{what}");
        assert_eq!(now.mtime, now.ctime, "{what}");
        last = now;
    };
    v.file(d, b"f");
    changed("create");
    let f = v.lookup(d, b"f").unwrap();
    v.link(f.ino, d, b"g").unwrap();
    changed("link");
    v.symlink(ROOT, d, b"s", b"f").unwrap();
    changed("symlink");
    v.mv((d, b"g"), (d, b"h"), 0).unwrap();
    changed("rename");
    v.unlink(d, b"h").unwrap();
    changed("unlink");
    assert_eq!(v.getattr(d).unwrap().size_bytes, 2);
}

#[test]
fn a_set_group_id_directory_gives_its_group_on() {
    let v = Volume::new();
    let who = Caller { uid: 5, gid: 5 };
    let d = v
        .mkdir(Caller { uid: 5, gid: 9 }, R, b"d", 0o2775, 0)
        .unwrap();
    let f = v
        .mknod(who, d.ino, b"f", libc::S_IFREG | 0o644, 0, 0)
        .unwrap();
    let sub = v.mkdir(who, d.ino, b"sub", 0o755, 0).unwrap();
    assert_eq!((f.gid, f.perm), (9, 0o644));
    assert_eq!((sub.gid, sub.perm), (9, 0o2755));
}

#[test]
fn hard_links_share_an_inode() {
    let v = Volume::new();
    let f = v.file(R, b"f");
    let d = v.dir(R, b"d");
    let before = v.getattr(f).unwrap();
    let linked = v.link(f, d, b"g").unwrap();
    assert_eq!((linked.ino, linked.nlink), (f, 2));
    assert!(linked.ctime > before.ctime);
    assert_eq!(linked.mtime, before.mtime);
    assert!(matches!(v.link(f, d, b"g"), Err(FsError::Exists)));
    assert!(matches!(v.link(d, R, b"e"), Err(FsError::NotPermitted)));
    assert!(matches!(v.link(f, f, b"e"), Err(FsError::NotDirectory)));
    v.unlink(R, b"f").unwrap();
    assert_eq!(v.lookup(d, b"g").unwrap().nlink, 1);
    v.unlink(d, b"g").unwrap();
    // Without a name, but held by the kernel: it cannot get a name again.
    assert!(matches!(v.link(f, d, b"h"), Err(FsError::NoEntry)));
}

#[test]
fn symlinks_hold_up_to_4095_bytes() {
    let v = Volume::new();
    for len in [1, 60, 4095] {
        let target = vec![b't'; len];
        let name = len.to_string();
        let s = v.symlink(ROOT, R, name.as_bytes(), &target).unwrap();
        assert_eq!(
            (s.size_bytes, s.perm, s.kind),
            (len as u64, 0o777, FileKind::Symlink)
        );
        assert_eq!(v.readlink(s.ino).unwrap(), target);
    }
    assert!(matches!(
        v.symlink(ROOT, R, b"x", &[b't'; 4096]),
        Err(FsError::NameTooLong)
    ));
    assert!(matches!(
        v.symlink(ROOT, R, b"x", b""),
        Err(FsError::NoEntry)
    ));
    let f = v.file(R, b"f");
    assert!(matches!(v.readlink(f), Err(FsError::Invalid)));
}

#[test]
fn an_unlinked_file_lives_until_it_is_forgotten() {
    let v = Volume::new();
    let f = v.file(R, b"f");
    v.lookup(R, b"f").unwrap();
    v.write_at(f, 0, b"hello").unwrap();
    let inodes = v.inodes();
    v.unlink(R, b"f").unwrap();
    assert!(matches!(v.lookup(R, b"f"), Err(FsError::NoEntry)));
    assert_eq!(v.getattr(f).unwrap().nlink, 0);
    assert_eq!(v.contents(f), b"hello");
    v.write_at(f, 5, b" there").unwrap();
    v.sync(f).unwrap();
    assert_eq!(v.contents(f), b"hello there");
    // Looked up twice: by its creation and by name.
    v.forget(f, 1);
    assert_eq!(v.contents(f), b"hello there");
    v.forget(f, 1);
    assert!(matches!(v.getattr(f), Err(FsError::NoEntry)));
    assert_eq!(v.inodes(), inodes - 1);
    assert_eq!(v.core.txn.root().used_pages, 0);
}

#[test]
fn setting_attributes_of_an_orphan_never_brings_it_back() {
    let v = Volume::new();
    let f = v.file(R, b"f");
    v.unlink(R, b"f").unwrap();
    let set = crate::fs::SetAttr {
        mode: Some(0o600),
        ..Default::default()
    };
    assert_eq!(v.set(ROOT, f, set).unwrap().perm, 0o600);
    v.forget(f, 1);
    assert!(matches!(v.set(ROOT, f, set), Err(FsError::NoEntry)));
    assert!(matches!(v.getattr(f), Err(FsError::NoEntry)));
}

#[test]
fn a_read_only_file_system_changes_nothing() {
    let mut v = Volume::new();
    let f = v.file(R, b"f");
    v.write_at(f, 0, b"data").unwrap();
    v.reopen_read_only();
    assert!(matches!(v.try_file(R, b"g"), Err(FsError::ReadOnly)));
    assert!(matches!(v.unlink(R, b"f"), Err(FsError::ReadOnly)));
    assert!(matches!(v.write_at(f, 0, b"x"), Err(FsError::ReadOnly)));
    assert!(matches!(
        v.set(ROOT, f, Default::default()),
        Err(FsError::ReadOnly)
    ));
    assert!(matches!(
        v.setxattr(ROOT, f, b"user.a", b"", 0),
        Err(FsError::ReadOnly)
    ));
    assert_eq!(v.contents(f), b"data");
    assert_eq!(v.names(R), [b"f"]);
}

#[test]
fn a_number_finds_its_inode_and_the_directory_above() {
    let v = Volume::new();
    let d = v.dir(R, b"d");
    let f = v.file(d, b"f");
    assert_eq!(v.lookup(f, b".").unwrap(), v.getattr(f).unwrap());
    assert_eq!(v.lookup(d, b"..").unwrap().ino, R);
    assert_eq!(v.lookup(R, b"..").unwrap().ino, R);
    assert!(matches!(v.lookup(f, b".."), Err(FsError::NotDirectory)));
    assert!(matches!(v.lookup(Ino(999), b"."), Err(FsError::NoEntry)));
    v.unlink(d, b"f").unwrap();
    assert!(matches!(v.lookup(f, b"."), Err(FsError::NoEntry)));
    assert!(matches!(v.mkdir(ROOT, R, b".", 0o755, 0), Err(e) if e.errno() != libc::EIO));
}
