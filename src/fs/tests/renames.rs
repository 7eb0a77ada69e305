//! Rename and its flags.

use super::{ROOT, Volume};
use crate::base::Ino;
use crate::fs::{FileKind, FsError};
use libc::{RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT};

const R: Ino = Ino::ROOT;

#[test]
fn a_file_moves_between_directories() {
    let v = Volume::new();
    let (a, b) = (v.dir(R, b"a"), v.dir(R, b"b"));
    let f = v.file(a, b"f");
    let before = v.getattr(f).unwrap();
    v.mv((a, b"f"), (b, b"g"), 0).unwrap();
    assert!(matches!(v.lookup(a, b"f"), Err(FsError::NoEntry)));
    let after = v.lookup(b, b"g").unwrap();
    assert_eq!(after.ino, f);
    assert!(after.ctime > before.ctime);
    assert_eq!(after.mtime, before.mtime);
    assert_eq!(v.getattr(a).unwrap().size_bytes, 0);
    assert_eq!(v.getattr(b).unwrap().size_bytes, 1);
}

#[test]
fn a_directory_takes_its_links_along() {
    let v = Volume::new();
    let (a, b) = (v.dir(R, b"a"), v.dir(R, b"b"));
    let d = v.dir(a, b"d");
    v.mv((a, b"d"), (b, b"e"), 0).unwrap();
    assert_eq!(v.getattr(a).unwrap().nlink, 2);
    assert_eq!(v.getattr(b).unwrap().nlink, 3);
    assert_eq!(v.core.inode(d).unwrap().parent, b);
}

#[test]
fn a_rename_replaces_its_target() {
    let v = Volume::new();
    let (f, g) = (v.file(R, b"f"), v.file(R, b"g"));
    v.link(g, R, b"h").unwrap();
    v.mv((R, b"f"), (R, b"g"), 0).unwrap();
    assert_eq!(v.lookup(R, b"g").unwrap().ino, f);
    assert_eq!(v.getattr(g).unwrap().nlink, 1);
    v.mv((R, b"g"), (R, b"h"), 0).unwrap();
    assert_eq!(v.getattr(g).unwrap().nlink, 0);
    v.forget(g, 2);
    assert!(matches!(v.getattr(g), Err(FsError::NoEntry)));
    assert_eq!(v.names(R), [b"h"]);
    assert_eq!(v.getattr(R).unwrap().size_bytes, 1);
}

#[test]
fn renaming_one_link_over_another_does_nothing() {
    let v = Volume::new();
    let f = v.file(R, b"f");
    v.link(f, R, b"g").unwrap();
    v.mv((R, b"f"), (R, b"g"), 0).unwrap();
    v.mv((R, b"f"), (R, b"f"), 0).unwrap();
    assert_eq!(v.names(R), [b"f", b"g"]);
    assert_eq!(v.getattr(f).unwrap().nlink, 2);
}

#[test]
fn kinds_that_do_not_fit_are_refused() {
    let v = Volume::new();
    let d = v.dir(R, b"d");
    let e = v.dir(d, b"e");
    v.dir(R, b"empty");
    v.file(R, b"f");
    let denied = |from: (Ino, &[u8]), to: (Ino, &[u8]), flags| v.mv(from, to, flags).unwrap_err();
    assert!(matches!(denied((R, b"x"), (R, b"y"), 0), FsError::NoEntry));
    assert!(matches!(
        denied((R, b"f"), (R, b"d"), 0),
        FsError::IsDirectory
    ));
    assert!(matches!(
        denied((R, b"d"), (R, b"f"), 0),
        FsError::NotDirectory
    ));
    assert!(matches!(
        denied((R, b"empty"), (R, b"d"), 0),
        FsError::NotEmpty
    ));
    assert!(matches!(denied((R, b"d"), (d, b"x"), 0), FsError::Invalid));
    assert!(matches!(denied((R, b"d"), (e, b"x"), 0), FsError::Invalid));
    assert!(matches!(denied((d, b"e"), (R, b"d"), 0), FsError::NotEmpty));
    let exchange = RENAME_EXCHANGE;
    assert!(matches!(
        denied((R, b"f"), (R, b"x"), exchange),
        FsError::NoEntry
    ));
    assert!(matches!(
        denied((d, b"e"), (R, b"d"), exchange),
        FsError::Invalid
    ));
    assert!(matches!(
        denied((R, b"d"), (d, b"e"), exchange),
        FsError::Invalid
    ));
    assert!(matches!(
        denied((R, b"f"), (R, b"d"), RENAME_NOREPLACE),
        FsError::Exists
    ));
    for flags in [exchange | RENAME_NOREPLACE, exchange | RENAME_WHITEOUT, 8] {
        assert!(matches!(
            denied((R, b"f"), (R, b"d"), flags),
            FsError::Invalid
        ));
    }
    v.mv((R, b"empty"), (d, b"e"), 0).unwrap();
    assert_eq!(v.names(R), [b"d", b"f"]);
    assert_eq!(v.getattr(R).unwrap().nlink, 3);
    assert_eq!(v.getattr(d).unwrap().nlink, 3);
}

#[test]
fn an_exchange_swaps_kinds_and_links() {
    let v = Volume::new();
    let (a, b) = (v.dir(R, b"a"), v.dir(R, b"b"));
    let (f, d) = (v.file(a, b"f"), v.dir(b, b"d"));
    v.mv((a, b"f"), (b, b"d"), RENAME_EXCHANGE).unwrap();
    assert_eq!(v.lookup(a, b"f").unwrap().ino, d);
    assert_eq!(v.lookup(b, b"d").unwrap().ino, f);
    assert_eq!(v.getattr(a).unwrap().nlink, 3);
    assert_eq!(v.getattr(b).unwrap().nlink, 2);
    assert_eq!(v.core.inode(d).unwrap().parent, a);
    let mut kinds = Vec::new();
    v.readdir(a, 2, &mut |e| {
        kinds.push(e.kind);
        true
    })
    .unwrap();
    assert_eq!(kinds, [FileKind::Directory]);
    let g = v.file(R, b"g");
    v.mv((R, b"g"), (R, b"a"), RENAME_EXCHANGE).unwrap();
    assert_eq!(v.lookup(R, b"a").unwrap().ino, g);
    assert_eq!(v.getattr(R).unwrap().nlink, 4);
}

#[test]
fn a_whiteout_stays_where_the_file_was() {
    let v = Volume::new();
    let f = v.file(R, b"f");
    v.mv((R, b"f"), (R, b"g"), RENAME_WHITEOUT).unwrap();
    let white = v.lookup(R, b"f").unwrap();
    assert_eq!(
        (white.kind, white.rdev, white.perm),
        (FileKind::CharDevice, 0, 0)
    );
    assert_eq!(v.lookup(R, b"g").unwrap().ino, f);
    assert_eq!(v.getattr(R).unwrap().size_bytes, 2);
    assert!(matches!(
        v.mknod(ROOT, R, b"f", libc::S_IFREG, 0, 0),
        Err(FsError::Exists)
    ));
}

/// Names whose hashes collide lie in one record: a rename between them changes both halves of it.
#[test]
fn names_in_one_record_are_renamed() {
    let v = Volume::with(super::volume::Setup {
        name_mask: 0,
        ..Default::default()
    });
    let (f, g) = (v.file(R, b"f"), v.file(R, b"g"));
    v.mv((R, b"f"), (R, b"h"), 0).unwrap();
    assert_eq!(v.names(R), [b"g", b"h"]);
    v.mv((R, b"h"), (R, b"g"), RENAME_EXCHANGE).unwrap();
    assert_eq!(v.lookup(R, b"g").unwrap().ino, f);
    assert_eq!(v.lookup(R, b"h").unwrap().ino, g);
    v.mv((R, b"g"), (R, b"h"), 0).unwrap();
    assert_eq!(v.names(R), [b"h"]);
    assert_eq!(v.lookup(R, b"h").unwrap().ino, f);
    v.unlink(R, b"h").unwrap();
    assert_eq!(v.names(R), Vec::<Vec<u8>>::new());
}
