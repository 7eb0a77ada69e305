//! Targets for the payload of each kind of record.
//!
//! What decodes keeps the invariants that its type states, and encodes to the same bytes.

use crate::base::{
    ContentId, Epoch, Generation, Ino, InodeGen, PAGE_BYTES, PackNo, PageIx, Timestamp,
};
use crate::format::account::PackAccount;
use crate::format::blockref::{BlockRef, Encoding, Place, Shape};
use crate::format::dirent::{Dirent, decode_dirents, encode_dirents};
use crate::format::extents::{Extents, GROUP_CHUNKS};
use crate::format::inode::Inode;
use crate::format::orphan::Orphan;
use crate::format::page::PageRecord;
use crate::format::punch::{Range, decode_ids, decode_ranges, encode_ids, encode_ranges};
use crate::format::root::Root;
use crate::format::settings::Settings;
use crate::format::xattr::XattrRecord;

fn is_xattr_name(name: &[u8]) -> bool {
    (1..=255).contains(&name.len())
}

pub fn inode(input: &[u8]) -> bool {
    let Ok(inode) = Inode::decode(input) else {
        return false;
    };
    assert_eq!(inode.encode(), input);
    assert!(inode.xattrs.iter().all(|(name, _)| is_xattr_name(name)));
    assert!(inode.xattrs.is_sorted_by(|a, b| a.0 < b.0));
    for t in [inode.atime, inode.mtime, inode.ctime, inode.btime] {
        assert!(t.nanos < 1_000_000_000);
    }
    true
}

pub fn inode_seeds() -> Vec<Vec<u8>> {
    let t = Timestamp {
        secs: -1,
        nanos: 999_999_999,
    };
    let file = Inode {
        mode: 0o100_644,
        uid: 1000,
        gid: 1000,
        nlink: 1,
        size_bytes: u64::MAX,
        used_pages: 3,
        atime: t,
        mtime: t,
        ctime: t,
        btime: t,
        rdev: 0,
        flags: 3,
        generation: InodeGen(7),
        parent: Ino(2),
        target: Vec::new(),
        xattrs: Vec::new(),
    };
    let link = Inode {
        mode: 0o120_777,
        target: b"../to/there".to_vec(),
        ..file.clone()
    };
    let dressed = Inode {
        xattrs: vec![
            (b"user.a".to_vec(), Vec::new()),
            (b"user.b".to_vec(), vec![1; 300]),
        ],
        ..file.clone()
    };
    vec![file.encode(), link.encode(), dressed.encode()]
}

pub fn dirent(input: &[u8]) -> bool {
    let Ok(entries) = decode_dirents(input) else {
        return false;
    };
    assert_eq!(encode_dirents(&entries), input);
    for e in &entries {
        assert!((1..=255).contains(&e.name.len()));
        assert!(!e.name.iter().any(|b| matches!(b, 0 | b'/')));
        assert!(!matches!(e.name.as_slice(), b"." | b".."));
    }
    true
}

pub fn dirent_seeds() -> Vec<Vec<u8>> {
    let entry = |name: &[u8]| Dirent {
        ino: Ino(3),
        generation: InodeGen(9),
        kind: 8,
        name: name.to_vec(),
    };
    vec![
        encode_dirents(&[entry(b"a")]),
        encode_dirents(&[entry(b"..."), entry(&[0xff; 255])]),
    ]
}

pub fn extents(input: &[u8]) -> bool {
    let Ok(e) = Extents::decode(input) else {
        return false;
    };
    assert_eq!(e.encode(), input);
    let blocks = (0..GROUP_CHUNKS).filter(|i| e.block(*i).is_some()).count();
    assert_eq!(input.len(), 16 + 32 * blocks);
    assert_eq!(e.is_empty(), blocks == 0 && e.pages == 0);
    true
}

pub fn extents_seeds() -> Vec<Vec<u8>> {
    let mut full = Extents::default();
    for slot in 0..GROUP_CHUNKS {
        full.set_block(slot, Some(ContentId([7; 32])));
    }
    let mut one = Extents::default();
    one.set_block(63, Some(ContentId([9; 32])));
    one.set_pages(0, true);
    vec![full.encode(), one.encode(), Extents::default().encode()]
}

pub fn xattr(input: &[u8]) -> bool {
    let Ok(x) = XattrRecord::decode(input) else {
        return false;
    };
    assert_eq!(XattrRecord::encode(&x.name, &x.value), input);
    assert!(is_xattr_name(&x.name));
    assert!(x.value.len() <= 64 << 10);
    true
}

pub fn xattr_seeds() -> Vec<Vec<u8>> {
    vec![
        XattrRecord::encode(b"user.name", &[3; 70]),
        XattrRecord::encode(b"user.empty", b""),
    ]
}

pub fn page(input: &[u8]) -> bool {
    let Ok(p) = PageRecord::decode(input) else {
        return false;
    };
    assert_eq!(PageRecord::encode(p.ino, p.page, &p.data), input);
    assert!(p.data.len() <= PAGE_BYTES);
    true
}

pub fn page_seeds() -> Vec<Vec<u8>> {
    vec![
        PageRecord::encode(Ino(2), PageIx(0), b""),
        PageRecord::encode(Ino(2), PageIx(9), &[1; PAGE_BYTES]),
    ]
}

pub fn blockref(input: &[u8]) -> bool {
    let Ok(b) = BlockRef::decode(input) else {
        return false;
    };
    assert_eq!(b.encode(), input);
    let (mut raw, mut sealed) = (0, 0);
    for f in b.shape.frames() {
        assert_eq!((f.raw_at, f.sealed_at), (raw, sealed));
        raw += f.raw_len;
        sealed += f.sealed_len;
    }
    assert_eq!(raw, b.shape.raw_len());
    assert_eq!(sealed, b.shape.sealed_len());
    assert!(raw <= 1 << 20);
    assert!(b.refs > 0);
    true
}

pub fn blockref_seeds() -> Vec<Vec<u8>> {
    let with = |raw_len, shift, frames: &[(Encoding, u32)]| {
        let mut shape = Shape::new(raw_len, shift).expect("a shape");
        for (i, (encoding, len)) in frames.iter().enumerate() {
            shape.set(i, *encoding, *len);
        }
        let place = Place {
            epoch: Epoch(1),
            pack: PackNo(1),
            offset: 4096,
        };
        let refs = 2;
        BlockRef { refs, place, shape }.encode()
    };
    let third = [
        (Encoding::Raw, (16 << 10) + 40),
        (Encoding::Lz4, 900),
        (Encoding::Zstd, 41),
    ];
    vec![
        with(1, 11, &[(Encoding::Raw, 41)]),
        with(40 << 10, 14, &third),
        with(1 << 20, 17, &[(Encoding::Raw, (128 << 10) + 40); 8]),
    ]
}

pub fn account(input: &[u8]) -> bool {
    PackAccount::decode(input).is_ok_and(|a| {
        assert_eq!(a.encode(), input);
        assert!(u64::from(a.live) + u64::from(a.punched) <= u64::from(a.written));
        true
    })
}

pub fn account_seeds() -> Vec<Vec<u8>> {
    let account = PackAccount {
        written: 100,
        live: 60,
        punched: 40,
        sealed: true,
        ..PackAccount::new(Epoch(1))
    };
    vec![account.encode()]
}

pub fn orphan(input: &[u8]) -> bool {
    Orphan::decode(input).is_ok_and(|o| {
        assert_eq!(o.encode(), input);
        true
    })
}

pub fn orphan_seeds() -> Vec<Vec<u8>> {
    let orphan = Orphan {
        ino: Ino(5),
        dead: true,
        cut_bytes: 4096,
    };
    vec![orphan.encode()]
}

pub fn settings(input: &[u8]) -> bool {
    Settings::decode(input).is_ok_and(|s| {
        assert_eq!(s.encode(), input);
        true
    })
}

pub fn settings_seeds() -> Vec<Vec<u8>> {
    let settings = Settings {
        quota_bytes: Some(1 << 30),
        compression: 2,
    };
    vec![settings.encode()]
}

pub fn ranges(input: &[u8]) -> bool {
    decode_ranges(input).is_ok_and(|ranges| {
        assert_eq!(encode_ranges(&ranges), input);
        assert!(ranges.iter().all(|r| r.end() > r.offset));
        true
    })
}

pub fn ranges_seeds() -> Vec<Vec<u8>> {
    let ranges = [(0, 4096), (u32::MAX - 1, 1)].map(|(offset, len)| Range { offset, len });
    vec![encode_ranges(&ranges)]
}

pub fn ids(input: &[u8]) -> bool {
    decode_ids(input).is_ok_and(|ids| {
        assert_eq!(encode_ids(&ids), input);
        true
    })
}

pub fn ids_seeds() -> Vec<Vec<u8>> {
    vec![encode_ids(&[ContentId([1; 32]), ContentId([2; 32])])]
}

pub fn root(input: &[u8]) -> bool {
    let Ok(root) = Root::decode(input) else {
        return false;
    };
    assert_eq!(root.encode(), input);
    assert!(input.starts_with(&root.signed_bytes()));
    assert!(root.time.nanos < 1_000_000_000);
    true
}

pub fn root_seeds() -> Vec<Vec<u8>> {
    let unsigned = Root {
        generation: Generation(77),
        header_seq: 3,
        ..Root::new([4; 16])
    };
    let signed = Root {
        clean: true,
        signature: Some([9; 64]),
        ..unsigned.clone()
    };
    vec![unsigned.encode(), signed.encode()]
}
