//! Random operations on a mounted volume and on a file system in memory, with remounts and kills.
//!
//! A failure prints the seed; `COFFER_TEST_SEED=N` runs that one again.

mod reference;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::dice::Dice;
use crate::harness::{TestVolume, coffer, length, report, run};
use reference::{Entry, parent};
pub use reference::{Id, Kind, Reference, Tree, same};

/// Operations of one run.
const OPERATIONS: u64 = 600;

/// Largest file, in bytes: several chunks of the smallest size.
const FILE_MAX_BYTES: u64 = 100_000;

struct Run {
    volume: TestVolume,
    root: PathBuf,
    reference: Reference,
    dice: Dice,
    kills: u32,
}

/// Reads all names below `root`.
pub fn scan(root: &Path) -> Tree {
    fn walk(root: &Path, dir: &Path, tree: &mut Tree) {
        for entry in fs::read_dir(dir).expect("directories can be read") {
            let path = entry.expect("entries can be read").path();
            let meta = fs::symlink_metadata(&path).expect("what is listed is there");
            let kind = if meta.is_dir() {
                walk(root, &path, tree);
                Kind::Dir
            } else if meta.is_symlink() {
                let target = fs::read_link(&path).expect("links can be read");
                Kind::Symlink(target.to_string_lossy().into_owned())
            } else {
                Kind::File
            };
            let mode = match kind {
                Kind::Symlink(_) => 0,
                _ => meta.mode() & 0o7777,
            };
            let name = path.strip_prefix(root).expect("below the root");
            let entry = Entry {
                id: meta.ino(),
                kind,
                mode,
            };
            tree.insert(name.to_string_lossy().into_owned(), entry);
        }
    }
    let mut tree = BTreeMap::new();
    walk(root, root, &mut tree);
    tree
}

impl Run {
    fn new(seed: u64) -> Self {
        let volume = TestVolume::with(&["--chunk-size", "16K"]);
        let root = volume.mount();
        Self {
            volume,
            root,
            reference: Reference::default(),
            dice: Dice::new(seed),
            kills: 0,
        }
    }

    fn real(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    fn open(&self, path: &str) -> File {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        options.open(self.real(path)).expect("files open")
    }

    /// Returns a path that may or may not exist, in a directory that does.
    fn name(&mut self) -> String {
        let mut dirs = self.reference.paths(|k| *k == Kind::Dir);
        dirs.retain(|d| d.matches('/').count() < 4);
        dirs.push(String::new());
        let dir = self.dice.pick(&dirs).unwrap_or_default();
        let name = format!("n{}", self.dice.below(12));
        if dir.is_empty() {
            name
        } else {
            format!("{dir}/{name}")
        }
    }

    fn file(&mut self) -> Option<String> {
        let files = self.reference.paths(|k| *k == Kind::File);
        self.dice.pick(&files)
    }

    fn any(&mut self) -> Option<String> {
        let all = self.reference.paths(|_| true);
        self.dice.pick(&all)
    }

    /// Does one operation on both sides and compares how it ended.
    fn step(&mut self) {
        match self.dice.below(100) {
            0..14 => self.create(),
            14..22 => self.mkdir(),
            22..26 => self.symlink(),
            26..30 => self.link(),
            30..42 => self.rename(),
            42..50 => self.remove(),
            50..72 => self.write(),
            72..79 => self.truncate(),
            79..83 => self.chmod(),
            83..90 => self.read(),
            90..95 => self.fsync(),
            95..97 => self.check(),
            97 => self.sync(),
            98 => self.remount(),
            _ => self.kill(),
        }
    }

    fn create(&mut self) {
        let path = self.name();
        let new = !self.reference.tree.contains_key(&path);
        let made = File::create_new(self.real(&path));
        assert_eq!(made.is_ok(), new, "create {path}: {made:?}");
        if let Ok(f) = made {
            let mode = f.metadata().expect("open").mode() & 0o7777;
            self.reference.add(&path, Kind::File, mode);
        }
    }

    fn mkdir(&mut self) {
        let path = self.name();
        let new = !self.reference.tree.contains_key(&path);
        let made = fs::create_dir(self.real(&path));
        assert_eq!(made.is_ok(), new, "mkdir {path}: {made:?}");
        if new {
            let meta = fs::metadata(self.real(&path)).expect("made");
            self.reference.add(&path, Kind::Dir, meta.mode() & 0o7777);
        }
    }

    fn symlink(&mut self) {
        let path = self.name();
        let target = format!("t{}", "x".repeat(self.dice.size(300)));
        let new = !self.reference.tree.contains_key(&path);
        let made = symlink(&target, self.real(&path));
        assert_eq!(made.is_ok(), new, "symlink {path}: {made:?}");
        if new {
            self.reference.add(&path, Kind::Symlink(target), 0);
        }
    }

    fn link(&mut self) {
        let Some(from) = self.file() else { return };
        let to = self.name();
        let new = !self.reference.tree.contains_key(&to);
        let made = fs::hard_link(self.real(&from), self.real(&to));
        assert_eq!(made.is_ok(), new, "link {from} {to}: {made:?}");
        if new {
            let entry = self.reference.tree[&from].clone();
            self.reference.alter(|t| {
                t.insert(to, entry);
            });
        }
    }

    fn rename(&mut self) {
        let Some(from) = self.any() else { return };
        let to = self.name();
        let tree = &self.reference.tree;
        let from_dir = tree[&from].kind == Kind::Dir;
        let inside = to.starts_with(&format!("{from}/"));
        let fits = match tree.get(&to) {
            None => true,
            Some(e) if e.kind == Kind::Dir => {
                from_dir && (from == to || self.reference.children(&to).next().is_none())
            }
            Some(_) => !from_dir,
        };
        let done = fs::rename(self.real(&from), self.real(&to));
        assert_eq!(
            done.is_ok(),
            fits && !inside,
            "rename {from} {to}: {done:?}"
        );
        if done.is_ok() {
            self.reference.rename(&from, &to);
        }
    }

    fn remove(&mut self) {
        let Some(path) = self.any() else { return };
        if self.reference.tree[&path].kind == Kind::Dir {
            let empty = self.reference.children(&path).next().is_none();
            let done = fs::remove_dir(self.real(&path));
            assert_eq!(done.is_ok(), empty, "rmdir {path}: {done:?}");
            if !empty {
                return;
            }
        } else {
            fs::remove_file(self.real(&path)).expect("files can be removed");
        }
        self.reference.remove(&path);
    }

    fn write(&mut self) {
        let Some(path) = self.file() else { return };
        let offset = self.dice.below(FILE_MAX_BYTES);
        let longest = [1, 300, 9_000, 60_000][self.dice.size(4)];
        let len = 1 + self.dice.size(longest);
        let first = self.dice.next();
        let byte = |i: u64| (first.wrapping_add(i / 7) % 251).to_le_bytes()[0];
        let data: Vec<u8> = (0..).take(len).map(byte).collect();
        let f = self.open(&path);
        f.write_all_at(&data, offset).expect("write");
        let offset = usize::try_from(offset).expect("files are small");
        self.reference.content(&path).write(offset, &data);
    }

    fn truncate(&mut self) {
        let Some(path) = self.file() else { return };
        let len = self.dice.size(FILE_MAX_BYTES);
        let f = self.open(&path);
        f.set_len(u64::try_from(len).expect("files are small"))
            .expect("truncate");
        self.reference.content(&path).truncate(len);
    }

    fn chmod(&mut self) {
        let Some(path) = self.any() else { return };
        if matches!(self.reference.tree[&path].kind, Kind::Symlink(_)) {
            return;
        }
        let mode = 0o700 | u32::try_from(self.dice.below(0o100)).expect("mode bits");
        fs::set_permissions(self.real(&path), fs::Permissions::from_mode(mode)).expect("chmod");
        let id = self.reference.tree[&path].id;
        self.reference.alter(|t| {
            for e in t.values_mut().filter(|e| e.id == id) {
                e.mode = mode;
            }
        });
    }

    fn read(&mut self) {
        let Some(path) = self.file() else { return };
        let bytes = fs::read(self.real(&path)).expect("read");
        assert!(bytes == self.reference.content(&path).bytes, "read {path}");
    }

    fn fsync(&mut self) {
        let Some(path) = self.file() else { return };
        self.open(&path).sync_all().expect("fsync");
        self.reference.synced(&path);
    }

    fn sync(&mut self) {
        let flush = std::process::Command::new("sync");
        run(&flush, 60).ok();
        let mut c = coffer(["sync"]);
        c.arg(&self.root);
        run(&c, 60).ok();
        self.reference.all_synced();
    }

    fn remount(&mut self) {
        self.root = self.volume.remount();
        self.reference.all_synced();
        self.check();
    }

    fn kill(&mut self) {
        self.volume.kill_worker();
        self.root = self.volume.mount();
        self.kills += 1;
        let root = self.root.clone();
        let read = |path: &str| fs::read(root.join(path)).expect("read after a kill");
        if let Err(why) = self.reference.crashed(&scan(&root), read) {
            panic!("after a kill: {why}");
        }
    }

    /// Compares everything.
    fn check(&mut self) {
        let real = scan(&self.root);
        let tree = self.reference.tree.clone();
        assert!(same(&tree, &real), "\nis {real:#?}\nshould be {tree:#?}");
        for (path, entry) in &tree {
            let meta = fs::symlink_metadata(self.real(path)).expect("listed");
            if entry.kind == Kind::File {
                let bytes = fs::read(self.real(path)).expect("read");
                assert!(
                    bytes == self.reference.content(path).bytes,
                    "{path} differs"
                );
                let links = u64::try_from(self.reference.links(entry.id)).expect("few");
                assert_eq!(meta.nlink(), links, "links of {path}");
            }
            if entry.kind == Kind::Dir {
                let dirs = tree
                    .iter()
                    .filter(|(p, e)| parent(p) == path && e.kind == Kind::Dir);
                let links = 2 + u64::try_from(dirs.count()).expect("few");
                assert_eq!(meta.nlink(), links, "links of directory {path}");
            }
        }
    }
}

/// Prints the seed when the test fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            report(&format!("model: failed with COFFER_TEST_SEED={}", self.0));
        }
    }
}

#[test]
fn random_operations_match_the_reference() {
    let given = std::env::var("COFFER_TEST_SEED").ok();
    let given = given.map(|s| s.parse().expect("COFFER_TEST_SEED is a number"));
    for round in 0..length(2, 40) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.expect("after 1970").as_nanos().to_le_bytes();
        let first = u64::from_le_bytes(now[..8].try_into().expect("eight bytes"));
        let seed = Seed(given.unwrap_or(first));
        let mut run = Run::new(seed.0);
        for _ in 0..OPERATIONS {
            run.step();
        }
        run.remount();
        run.kill();
        run.check();
        report(&format!(
            "model: round {round}, seed {}, {OPERATIONS} operations, {} kills",
            seed.0, run.kills
        ));
        if given.is_some() {
            return;
        }
    }
}
