//! Several threads that make, move, exchange, link and remove names, and the worker killed meanwhile.
//!
//! Each thread has a directory of its own and notes the tree after each of its operations, with the
//! moments at which the operation began and ended. Afterwards the tree must be one of those, no
//! operation may have survived one that had ended before it began, and all must have that had ended
//! before a successful fsync began. A file that has been renamed holds all that was written to it:
//! its name commits together with its contents.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{dice, mount_again, wait};
use crate::dice::Dice;
use crate::harness::{TestVolume, length, report};
use crate::model::{Id, Kind, Reference, Tree, same, scan};

const PAGE: usize = 4096;

/// Threads of a round.
const MOVERS: u64 = 3;

/// What the threads of a round share.
#[derive(Default)]
struct Shared {
    /// Counts moments.
    clock: AtomicU64,
    /// The worker is about to be killed: from now on calls may fail.
    is_ending: AtomicBool,
    /// When the last fsync began that was successful.
    synced: AtomicU64,
}

impl Shared {
    fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }
}

/// An operation on names, with the tree after it.
struct Step {
    begun: u64,
    /// Never, if it was under way when the worker was killed.
    ended: u64,
    tree: Tree,
}

/// What was written to a file.
struct Body {
    bytes: Vec<u8>,
    /// The number of the first step with which all of it is durable.
    whole_from: usize,
}

/// A thread that moves names in a directory of its own.
struct Mover {
    root: PathBuf,
    shared: Arc<Shared>,
    dice: Dice,
    /// One of so many operations is an fsync.
    sync_every: u64,
    reference: Reference,
    steps: Vec<Step>,
    bodies: BTreeMap<Id, Body>,
}

impl Mover {
    fn new(root: PathBuf, shared: &Arc<Shared>, sync_every: u64, seed: u64) -> Self {
        let start = Step {
            begun: 0,
            ended: 0,
            tree: Tree::new(),
        };
        Self {
            root,
            shared: Arc::clone(shared),
            dice: Dice::new(seed),
            sync_every,
            reference: Reference::default(),
            steps: vec![start],
            bodies: BTreeMap::new(),
        }
    }

    fn run(mut self) -> Self {
        loop {
            if let Err(e) = self.act() {
                let is_expected = self.shared.is_ending.load(Ordering::SeqCst);
                assert!(is_expected, "a call failed: {e}");
                return self;
            }
        }
    }

    /// Does one operation; `edit` does the same to the tree in memory.
    fn step(
        &mut self,
        call: impl FnOnce(&Path) -> io::Result<()>,
        edit: impl FnOnce(&mut Reference),
    ) -> io::Result<()> {
        let begun = self.shared.now();
        let result = call(&self.root);
        let ended = match &result {
            Ok(()) => self.shared.now(),
            Err(_) => u64::MAX,
        };
        edit(&mut self.reference);
        self.reference.all_synced();
        let tree = self.reference.tree.clone();
        self.steps.push(Step { begun, ended, tree });
        result
    }

    /// Returns a path that may or may not exist, in a directory that does.
    fn name(&mut self) -> String {
        let mut dirs = self.reference.paths(|k| *k == Kind::Dir);
        dirs.retain(|d| d.matches('/').count() < 2);
        dirs.push(String::new());
        let dir = self.dice.pick(&dirs).unwrap_or_default();
        let name = format!("n{}", self.dice.below(8));
        Path::new(&dir).join(name).display().to_string()
    }

    fn any(&mut self, wanted: impl Fn(&Kind) -> bool) -> Option<String> {
        let paths = self.reference.paths(wanted);
        self.dice.pick(&paths)
    }

    fn act(&mut self) -> io::Result<()> {
        if self.dice.below(self.sync_every) == 0 {
            return self.fsync();
        }
        let name = self.name();
        let is_free = !self.reference.tree.contains_key(&name);
        match self.dice.below(100) {
            0..20 if is_free => self.create(&name),
            20..28 if is_free => self.mkdir(&name),
            28..72 => self.rename(&name),
            72..80 => self.exchange(&name),
            80..86 if is_free => self.link(&name),
            86.. => self.remove(),
            _ => Ok(()),
        }
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        let len = [0, 100, PAGE, 40_000, 200_000][self.dice.size(5)];
        let bytes = self.dice.bytes(len);
        let mut file = None;
        let made = self.step(
            |root| {
                let mut options = OpenOptions::new();
                options.write(true).create_new(true).mode(0o600);
                file = Some(options.open(root.join(name))?);
                Ok(())
            },
            |r| r.add(name, Kind::File, 0o600),
        );
        let written = file.map_or(Ok(()), |mut f| f.write_all(&bytes));
        let body = Body {
            bytes,
            whole_from: usize::MAX,
        };
        self.bodies.insert(self.reference.tree[name].id, body);
        made.and(written)
    }

    fn mkdir(&mut self, name: &str) -> io::Result<()> {
        self.step(
            |root| DirBuilder::new().mode(0o700).create(root.join(name)),
            |r| r.add(name, Kind::Dir, 0o700),
        )
    }

    /// From the next step on the contents are durable with the name.
    fn settle(&mut self, path: &str) {
        let next = self.steps.len();
        let id = self.reference.tree[path].id;
        if let Some(body) = self.bodies.get_mut(&id) {
            body.whole_from = body.whole_from.min(next);
        }
    }

    fn rename(&mut self, to: &str) -> io::Result<()> {
        let Some(from) = self.any(|_| true) else {
            return Ok(());
        };
        let tree = &self.reference.tree;
        let (source, target) = (&tree[&from], tree.get(to));
        let fits = match target {
            None => true,
            Some(t) if t.kind == Kind::Dir => {
                source.kind == Kind::Dir && self.reference.children(to).next().is_none()
            }
            // The same file is left where it is.
            Some(t) => source.kind != Kind::Dir && source.id != t.id,
        };
        if !fits || to == from || to.starts_with(&format!("{from}/")) {
            return Ok(());
        }
        self.settle(&from);
        self.step(
            |root| fs::rename(root.join(&from), root.join(to)),
            |r| r.rename(&from, to),
        )
    }

    /// Exchanges two names, neither inside the other.
    fn exchange(&mut self, one: &str) -> io::Result<()> {
        let Some(other) = self.any(|k| *k == Kind::File) else {
            return Ok(());
        };
        let tree = &self.reference.tree;
        let is_file = |p: &str| tree.get(p).is_some_and(|e| e.kind == Kind::File);
        if !is_file(one) || tree[one].id == tree[&other].id {
            return Ok(());
        }
        self.settle(one);
        self.settle(&other);
        self.step(
            |root| {
                let (a, b) = (root.join(one), root.join(&other));
                Ok(renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE)?)
            },
            |r| {
                r.alter(|t| {
                    let (a, b) = (t[one].clone(), t[&other].clone());
                    t.insert(one.to_owned(), b);
                    t.insert(other.clone(), a);
                });
            },
        )
    }

    fn link(&mut self, to: &str) -> io::Result<()> {
        let Some(from) = self.any(|k| *k == Kind::File) else {
            return Ok(());
        };
        self.step(
            |root| fs::hard_link(root.join(&from), root.join(to)),
            |r| {
                r.alter(|t| {
                    t.insert(to.to_owned(), t[&from].clone());
                });
            },
        )
    }

    fn remove(&mut self) -> io::Result<()> {
        let Some(path) = self.any(|_| true) else {
            return Ok(());
        };
        let is_dir = self.reference.tree[&path].kind == Kind::Dir;
        if is_dir && self.reference.children(&path).next().is_some() {
            return Ok(());
        }
        self.step(
            |root| match is_dir {
                true => fs::remove_dir(root.join(&path)),
                false => fs::remove_file(root.join(&path)),
            },
            |r| r.remove(&path),
        )
    }

    fn fsync(&mut self) -> io::Result<()> {
        let Some(path) = self.any(|k| *k == Kind::File) else {
            return Ok(());
        };
        let begun = self.shared.now();
        File::open(self.root.join(&path))?.sync_all()?;
        self.shared.synced.fetch_max(begun, Ordering::SeqCst);
        let present = self.steps.len() - 1;
        if let Some(body) = self.bodies.get_mut(&self.reference.tree[&path].id) {
            body.whole_from = body.whole_from.min(present);
        }
        Ok(())
    }

    /// Returns the first and the last step after which the volume may show what it shows. There may be
    /// several: an exchange of two files changes their contents only.
    fn found(&self) -> (usize, usize) {
        let real = scan(&self.root);
        let files = real.iter().filter(|(_, e)| e.kind == Kind::File);
        let read = |(path, _): (&String, _)| {
            let bytes = fs::read(self.root.join(path)).expect("files can be read");
            (path.clone(), bytes)
        };
        let contents: BTreeMap<String, Vec<u8>> = files.map(read).collect();
        let alike: Vec<usize> = (0..self.steps.len())
            .filter(|n| same(&self.steps[*n].tree, &real))
            .collect();
        let Some(newest) = alike.last() else {
            let last = self.steps.last().map(|s| &s.tree);
            panic!("the tree is none of those there were: {real:#?}\nthe last: {last:#?}");
        };
        let fits = |n: &&usize| self.refute(**n, &contents).is_none();
        let first = alike.iter().find(fits);
        let last = alike.iter().rfind(fits);
        let (first, last) = first.zip(last).unwrap_or_else(|| {
            let why = self.refute(*newest, &contents);
            panic!("{} trees fit, no contents: {why:?}", alike.len())
        });
        (*first, *last)
    }

    /// Says why these are not the contents after a step.
    fn refute(&self, step: usize, contents: &BTreeMap<String, Vec<u8>>) -> Option<String> {
        contents.iter().find_map(|(path, found)| {
            let body = &self.bodies[&self.steps[step].tree[path].id];
            if *found == body.bytes {
                return None;
            }
            let (len, whole) = (found.len(), body.bytes.len());
            if body.whole_from <= step {
                return Some(format!("{path} is not whole: {len} of {whole} bytes"));
            }
            let mut pages = found.chunks(PAGE).zip(body.bytes.chunks(PAGE));
            let is_piece =
                len <= whole && pages.all(|(f, b)| f.iter().all(|b| *b == 0) || b.starts_with(f));
            (!is_piece).then(|| format!("{path} is mixed: {len} of {whole} bytes"))
        })
    }
}

/// Checks what the kill has left of the work of all threads; returns how many steps were durable.
fn check(movers: &[Mover], shared: &Shared) -> (usize, usize) {
    let found: Vec<(usize, usize)> = movers.iter().map(Mover::found).collect();
    let synced = shared.synced.load(Ordering::SeqCst);
    for (mover, (first, last)) in movers.iter().zip(&found) {
        let owed = mover.steps.iter().filter(|s| s.ended < synced).count();
        let owed = owed.saturating_sub(1);
        assert!(*last >= owed, "{owed} steps were synced, {last} are kept");
        let newest = mover.steps[*first].begun;
        for (other, (_, last)) in movers.iter().zip(&found) {
            let lost = other.steps.get(last + 1);
            let in_order = lost.is_none_or(|lost| lost.ended > newest);
            assert!(in_order, "an earlier operation of another thread is lost");
        }
    }
    let kept = found.iter().map(|(_, last)| last).sum();
    (kept, movers.iter().map(|m| m.steps.len() - 1).sum())
}

fn synced_dir(path: &Path) {
    fs::create_dir(path).expect("a new directory");
    let dir = File::open(path).expect("it is there");
    dir.sync_all().expect("it is durable");
}

#[test]
fn names_moved_when_the_worker_is_killed_survive_in_order() {
    let v = TestVolume::with(&["--chunk-size", "16K"]);
    let mut root = v.mount();
    let mut dice = dice();
    let (mut kept, mut done) = (0, 0);
    let kills = length(9, 80);
    for round in 0..kills {
        let shared = Arc::new(Shared::default());
        shared.now();
        let top = root.join(format!("round{round}"));
        synced_dir(&top);
        let sync_every = [20, 300, u64::MAX][dice.size(3)];
        let start = |n| {
            let own = top.join(format!("mover{n}"));
            synced_dir(&own);
            let mover = Mover::new(own, &shared, sync_every, dice.next());
            std::thread::spawn(|| mover.run())
        };
        let threads: Vec<_> = (0..MOVERS).map(start).collect();
        wait(&mut dice, length(1500, 7000));
        let pid = v.worker();
        shared.is_ending.store(true, Ordering::SeqCst);
        v.kill_worker();
        let movers = threads.into_iter().map(|t| t.join().expect("as above"));
        let movers: Vec<Mover> = movers.collect();
        root = mount_again(&v);
        assert_ne!(v.worker(), pid);
        let (k, d) = check(&movers, &shared);
        (kept, done) = (kept + k, done + d);
        fs::remove_dir_all(&top).expect("it is all there");
    }
    report(&format!(
        "renames: {kept} of {done} operations kept, in order, in {kills} kills"
    ));
    v.umount();
}
