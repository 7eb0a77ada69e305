//! What programs do on the volume while its disk is recorded.
//!
//! One script, decided by a seed, on a real mount: the kernel caches and writes back, the worker
//! flushes, commits, folds and cleans as it always does. Each call is noted with the position of the
//! trace before and after it.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};

use super::disk::File;
use super::expect::{Act, Entry, Filling, Id, Kind, Note, Tree, XATTR, alter, change};
use super::record::Disk;
use crate::dice::Dice;
use crate::harness::{TestVolume, coffer, run};

/// Largest file of the mixed steps, in bytes: several chunks of the smallest size.
const FILE_MAX_BYTES: u64 = 100_000;

/// Names in a directory.
const NAMES: u64 = 12;

pub struct Workload {
    pub volume: TestVolume,
    disk: Disk,
    root: PathBuf,
    dice: Dice,
    tree: Tree,
    files: BTreeMap<Id, File>,
    pub notes: Vec<Note>,
}

fn open(path: &Path) -> io::Result<fs::File> {
    OpenOptions::new().read(true).write(true).open(path)
}

impl Workload {
    /// Begins on an empty volume that lies on `disk`, and mounts it.
    pub fn new(disk: &Disk, volume: TestVolume, seed: u64) -> Self {
        let root = volume.mount();
        Self {
            volume,
            disk: disk.clone(),
            root,
            dice: Dice::new(seed),
            tree: Tree::new(),
            files: BTreeMap::new(),
            notes: Vec::new(),
        }
    }

    /// Does `call` and notes what it did.
    fn act<T>(&mut self, call: impl FnOnce(&Path) -> io::Result<T>, act: impl FnOnce(T) -> Act) {
        let begin = self.disk.position();
        let done = call(&self.root);
        let end = self.disk.position();
        let act = act(done.unwrap_or_else(|e| panic!("note {}: {e}", self.notes.len())));
        alter(&mut self.tree, &act);
        if let Act::Write { id, .. } | Act::Resize { id, .. } | Act::Punch { id, .. } = &act {
            change(self.files.entry(*id).or_default(), &act);
        }
        self.notes.push(Note { begin, end, act });
    }

    fn of_kind(&self, wanted: impl Fn(&Kind) -> bool) -> Vec<String> {
        let found = self.tree.iter().filter(|(_, e)| wanted(&e.kind));
        found.map(|(path, _)| path.clone()).collect()
    }

    fn file(&mut self) -> Option<(String, Id)> {
        let path = self.dice.pick(&self.of_kind(|k| *k == Kind::File))?;
        let id = self.tree[&path].id;
        Some((path, id))
    }

    /// Returns a path that may or may not exist, in a directory that does.
    fn name(&mut self) -> String {
        let mut dirs = self.of_kind(|k| *k == Kind::Dir);
        dirs.retain(|d| d.matches('/').count() < 3);
        dirs.push(String::new());
        let dir = self.dice.pick(&dirs).unwrap_or_default();
        let name = format!("n{}", self.dice.below(NAMES));
        if dir.is_empty() {
            name
        } else {
            format!("{dir}/{name}")
        }
    }

    fn new_name(&mut self) -> Option<String> {
        let name = self.name();
        (!self.tree.contains_key(&name)).then_some(name)
    }

    fn filling(&mut self, longest: u64) -> Filling {
        Filling {
            seed: self.dice.next(),
            len: 1 + self.dice.size(longest),
        }
    }

    /// Does one of the mixed steps; most of them are small.
    pub fn step(&mut self) {
        match self.dice.below(100) {
            0..12 => self.create(),
            12..17 => self.make_dir(),
            17..20 => self.make_symlink(),
            20..23 => self.link(),
            23..32 => self.rename(),
            32..40 => self.replace(),
            40..48 => self.remove(),
            48..66 => self.write(),
            66..70 => self.resize(),
            70..73 => self.punch(),
            73..77 => self.set_xattr(),
            77..95 => self.sync(),
            95..97 => self.sync_dir(),
            _ => self.sync_all(),
        }
    }

    fn make(&mut self, path: &str, kind: Kind, call: impl FnOnce(&Path) -> io::Result<()>) {
        let name = path.to_owned();
        self.act(
            |root| {
                let path = root.join(path);
                call(&path)?;
                Ok(fs::symlink_metadata(&path)?.ino())
            },
            |id| Act::Make {
                path: name,
                entry: Entry {
                    id,
                    kind,
                    xattr: None,
                },
            },
        );
    }

    fn create(&mut self) {
        let Some(path) = self.new_name() else { return };
        self.make(&path, Kind::File, |p| fs::File::create_new(p).map(drop));
        if self.dice.below(2) == 0 {
            let id = self.tree[&path].id;
            let data = self.filling(20_000);
            self.write_at(&path, id, 0, data);
        }
    }

    fn make_dir(&mut self) {
        let Some(path) = self.new_name() else { return };
        self.make(&path, Kind::Dir, |p| fs::create_dir(p));
    }

    fn make_symlink(&mut self) {
        let Some(path) = self.new_name() else { return };
        let target = format!("t{}", "x".repeat(self.dice.size(300)));
        let kind = Kind::Symlink(target.clone());
        self.make(&path, kind, |p| symlink(&target, p));
    }

    fn link(&mut self) {
        let (Some((from, _)), Some(to)) = (self.file(), self.new_name()) else {
            return;
        };
        self.act(
            |root| fs::hard_link(root.join(&from), root.join(&to)),
            |()| Act::Link {
                from: from.clone(),
                to: to.clone(),
            },
        );
    }

    fn rename_to(&mut self, from: &str, to: &str) {
        self.act(
            |root| fs::rename(root.join(from), root.join(to)),
            |()| Act::Rename {
                from: from.to_owned(),
                to: to.to_owned(),
            },
        );
    }

    fn rename(&mut self) {
        let all = self.of_kind(|_| true);
        let (Some(from), Some(to)) = (self.dice.pick(&all), self.new_name()) else {
            return;
        };
        if !to.starts_with(&format!("{from}/")) {
            self.rename_to(&from, &to);
        }
    }

    /// Replaces a file as editors do: a new one is written and renamed over it, without a sync.
    fn replace(&mut self) {
        let Some((path, old)) = self.file() else {
            return;
        };
        let new = "replacement";
        self.make(new, Kind::File, |p| fs::File::create_new(p).map(drop));
        let id = self.tree[new].id;
        assert_ne!(id, old);
        let data = self.filling(60_000);
        self.write_at(new, id, 0, data);
        self.rename_to(new, &path);
    }

    fn remove(&mut self) {
        let all = self.of_kind(|_| true);
        let Some(path) = self.dice.pick(&all) else {
            return;
        };
        let is_dir = self.tree[&path].kind == Kind::Dir;
        let inside = format!("{path}/");
        if self.tree.keys().any(|p| p.starts_with(&inside)) {
            return;
        }
        let call = if is_dir {
            fs::remove_dir
        } else {
            fs::remove_file
        };
        self.act(
            |root| call(root.join(&path)),
            |()| Act::Remove { path: path.clone() },
        );
    }

    fn write_at(&mut self, path: &str, id: Id, offset: u64, data: Filling) {
        self.act(
            |root| open(&root.join(path))?.write_all_at(&data.bytes(), offset),
            |()| Act::Write { id, offset, data },
        );
    }

    fn write(&mut self) {
        let Some((path, id)) = self.file() else {
            return;
        };
        let longest = [300, 4096, 9_000, 60_000][self.dice.size(4)];
        let offset = match self.dice.below(3) {
            0 => self.dice.below(FILE_MAX_BYTES / 4096) * 4096,
            _ => self.dice.below(FILE_MAX_BYTES),
        };
        let data = self.filling(longest);
        self.write_at(&path, id, offset, data);
    }

    fn resize(&mut self) {
        let Some((path, id)) = self.file() else {
            return;
        };
        let len = self.dice.below(FILE_MAX_BYTES);
        self.act(
            |root| open(&root.join(&path))?.set_len(len),
            |()| Act::Resize { id, len },
        );
    }

    fn punch(&mut self) {
        use rustix::fs::FallocateFlags;
        let Some((path, id)) = self.file() else {
            return;
        };
        let offset = self.dice.below(FILE_MAX_BYTES);
        let len = 1 + self.dice.below(FILE_MAX_BYTES / 2);
        self.act(
            |root| {
                let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                Ok(rustix::fs::fallocate(
                    open(&root.join(&path))?,
                    flags,
                    offset,
                    len,
                )?)
            },
            |()| Act::Punch { id, offset, len },
        );
    }

    fn set_xattr(&mut self) {
        let Some((path, id)) = self.file() else {
            return;
        };
        let longest = [40, 6000][self.dice.size(2)];
        let value = match self.tree[&path].xattr {
            Some(_) if self.dice.below(3) == 0 => None,
            _ => Some(self.filling(longest)),
        };
        self.act(
            |root| {
                let path = root.join(&path);
                let flags = rustix::fs::XattrFlags::empty();
                match value {
                    Some(v) => rustix::fs::lsetxattr(&path, XATTR, &v.bytes(), flags)?,
                    None => rustix::fs::lremovexattr(&path, XATTR)?,
                }
                Ok(())
            },
            |()| Act::Xattr { id, value },
        );
    }

    fn sync(&mut self) {
        let Some((path, id)) = self.file() else {
            return;
        };
        let only_data = self.dice.below(2) == 0;
        self.act(
            |root| {
                let file = open(&root.join(&path))?;
                if only_data {
                    file.sync_data()
                } else {
                    file.sync_all()
                }
            },
            |()| Act::Sync { id },
        );
    }

    fn sync_dir(&mut self) {
        let mut dirs = self.of_kind(|k| *k == Kind::Dir);
        dirs.push(String::new());
        let Some(path) = self.dice.pick(&dirs) else {
            return;
        };
        let id = self.tree.get(&path).map_or(1, |e| e.id);
        self.act(
            |root| fs::File::open(root.join(&path))?.sync_all(),
            |()| Act::Sync { id },
        );
    }

    fn sync_all(&mut self) {
        self.act(
            |root| {
                run(coffer(["sync"]).arg(root), 60).ok();
                Ok(())
            },
            |()| Act::SyncAll,
        );
    }

    /// Unmounts, which makes everything durable, and mounts again.
    pub fn remount(&mut self) {
        let begin = self.disk.position();
        self.volume.umount();
        let end = self.disk.position();
        self.notes.push(Note {
            begin,
            end,
            act: Act::SyncAll,
        });
        self.root = self.volume.mount();
    }

    /// Unmounts for good.
    pub fn end(&mut self) {
        self.remount();
        self.volume.umount();
    }
}
