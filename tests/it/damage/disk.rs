//! A disk that refuses calls with EIO: what it cannot read is all that is lost while it lasts; what it
//! does not take is told to whoever asked for it to be durable. When the record of a commit is refused
//! the volume takes no more changes, reading goes on, and a new mount shows the last durable state.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use super::{FRAME, Files, damaged, log, packs, write_some, write_synced};
use crate::dice::Dice;
use crate::harness::{TestVolume, coffer, length, report, run};
use crate::kills;
use crate::powercut::{Disk, Image, Mounted, Verb};

/// A volume on a disk that can be made to refuse calls. The fields go in this order.
struct Rig {
    v: TestVolume,
    disk: Disk,
    _mounted: Mounted,
    _dir: tempfile::TempDir,
}

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory for the disk");
        let disk = Disk::new(Image::new());
        let mounted = disk.mount(dir.path());
        Self {
            v: TestVolume::in_place(&dir.path().join("volume"), &[]),
            disk,
            _mounted: mounted,
            _dir: dir,
        }
    }

    /// Refuses a sort of calls, either for the packs or for all other files.
    fn refuse(&self, verb: Verb, of_packs: bool) {
        let inos = packs(&self.v).into_iter().map(|p| ino(&p));
        let inos: BTreeSet<u64> = inos.collect();
        let defect = move |v, ino, _| v == verb && inos.contains(&ino) == of_packs;
        self.disk.refuse(defect);
    }
}

fn ino(path: &Path) -> u64 {
    fs::metadata(path).expect("it is there").ino()
}

/// Fails unless a call ended with EIO.
#[track_caller]
fn refused<T>(call: io::Result<T>) {
    let errno = call.err().and_then(|e| e.raw_os_error());
    assert_eq!(errno, Some(libc::EIO));
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = File::create(path)?;
    file.write_all_at(bytes, 0)?;
    file.sync_all()
}

#[test]
fn what_a_disk_cannot_read_is_all_that_is_lost() {
    let rig = Rig::new();
    let mut dice = kills::dice();
    let files = write_some(&rig.v.mount(), &mut dice);
    let (mut hits, ranges) = (0, length(6, 60));
    for _ in 0..ranges {
        let root = rig.v.remount();
        let pack = &packs(&rig.v)[0];
        let (bad, len) = (ino(pack), fs::metadata(pack).expect("it is there").len());
        let at = dice.below(len / 4096) * 4096;
        rig.disk.refuse(move |verb, ino, bytes| {
            verb == Verb::Read && ino == bad && bytes.start < at + 4096 && at < bytes.end
        });
        let lost = damaged(&root, &files);
        assert!(lost.len() <= 2, "{lost:?} of {FRAME} bytes");
        if !lost.is_empty() {
            hits += 1;
            assert!(log(&rig.v).contains("ERROR C-STORE: "), "{}", log(&rig.v));
        }
        fs::write(root.join("more"), dice.bytes(1000)).expect("the volume takes writes");
        rig.disk.mend();
        assert_eq!(damaged(&root, &files), BTreeSet::new());
    }
    report(&format!("damage: {hits} of {ranges} unreadable ranges met"));
    assert!(hits > 0);
    rig.v.umount();
}

#[test]
fn a_refused_commit_ends_all_changes_until_the_next_mount() {
    for verb in [Verb::Write, Verb::Sync] {
        let rig = Rig::new();
        let mut dice = kills::dice();
        let mut files = write_some(&rig.v.mount(), &mut dice);
        for _ in 0..length(2, 10) {
            refuse_commits(&rig, verb, &mut files, &mut dice);
        }
        rig.v.umount();
    }
}

fn refuse_commits(rig: &Rig, verb: Verb, files: &mut Files, dice: &mut Dice) {
    let root = rig.v.root();
    rig.refuse(verb, false);
    refused(write(&root.join("refused"), &dice.bytes(100)));
    // Nothing is taken any more, also when the disk works again.
    for is_mended in [false, true] {
        let old = root.join("f0");
        refused(File::open(&old).and_then(|f| f.sync_all()));
        refused(write(&old, &dice.bytes(10)));
        refused(File::create_new(root.join("new")));
        refused(fs::create_dir(root.join("dir")));
        refused(symlink("target", root.join("symlink")));
        refused(fs::hard_link(&old, root.join("link")));
        refused(fs::rename(&old, root.join("moved")));
        refused(fs::remove_file(&old));
        refused(fs::set_permissions(&old, Permissions::from_mode(0o600)));
        assert_eq!(damaged(&root, files), BTreeSet::new(), "{is_mended}");
        rig.disk.mend();
    }
    let text = log(&rig.v);
    assert!(text.contains("ERROR C-POISON: "), "{text}");
    let mut umount = coffer(["umount"]);
    let ended = run(umount.arg(&root), 60);
    assert!(!rig.v.is_mounted(), "{}", ended.stderr);
    rig.v.mount();
    assert_eq!(damaged(&root, files), BTreeSet::new());
    write_synced(&root, files, "after", dice.bytes(50_000));
    fs::remove_file(root.join("refused"))
        .or_else(absent)
        .expect("it goes");
}

/// The refused file may not be there.
fn absent(e: io::Error) -> io::Result<()> {
    match e.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(e),
    }
}

/// Data that no pack takes is told to whoever syncs it, and to nobody else.
#[test]
fn refused_blocks_are_told_to_their_fsync() {
    for verb in [Verb::Write, Verb::Sync] {
        let rig = Rig::new();
        let mut dice = kills::dice();
        let root = rig.v.mount();
        let mut files = write_some(&root, &mut dice);
        rig.refuse(verb, true);
        let large = dice.bytes(500_000);
        refused(write(&root.join("large"), &large));
        write_synced(&root, &mut files, "small", dice.bytes(100));
        rig.disk.mend();
        write_synced(&root, &mut files, "large", large);
        rig.v.kill_worker();
        kills::mount_again(&rig.v);
        assert_eq!(damaged(&root, &files), BTreeSet::new());
        rig.v.umount();
    }
}

#[test]
fn a_store_that_cannot_be_read_is_told_at_the_mount() {
    let rig = Rig::new();
    let mut dice = kills::dice();
    let files = write_some(&rig.v.mount(), &mut dice);
    rig.v.umount();
    let kv = fs::read_dir(rig.v.volume().join("kv")).expect("a volume has keys");
    let kv = kv.map(|e| ino(&e.expect("it can be read").path()));
    let kv: BTreeSet<u64> = kv.collect();
    let defect = move |verb, ino, _| verb == Verb::Read && kv.contains(&ino);
    rig.disk.refuse(defect);
    rig.v.try_mount(&[]).fails(1, &["Input/output error"]);
    assert!(!rig.v.is_mounted());
    rig.disk.mend();
    assert_eq!(damaged(&rig.v.mount(), &files), BTreeSet::new());
    rig.v.umount();
}
