//! What programs do on the volume while its disk is recorded.
//!
//! One script, decided by a seed, on a real mount: the kernel caches and writes back, the worker
//! flushes, commits, folds and cleans as it always does. Each call is noted with the moments before
//! and after it.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::disk::long;
use super::expect::{Act, Entry, EntryKind, Filling, Id, Tree, XATTR, alter};
use super::notes::Journal;
use super::scripts::Kind;
use crate::dice::Dice;
use crate::harness::{TestVolume, coffer, run, until};

/// Largest file of the mixed steps, in bytes: several chunks of the smallest size.
const FILE_MAX_BYTES: u64 = 100_000;

/// Bytes of a chunk of the volume.
const CHUNK_BYTES: u64 = 16 << 10;

/// Names in a directory.
const NAMES: u64 = 12;

/// Contents that are written again, so that blocks are found to be there already.
const REMEMBERED: usize = 8;

/// Files of this beginning are not touched by the mixed steps.
pub const OWN: &str = "own-";

/// Pages of a file that a thread writes beside the others.
const WRITER_PAGES: u64 = 40;

pub struct Workload {
    pub volume: TestVolume,
    pub journal: Arc<Journal>,
    pub dice: Dice,
    root: PathBuf,
    tree: Tree,
    remembered: Vec<Filling>,
}

fn open(path: &Path) -> io::Result<fs::File> {
    OpenOptions::new().read(true).write(true).open(path)
}

impl Workload {
    /// Begins on an empty volume, and mounts it.
    pub fn new(journal: Arc<Journal>, volume: TestVolume, seed: u64) -> Self {
        let root = volume.mount();
        Self {
            volume,
            journal,
            root,
            dice: Dice::new(seed),
            tree: Tree::new(),
            remembered: Vec::new(),
        }
    }

    /// Does `call` and notes what it did.
    fn act<T>(&mut self, call: impl FnOnce(&Path) -> io::Result<T>, act: impl FnOnce(T) -> Act) {
        let begin = self.journal.now();
        let done = call(&self.root);
        let act = act(done.unwrap_or_else(|e| panic!("a call of the workload fails: {e}")));
        alter(&mut self.tree, &act);
        self.journal.note(begin, act);
    }

    fn of_kind(&self, wanted: impl Fn(&EntryKind) -> bool) -> Vec<String> {
        let mine = self.tree.iter().filter(|(p, _)| !p.starts_with(OWN));
        let found = mine.filter(|(_, e)| wanted(&e.kind));
        found.map(|(path, _)| path.clone()).collect()
    }

    fn file(&mut self) -> Option<(String, Id)> {
        let path = self.dice.pick(&self.of_kind(|k| *k == EntryKind::File))?;
        let id = self.tree[&path].id;
        Some((path, id))
    }

    /// Returns a path that may or may not exist, in a directory that does.
    fn name(&mut self) -> String {
        let mut dirs = self.of_kind(|k| *k == EntryKind::Dir);
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
        let known = self.dice.pick(&self.remembered);
        if let Some(known) = known.filter(|_| self.dice.below(5) == 0) {
            return known;
        }
        let new = Filling {
            seed: self.dice.next(),
            len: 1 + self.dice.size(longest),
        };
        if self.remembered.len() < REMEMBERED {
            self.remembered.push(new);
        } else {
            self.remembered[self.dice.size(long(REMEMBERED))] = new;
        }
        new
    }

    fn offset(&mut self) -> u64 {
        let unit = [1, 1, 4096, CHUNK_BYTES][self.dice.size(4)];
        self.dice.below(FILE_MAX_BYTES / unit) * unit
    }

    /// Does one of the mixed steps; most of them are small.
    pub fn step(&mut self) {
        match self.dice.below(100) {
            0..12 => self.create(),
            12..16 => self.make_dir(),
            16..19 => self.make_symlink(),
            19..22 => self.link(),
            22..30 => self.rename(),
            30..38 => self.replace(),
            38..47 => self.remove(),
            47..64 => self.write(),
            64..68 => self.resize(),
            68..71 => self.punch(),
            71..74 => self.copy(),
            74..78 => self.set_xattr(),
            78..95 => self.sync(),
            95..97 => self.sync_dir(),
            97 => self.set_quota(),
            _ => self.sync_all(),
        }
    }

    /// Makes something new and returns its inode.
    fn make(
        &mut self,
        path: &str,
        kind: EntryKind,
        call: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Id {
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
        self.tree[path].id
    }

    pub fn make_file(&mut self, path: &str) -> Id {
        self.make(path, EntryKind::File, |p| fs::File::create_new(p).map(drop))
    }

    fn create(&mut self) {
        let Some(path) = self.new_name() else { return };
        let id = self.make_file(&path);
        if self.dice.below(2) == 0 {
            let data = self.filling(20_000);
            self.write_at(&path, id, 0, data);
        }
    }

    fn make_dir(&mut self) {
        let Some(path) = self.new_name() else { return };
        self.make(&path, EntryKind::Dir, |p| fs::create_dir(p));
    }

    fn make_symlink(&mut self) {
        let Some(path) = self.new_name() else { return };
        let target = format!("t{}", "x".repeat(self.dice.size(300)));
        let kind = EntryKind::Symlink(target.clone());
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
        let Some((path, _)) = self.file() else { return };
        let id = self.make_file("new");
        let data = self.filling(60_000);
        self.write_at("new", id, 0, data);
        self.rename_to("new", &path);
    }

    fn remove(&mut self) {
        let all = self.of_kind(|_| true);
        let Some(path) = self.dice.pick(&all) else {
            return;
        };
        let inside = format!("{path}/");
        if !self.tree.keys().any(|p| p.starts_with(&inside)) {
            self.remove_path(&path);
        }
    }

    pub fn remove_path(&mut self, path: &str) {
        let is_dir = self.tree[path].kind == EntryKind::Dir;
        let call = if is_dir {
            fs::remove_dir
        } else {
            fs::remove_file
        };
        let name = path.to_owned();
        self.act(
            |root| call(root.join(path)),
            |()| Act::Remove { path: name },
        );
    }

    pub fn write_at(&mut self, path: &str, id: Id, offset: u64, data: Filling) {
        self.act(
            |root| open(&root.join(path))?.write_all_at(&data.bytes(), offset),
            |()| Act::Write {
                id,
                offset,
                data,
                is_synced: false,
            },
        );
    }

    fn write(&mut self) {
        let Some((path, id)) = self.file() else {
            return;
        };
        let longest = [300, 4096, 9_000, 60_000][self.dice.size(4)];
        let offset = self.offset();
        let data = self.filling(longest);
        self.write_at(&path, id, offset, data);
    }

    fn resize(&mut self) {
        let Some((path, id)) = self.file() else {
            return;
        };
        let len = self.offset();
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
        let offset = self.offset();
        let len = 1 + self.dice.below(FILE_MAX_BYTES / 2);
        self.act(
            |root| {
                let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                let file = open(&root.join(&path))?;
                Ok(rustix::fs::fallocate(file, flags, offset, len)?)
            },
            |()| Act::Punch { id, offset, len },
        );
    }

    fn copy(&mut self) {
        let (Some(from), Some(to)) = (self.file(), self.file()) else {
            return;
        };
        if from.1 == to.1 {
            return;
        }
        let (start, target) = (self.dice.below(4) * CHUNK_BYTES, self.offset());
        let wanted = 1 + self.dice.size(60_000);
        self.act(
            |root| {
                let (source, dest) = (open(&root.join(&from.0))?, open(&root.join(&to.0))?);
                let (mut off_in, mut off_out) = (start, target);
                let (from, to) = (Some(&mut off_in), Some(&mut off_out));
                Ok(rustix::fs::copy_file_range(source, from, dest, to, wanted)?)
            },
            |copied| Act::Copy {
                from: (from.1, start),
                to: (to.1, target),
                len: long(copied),
            },
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
        if let Some((path, id)) = self.file() {
            self.sync_file(&path, id);
        }
    }

    pub fn sync_file(&mut self, path: &str, id: Id) {
        let only_data = self.dice.below(2) == 0;
        self.act(
            |root| {
                let file = open(&root.join(path))?;
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
        let mut dirs = self.of_kind(|k| *k == EntryKind::Dir);
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

    pub fn sync_all(&mut self) {
        self.act(
            |root| {
                run(coffer(["sync"]).arg(root), 60).ok();
                Ok(())
            },
            |()| Act::SyncAll,
        );
    }

    /// Sets a quota that nothing reaches, which is a commit of its own.
    fn set_quota(&mut self) {
        let size = format!("{}M", 500 + self.dice.below(500));
        self.act(
            |root| {
                let mut resize = coffer(["resize"]);
                run(resize.arg(root).args(["--size", &size]), 60).ok();
                Ok(())
            },
            |()| Act::Sync { id: 1 },
        );
    }

    /// Does `body` while `count` threads write to files of their own and sync them.
    pub fn beside_writers(&mut self, count: usize, body: impl FnOnce(&mut Self)) {
        let mut writers = Vec::new();
        for n in 0..count {
            let path = format!("{OWN}{n}");
            let id = match self.tree.get(&path) {
                Some(known) => known.id,
                None => self.make_file(&path),
            };
            let writer = Writer {
                path: self.root.join(path),
                id,
                journal: Arc::clone(&self.journal),
                dice: Dice::new(self.dice.next()),
            };
            writers.push(std::thread::spawn(move || writer.run()));
        }
        body(self);
        for writer in writers {
            writer.join().expect("a writer does not fail");
        }
    }

    /// Waits until the store has done something of this kind that it had not before.
    pub fn wait_for(&self, kind: Kind) {
        let count = || self.journal.disk.with_trace(|t| kind.count(t));
        let before = count();
        let what = format!("{kind:?} comes");
        until(&what, Duration::from_secs(60), || {
            (count() > before).then_some(())
        });
    }

    /// Unmounts, which makes everything durable, and mounts again.
    pub fn remount(&mut self) {
        self.end();
        self.root = self.volume.mount();
    }

    /// Unmounts.
    pub fn end(&mut self) {
        let begin = self.journal.now();
        self.volume.umount();
        self.journal.note(begin, Act::SyncAll);
    }
}

/// A thread that writes to one file, as a database does.
struct Writer {
    path: PathBuf,
    id: Id,
    journal: Arc<Journal>,
    dice: Dice,
}

impl Writer {
    /// Writes of one session.
    const WRITES: usize = 40;

    fn run(mut self) {
        let id = self.id;
        let is_synced = self.dice.below(2) == 0;
        let flags = if is_synced { libc::O_DSYNC } else { 0 };
        let opened = OpenOptions::new()
            .write(true)
            .custom_flags(flags)
            .open(&self.path);
        let file = opened.expect("its file is there");
        for _ in 0..Self::WRITES {
            let unit = [1, 4096, 4096][self.dice.size(3)];
            let offset = self.dice.below(WRITER_PAGES * 4096 / unit) * unit;
            let data = Filling {
                seed: self.dice.next(),
                len: 1 + self.dice.size(6000),
            };
            let begin = self.journal.now();
            file.write_all_at(&data.bytes(), offset).expect("it writes");
            let write = Act::Write {
                id,
                offset,
                data,
                is_synced,
            };
            self.journal.note(begin, write);
            if !is_synced && self.dice.below(3) > 0 {
                let begin = self.journal.now();
                file.sync_data().expect("it syncs");
                self.journal.note(begin, Act::Sync { id });
            }
        }
    }
}
