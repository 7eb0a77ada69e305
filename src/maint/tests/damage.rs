//! Each kind of damage is found, and nothing else is told.

use super::volume::{CHUNK, Volume, codes};
use crate::base::PageIx;
use crate::base::{Ino, PackNo};
use crate::format::account::PackAccount;
use crate::format::blockref::BlockRef;
use crate::format::key::{Key, Letter};
use crate::format::punch::{Range, encode_ids, encode_ranges};
use crate::kv::Packs;
use crate::maint::{ByteRange, Code, Report};
use crate::meta::{
    Dirent, Extents, Inode, InodeFlags, Orphan, PageRecord, XattrRecord, decode_dirents,
    encode_dirents,
};

/// Changes records in an ordinary commit, as a bug would, and returns what a check finds.
fn after(change: impl FnOnce(&Volume)) -> Report {
    let volume = Volume::filled();
    change(&volume);
    volume.check_data()
}

#[track_caller]
fn finds(report: &Report, expected: &[(Code, u64)]) {
    assert_eq!(codes(report), expected, "{:#?}", report.findings);
}

#[track_caller]
fn paths(report: &Report, code: Code) -> Vec<&str> {
    let found = report.findings.iter().filter(|f| f.code == code);
    let mut paths: Vec<&str> = found
        .flat_map(|f| f.paths.iter().map(String::as_str))
        .collect();
    paths.sort_unstable();
    paths
}

impl Volume {
    fn inode(&self, path: &str) -> (Ino, Inode) {
        let ino = self.lookup(path);
        let payload = self.payload(&self.names.inode(ino));
        (ino, Inode::decode(&payload).unwrap())
    }

    /// Changes an inode.
    fn change_inode(&self, path: &str, change: impl FnOnce(&mut Inode)) {
        let (ino, mut inode) = self.inode(path);
        change(&mut inode);
        self.commit(|op| op.put(self.names.inode(ino), inode.encode()));
    }

    fn dirent_key(&self, dir: Ino, name: &str) -> Key {
        self.names
            .dirent(dir, &self.names.name_hash(dir, name.as_bytes()))
    }

    /// Changes the entry of a name.
    fn change_name(&self, dir: Ino, name: &str, change: impl FnOnce(&mut Vec<Dirent>)) {
        let key = self.dirent_key(dir, name);
        let mut entries = decode_dirents(&self.payload(&key)).unwrap();
        change(&mut entries);
        match entries.is_empty() {
            true => self.commit(|op| op.delete(key)),
            false => self.commit(|op| op.put(key, encode_dirents(&entries))),
        }
    }

    fn extents(&self, path: &str) -> (Key, Extents) {
        let key = self.names.extents(self.lookup(path), 0);
        (key, Extents::decode(&self.payload(&key)).unwrap())
    }

    fn block_of(&self, path: &str, slot: usize) -> (Key, BlockRef) {
        let key = Key::block(&self.extents(path).1.block(slot).unwrap());
        (key, BlockRef::decode(&self.payload(&key)).unwrap())
    }

    fn change_block(&self, path: &str, change: impl FnOnce(&mut BlockRef)) {
        let (key, mut block) = self.block_of(path, 0);
        change(&mut block);
        self.commit(|op| op.put(key, block.encode()));
    }

    fn change_account(&self, change: impl FnOnce(&mut PackAccount)) {
        let key = Key::account(PackNo(1));
        let mut account = PackAccount::decode(&self.payload(&key)).unwrap();
        change(&mut account);
        self.commit(|op| op.put(key, account.encode()));
    }
}

#[test]
fn f102_a_root_that_is_missing_or_damaged() {
    finds(&after(|v| v.tamper(b"Rroot", None)), &[(Code::Root, 1)]);
    finds(&after(|v| v.flip(&Key::root())), &[(Code::Root, 1)]);
}

#[test]
fn f103_a_record_put_back() {
    let report = after(|v| {
        let key = v.names.inode(v.lookup("small"));
        let old = v.sealed(&key);
        v.change_inode("small", |i| i.mode ^= 0o111);
        v.tamper(key.as_bytes(), Some(old));
    });
    finds(&report, &[(Code::SetDigest, 1)]);
}

#[test]
fn f104_f105_f106_counters_of_the_root() {
    let report = after(|v| {
        v.commit(|op| {
            op.root().inodes += 1;
            op.root().used_pages += 7;
        });
    });
    finds(&report, &[(Code::InodeCount, 1), (Code::UsedPages, 1)]);
    let report = after(|v| {
        let key = v.names.xattr(v.lookup("dir/big"), b"user.large");
        v.tamper(key.as_bytes(), None);
    });
    finds(&report, &[(Code::SetDigest, 1), (Code::RecordCount, 1)]);
}

#[test]
fn f107_numbers_to_come() {
    let report = after(|v| v.commit(|op| op.root().next_ino = 5));
    assert_eq!(codes(&report).first().unwrap().0, Code::NextNumber);
    let report = after(|v| v.commit(|op| op.root().next_pack = 1));
    finds(&report, &[(Code::NextNumber, 1)]);
}

#[test]
fn f108_settings() {
    finds(
        &after(|v| v.commit(|op| op.delete(Key::settings()))),
        &[(Code::Settings, 1)],
    );
    let report = after(|v| v.commit(|op| op.put(Key::settings(), vec![1])));
    finds(&report, &[(Code::Malformed, 1)]);
}

#[test]
fn f201_f202_a_record_of_each_letter() {
    for letter in Letter::ALL {
        if matches!(letter, Letter::Root | Letter::Orphan | Letter::Punch) {
            continue;
        }
        let volume = Volume::filled();
        for key in volume.keys(letter) {
            let sealed = volume.sealed(&key);
            volume.flip(&key);
            let report = volume.check();
            assert_eq!(report.counts[&Code::NotAuthentic], 1, "{key:?}");
            assert_eq!(report.counts[&Code::SetDigest], 1, "{key:?}");
            volume.tamper(key.as_bytes(), Some(sealed));
        }
        assert!(volume.check().is_clean());
        let key = volume.keys(letter)[0];
        volume.commit(|op| op.put(key, vec![0xff; 3]));
        assert_eq!(volume.check().counts[&Code::Malformed], 1, "{key:?}");
    }
}

#[test]
fn f201_names_the_file_of_a_record() {
    let report = after(|v| v.flip(&v.names.extents(v.lookup("dir/sub/sparse"), 1)));
    let found = &report
        .findings
        .iter()
        .find(|f| f.code == Code::NotAuthentic)
        .unwrap();
    assert_eq!(found.paths, ["/dir/sub/sparse"]);
    let group = 64 * CHUNK as u64;
    assert_eq!(
        found.range,
        Some(ByteRange {
            offset: group,
            len: group
        })
    );
    let report = after(|v| v.flip(&v.names.inode(v.lookup("dir/big"))));
    assert_eq!(
        paths(&report, Code::NotAuthentic),
        ["/big link", "/dir/big"]
    );
    let report = after(|v| v.flip(&v.names.page(v.lookup("small"), PageIx(0))));
    assert_eq!(paths(&report, Code::NotAuthentic), ["/small"]);
}

#[test]
fn f203_foreign_keys() {
    for key in [&b"Zebra"[..], b"", b"A", b"Ishort", b"Rother", b"\xff\xff"] {
        finds(
            &after(|v| v.tamper(key, Some(vec![1]))),
            &[(Code::ForeignKey, 1)],
        );
    }
}

#[test]
fn f301_a_name_that_leads_to_nothing() {
    let report = after(|v| {
        v.change_name(Ino::ROOT, "small", |e| e[0].ino = Ino(4000));
    });
    finds(&report, &[(Code::DanglingName, 1), (Code::NoName, 1)]);
    assert_eq!(paths(&report, Code::DanglingName), ["/small"]);
}

#[test]
fn f302_type_and_generation_of_a_name() {
    let report = after(|v| {
        let dir = v.lookup("dir");
        v.change_name(Ino::ROOT, "small", |e| e[0].generation.0 += 1);
        v.change_name(dir, "twin", |e| e[0].kind = 1);
    });
    finds(&report, &[(Code::NameMismatch, 2)]);
    assert_eq!(paths(&report, Code::NameMismatch), ["/dir/twin", "/small"]);
}

#[test]
fn f303_a_name_in_the_wrong_place() {
    let report = after(|v| {
        v.change_name(Ino::ROOT, "small", |e| e[0].name = b"other".to_vec());
    });
    finds(&report, &[(Code::BadName, 1)]);
    assert_eq!(paths(&report, Code::BadName), ["/other"]);
}

#[test]
fn f304_names_of_nobody() {
    let report = after(|v| {
        let entry = Dirent {
            ino: Ino(2),
            generation: crate::base::InodeGen(1),
            kind: 4,
            name: b"a\xff\n".to_vec(),
        };
        let key = v.dirent_key(Ino(4000), "a");
        v.commit(|op| op.put(key, encode_dirents(&[entry])));
    });
    finds(&report, &[(Code::NamesOfNobody, 1)]);
    assert!(
        report.findings[0].subject.contains("a\\xff\\x0a"),
        "{:?}",
        report.findings
    );
}

#[test]
fn f305_f306_f307_counts_of_names() {
    let report = after(|v| v.change_inode("dir/big", |i| i.nlink = 3));
    finds(&report, &[(Code::LinkCount, 1)]);
    assert_eq!(paths(&report, Code::LinkCount), ["/big link", "/dir/big"]);
    let report = after(|v| v.change_inode("dir", |i| i.nlink = 2));
    finds(&report, &[(Code::DirectoryLinks, 1)]);
    assert_eq!(paths(&report, Code::DirectoryLinks), ["/dir"]);
    let report = after(|v| v.change_inode("dir/sub", |i| i.size_bytes += 1));
    finds(&report, &[(Code::DirectorySize, 1)]);
    assert_eq!(paths(&report, Code::DirectorySize), ["/dir/sub"]);
}

#[test]
fn f308_a_directory_that_lies_elsewhere() {
    let report = after(|v| v.change_inode("dir/sub", |i| i.parent = Ino(77)));
    finds(&report, &[(Code::DirectoryParent, 1)]);
    assert_eq!(paths(&report, Code::DirectoryParent), ["/dir/sub"]);
}

#[test]
fn f309_a_file_without_a_name() {
    let report = after(|v| {
        v.change_name(Ino::ROOT, "small", Vec::clear);
        let root = Inode::decode(&v.payload(&v.names.inode(Ino::ROOT))).unwrap();
        let root = Inode {
            size_bytes: root.size_bytes - 1,
            ..root
        };
        v.commit(|op| op.put(v.names.inode(Ino::ROOT), root.encode()));
    });
    finds(&report, &[(Code::NoName, 1)]);
}

#[test]
fn f310_a_directory_that_cannot_be_reached() {
    // The name of a directory now leads to the directory below it: that lies below itself.
    let report = after(|v| {
        let (sub, dir) = (v.lookup("dir/sub"), v.lookup("dir"));
        v.change_name(Ino::ROOT, "dir", |e| e[0].ino = Ino(4000));
        v.change_name(sub, "fifo", |e| (e[0].ino, e[0].kind) = (dir, 4));
    });
    assert_eq!(
        report.counts[&Code::Unreachable],
        1,
        "{:#?}",
        report.findings
    );
    let report = after(|v| v.change_name(Ino::ROOT, "empty", |e| e[0].ino = Ino(4000)));
    finds(&report, &[(Code::DanglingName, 1), (Code::Unreachable, 1)]);
}

#[test]
fn f311_orphan_records() {
    let orphan = |v: &Volume, ino: Ino, at: Ino| {
        let record = Orphan {
            ino,
            dead: true,
            cut_bytes: u64::MAX,
        };
        v.commit(|op| op.put(v.names.orphan(at), record.encode()));
    };
    let report = after(|v| orphan(v, v.lookup("small"), v.lookup("small")));
    finds(&report, &[(Code::Orphan, 1)]);
    finds(
        &after(|v| orphan(v, Ino(4000), Ino(4000))),
        &[(Code::Orphan, 1)],
    );
    finds(
        &after(|v| orphan(v, v.lookup("small"), Ino(3))),
        &[(Code::Orphan, 1)],
    );
}

#[test]
fn f312_an_inode_in_the_wrong_place() {
    let report = after(|v| {
        let (_, inode) = v.inode("small");
        let key = v.names.inode(Ino(77 << 8 | 1));
        v.commit(|op| op.put(key, inode.encode()));
    });
    assert_eq!(
        report.counts[&Code::InodePlace],
        1,
        "{:#?}",
        report.findings
    );
}

#[test]
fn f313_no_root_directory() {
    let report = after(|v| v.commit(|op| op.delete(v.names.inode(Ino::ROOT))));
    assert_eq!(report.counts[&Code::NoRootDirectory], 1);
}

#[test]
fn f314_an_attribute_of_nobody() {
    let xattr = XattrRecord::encode(b"user.lost", b"value");
    let report = after(|v| {
        let key = v.names.xattr(v.lookup("small"), b"user.lost");
        v.commit(|op| op.put(key, xattr.clone()));
    });
    finds(&report, &[(Code::Xattr, 1)]);
    let report = after(|v| {
        let key = v.names.xattr(v.lookup("dir/big"), b"user.else");
        v.commit(|op| op.put(key, xattr.clone()));
    });
    finds(&report, &[(Code::Xattr, 1)]);
    assert_eq!(paths(&report, Code::Xattr), ["/big link", "/dir/big"]);
}

#[test]
fn f315_impossible_attributes() {
    let report = after(|v| v.change_inode("dir/sub/symlink", |i| i.size_bytes += 1));
    finds(&report, &[(Code::Attributes, 1)]);
    assert_eq!(paths(&report, Code::Attributes), ["/dir/sub/symlink"]);
    let report = after(|v| v.change_inode("dir/sub/fifo", |i| i.size_bytes = 1));
    finds(&report, &[(Code::Attributes, 1)]);
}

#[test]
fn f401_extents_of_nobody() {
    let report = after(|v| {
        let mut extents = Extents::default();
        extents.set_pages(0, true);
        let key = v.names.extents(Ino(4000), 0);
        v.commit(|op| op.put(key, extents.encode()));
    });
    finds(&report, &[(Code::ExtentsOfNobody, 1)]);
    let report = after(|v| v.change_inode("dir/sub/other", |i| i.flags &= !InodeFlags::EXTENTS));
    assert_eq!(report.counts[&Code::ExtentsOfNobody], 1);
}

#[test]
fn f402_f403_pages() {
    let put = |v: &Volume, ino: Ino, page: u64, at: Ino| {
        let payload = PageRecord::encode(ino, PageIx(page), b"x");
        v.commit(|op| op.put(v.names.page(at, PageIx(page)), payload));
    };
    finds(
        &after(|v| put(v, Ino(4000), 0, Ino(4000))),
        &[(Code::PageOfNobody, 1)],
    );
    finds(
        &after(|v| put(v, Ino(4000), 0, v.lookup("small"))),
        &[(Code::PageOfNobody, 1)],
    );
    let report = after(|v| put(v, v.lookup("dir/sub/other"), 1, v.lookup("dir/sub/other")));
    finds(&report, &[(Code::HiddenPage, 1)]);
    assert_eq!(paths(&report, Code::HiddenPage), ["/dir/sub/other"]);
}

#[test]
fn f404_data_beyond_the_end() {
    let report = after(|v| v.change_inode("dir/sub/other", |i| i.size_bytes = 100));
    finds(
        &report,
        &[(Code::BeyondTheEnd, 1), (Code::FileUsedPages, 1)],
    );
    let report = after(|v| {
        let ino = v.lookup("small");
        let payload = PageRecord::encode(ino, PageIx(1), b"x");
        v.commit(|op| op.put(v.names.page(ino, PageIx(1)), payload));
    });
    finds(&report, &[(Code::BeyondTheEnd, 1)]);
    assert_eq!(paths(&report, Code::BeyondTheEnd), ["/small"]);
}

#[test]
fn f405_pages_of_a_file() {
    let report = after(|v| {
        v.change_inode("dir/sub/other", |i| i.used_pages += 1);
        v.commit(|op| op.root().used_pages += 1);
    });
    finds(&report, &[(Code::FileUsedPages, 1)]);
}

#[test]
fn f406_parts_that_are_lost() {
    let report = after(|v| {
        let (key, _) = v.block_of("dir/sub/other", 1);
        v.commit(|op| op.delete(key));
    });
    assert_eq!(report.counts[&Code::BlockMissing], 1);
    let found = report
        .findings
        .iter()
        .find(|f| f.code == Code::BlockMissing)
        .unwrap();
    assert_eq!(found.paths, ["/dir/sub/other"]);
    let chunk = CHUNK as u64;
    assert_eq!(
        found.range,
        Some(ByteRange {
            offset: chunk,
            len: chunk
        })
    );
}

#[test]
fn f407_f408_references() {
    let report = after(|v| v.change_block("dir/sub/other", |b| b.refs = 2));
    finds(&report, &[(Code::References, 1)]);
    let report = after(|v| v.change_block("dir/big", |b| b.refs = 1));
    finds(&report, &[(Code::References, 1)]);
    let report = after(|v| {
        let (key, mut extents) = v.extents("dir/sub/other");
        extents.set_block(2, None);
        v.commit(|op| op.put(key, extents.encode()));
    });
    finds(
        &report,
        &[(Code::FileUsedPages, 1), (Code::Unreferenced, 1)],
    );
}

#[test]
fn f501_a_pack_without_an_account() {
    let report = after(|v| v.commit(|op| op.delete(Key::account(PackNo(1)))));
    finds(&report, &[(Code::NoAccount, 1)]);
}

#[test]
fn f502_f508_accounts() {
    let report = after(|v| v.change_account(|a| a.live -= 1));
    finds(&report, &[(Code::LiveBytes, 1)]);
    let report = after(|v| v.change_account(|a| a.epoch.0 += 1));
    finds(&report, &[(Code::PackEpoch, 1)]);
}

#[test]
fn f503_blocks_that_are_not_listed() {
    let report = after(|v| {
        let ids = encode_ids(&[]);
        v.commit(|op| op.put(Key::pack_list(PackNo(1), 0), ids));
    });
    assert_eq!(report.counts.keys().collect::<Vec<_>>(), [&Code::NotListed]);
}

#[test]
fn f504_two_owners() {
    let report = after(|v| {
        let (_, block) = v.block_of("dir/big", 0);
        let range = Range {
            offset: block.place.offset + 10,
            len: 5,
        };
        v.change_account(|a| a.next_punch += 1);
        let key = Key::account(PackNo(1));
        let seq = PackAccount::decode(&v.payload(&key)).unwrap().next_punch - 1;
        v.commit(|op| op.put(Key::punch(PackNo(1), seq), encode_ranges(&[range])));
    });
    finds(&report, &[(Code::Overlap, 1)]);
}

#[test]
fn f505_beyond_the_pack() {
    let report = after(|v| v.change_account(|a| a.written = a.live + 1));
    assert_eq!(report.counts[&Code::BeyondThePack], 1);
}

#[test]
fn f506_a_pack_file_that_is_missing_or_short() {
    let report = after(|v| v.packs.remove(PackNo(1)).unwrap());
    assert_eq!(report.counts[&Code::PackFile], 1);
    let lost = paths(&report, Code::BlockAbsent);
    assert!(
        lost.contains(&"/dir/big") && lost.contains(&"/dir/sub/sparse"),
        "{lost:?}"
    );
    let report = after(|v| v.packs.truncate(PackNo(1), 4096).unwrap());
    assert_eq!(report.counts[&Code::PackFile], 1);
}

#[test]
fn f507_records_of_a_pack() {
    let report = after(|v| v.commit(|op| op.put(Key::pack_list(PackNo(1), 9), Vec::new())));
    finds(&report, &[(Code::PackRecords, 1)]);
    let range = encode_ranges(&[]);
    let report = after(|v| v.commit(|op| op.put(Key::punch(PackNo(1), 99), range)));
    finds(&report, &[(Code::PackRecords, 1)]);
}

#[test]
fn f509_bytes_of_nobody() {
    let report = after(|v| v.change_account(|a| a.sealed = true));
    finds(&report, &[(Code::PackSum, 1)]);
}

#[test]
fn f602_a_flipped_bit_of_a_block() {
    let report = after(|v| {
        let (_, block) = v.block_of("dir/big", 1);
        v.flip_pack(block.place.pack, block.place.offset + 30);
    });
    assert_eq!(codes(&report), [(Code::BlockNotAuthentic, 1)]);
    let chunk = CHUNK as u64;
    for path in ["/dir/big", "/dir/twin"] {
        let found = report
            .findings
            .iter()
            .find(|f| f.paths.contains(&path.to_owned()));
        let range = found.unwrap().range.unwrap();
        assert_eq!((range.offset, range.len), (chunk, chunk));
    }
}
