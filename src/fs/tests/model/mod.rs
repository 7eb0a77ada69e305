//! Random operations against a reference in memory, with reopens and crashes.
//!
//! A crash may lose only what was not synced: names are those after some operation since the last
//! commit that somebody waited for, and each page of a file is that of one of its versions since it
//! was synced, or since it was renamed if the name has survived.

mod state;

use std::collections::BTreeMap;
use std::rc::Rc;

use state::{Body, Node, State};

use super::volume::CHUNK;
use super::{ROOT, Volume, integrity, wait};
use crate::base::{Ino, PAGE_BYTES};
use crate::fs::{Attr, FileKind, FsError, SetAttr, WriteFlags};
use crate::kv::faulty::{Call, Faults};

/// Longest file.
const SIZE_MAX: usize = 12 * CHUNK;

/// A generator whose seed is printed when the test fails (xorshift).
struct Dice {
    seed: u64,
    state: u64,
}

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from(self.state % sides as u64).unwrap()
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        match from.len() {
            0 => None,
            n => Some(from[self.roll(n)]),
        }
    }
}

impl Drop for Dice {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the seed was {}", self.seed);
        }
    }
}

/// The contents a file has had since they were synced.
#[derive(Default)]
struct Versions {
    first: usize,
    all: Vec<Rc<Vec<u8>>>,
}

struct Model {
    v: Volume,
    dice: Dice,
    state: State,
    /// The states since the last commit that somebody waited for.
    past: Vec<State>,
    versions: BTreeMap<Ino, Versions>,
    /// Lookups the kernel would hold.
    held: BTreeMap<Ino, u64>,
    /// A failed read may have left a reference to a block.
    has_leaks: bool,
}

impl Model {
    fn new(v: Volume, seed: u64) -> Self {
        let state = State::new();
        Self {
            v,
            dice: Dice {
                seed,
                state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            },
            past: vec![state.clone()],
            state,
            versions: BTreeMap::new(),
            held: BTreeMap::new(),
            has_leaks: false,
        }
    }

    fn dir(&mut self) -> Ino {
        let dirs = self.state.named(|b| matches!(b, Body::Dir(_)));
        self.dice.pick(&dirs).unwrap()
    }

    fn file(&mut self) -> Option<Ino> {
        let files = self.state.named(|b| matches!(b, Body::File(_)));
        self.dice.pick(&files)
    }

    fn name(&mut self) -> [u8; 1] {
        [b'a' + u8::try_from(self.dice.roll(8)).unwrap()]
    }

    /// An offset, often on a border.
    fn offset(&mut self) -> usize {
        match self.dice.roll(4) {
            0 => self.dice.roll(12) * CHUNK,
            1 => self.dice.roll(12 * CHUNK / PAGE_BYTES) * PAGE_BYTES,
            _ => self.dice.roll(SIZE_MAX),
        }
    }

    fn len(&mut self) -> usize {
        match self.dice.roll(4) {
            0 => self.dice.roll(3) * CHUNK + 1,
            1 => CHUNK * (1 + self.dice.roll(2)),
            _ => 1 + self.dice.roll(6000),
        }
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        match self.dice.roll(8) {
            0 => vec![0; len],
            1 => vec![5; len],
            _ => {
                let start = self.dice.roll(1 << 20);
                (0..len)
                    .map(|n| low_byte(((start + n) * 7919) >> 3))
                    .collect()
            }
        }
    }

    /// Notes that an operation has changed the contents of a file.
    fn changed(&mut self, ino: Ino) {
        let data = self.state.data(ino);
        self.versions.entry(ino).or_default().all.push(data);
    }

    /// Returns what an operation has answered; none if something has failed meanwhile: it may
    /// have happened or not.
    #[track_caller]
    fn answer<T>(&self, real: Result<T, FsError>) -> Option<T> {
        match real {
            Err(_) if self.v.has_failed() => None,
            real => Some(real.unwrap()),
        }
    }

    fn same<T, U>(&self, real: &Result<T, FsError>, model: &Result<U, FsError>, what: &str) {
        if real.is_err() && self.v.has_failed() {
            return;
        }
        let errno = |e: Option<&FsError>| e.map_or(0, FsError::errno);
        let (real, model) = (errno(real.as_ref().err()), errno(model.as_ref().err()));
        assert_eq!(real, model, "{what}");
    }

    fn made(&mut self, dir: Ino, name: &[u8], made: &Result<Attr, FsError>, body: Body) {
        let absent = self.state.check_absent(dir, name);
        self.same(made, &absent, "make");
        if let Ok(attr) = made {
            let is_file = matches!(body, Body::File(_));
            *self.held.entry(attr.ino).or_default() += 1;
            self.state
                .make(dir, name, attr.ino, Node::new(body, attr.perm));
            if is_file {
                self.changed(attr.ino);
            }
        }
    }

    fn make(&mut self) {
        let (dir, name) = (self.dir(), self.name());
        match self.dice.roll(4) {
            0 => {
                let made = self.v.mkdir(ROOT, dir, &name, 0o755, 0);
                self.made(dir, &name, &made, Body::Dir(BTreeMap::new()));
            }
            1 => {
                let made = self.v.symlink(ROOT, dir, &name, b"target");
                self.made(dir, &name, &made, Body::Symlink(b"target".to_vec()));
            }
            _ => {
                let made = self.v.try_file(dir, &name);
                self.made(dir, &name, &made, Body::File(Rc::default()));
            }
        }
    }

    fn change_names(&mut self) {
        let (dir, name) = (self.dir(), self.name());
        match self.dice.roll(5) {
            0 => {
                let real = self.v.unlink(dir, &name);
                let model = self.state.remove(dir, &name, false);
                self.same(&real, &model, "unlink");
            }
            1 => {
                let real = self.v.rmdir(dir, &name);
                let model = self.state.remove(dir, &name, true);
                self.same(&real, &model, "rmdir");
            }
            2 => {
                let any = self.state.named(|_| true);
                let ino = self.dice.pick(&any).unwrap();
                let real = self.v.link(ino, dir, &name);
                let model = self.state.link(ino, dir, &name);
                self.same(&real, &model, "link");
                if real.is_ok() {
                    *self.held.entry(ino).or_default() += 1;
                }
            }
            _ => {
                let to = (self.dir(), self.name());
                let flags = [0, 0, libc::RENAME_NOREPLACE, libc::RENAME_EXCHANGE];
                let flags = self.dice.pick(&flags).unwrap();
                let ends = [self.state.find(dir, &name), self.state.find(to.0, &to.1)];
                let real = self.v.mv((dir, &name), (to.0, &to.1), flags);
                let model = self.state.rename((dir, &name), (to.0, &to.1), flags);
                self.same(&real, &model, "rename");
                let moved = if flags == libc::RENAME_EXCHANGE { 2 } else { 1 };
                for ino in ends.into_iter().take(moved).flatten() {
                    // The same inode twice is no rename, and nothing is flushed.
                    if let (Some(v), true) = (self.versions.get(&ino), ends[0] != ends[1]) {
                        let newest = v.first + v.all.len() - 1;
                        if real.is_ok() {
                            self.state.node(ino).since = newest;
                        }
                    }
                }
            }
        }
    }

    fn change_contents(&mut self) {
        let Some(ino) = self.file() else {
            return;
        };
        let (offset, len) = (self.offset(), self.len());
        match self.dice.roll(6) {
            0 => {
                let set = SetAttr {
                    size_bytes: Some(offset as u64),
                    ..Default::default()
                };
                self.answer(self.v.set(ROOT, ino, set));
                self.state.change(ino, |d| d.resize(offset, 0));
            }
            1 => {
                let punch = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
                let mode = self
                    .dice
                    .pick(&[punch, libc::FALLOC_FL_ZERO_RANGE, 0])
                    .unwrap();
                let (at, n) = (offset as u64, len as u64);
                self.answer(wait(|done| self.v.fallocate(ROOT, ino, at, n, mode, done)));
                self.state.change(ino, |d| {
                    let end = offset + len;
                    if mode != punch && d.len() < end {
                        d.resize(end, 0);
                    }
                    let end = end.min(d.len());
                    if mode != 0 && offset < end {
                        d[offset..end].fill(0);
                    }
                });
            }
            2 => {
                let to = self.file().unwrap();
                let at = match self.dice.roll(2) {
                    0 => offset,
                    _ => self.offset(),
                };
                if to == ino && offset.abs_diff(at) < len {
                    return;
                }
                let (from, into, n) = ((ino, offset as u64), (to, at as u64), len as u64);
                let copied = wait(|done| self.v.copy_file_range(ROOT, from, into, n, done));
                let source = self.state.data(ino);
                let end = (offset + len).min(source.len());
                let piece = source.get(offset..end).unwrap_or(&[]);
                if let Some(n) = self.answer(copied) {
                    // A failure in the middle is told as a short copy.
                    let n = usize::try_from(n).unwrap();
                    assert!(n == piece.len() || self.v.has_failed());
                }
                self.state.change(to, |d| write(d, at, piece));
                self.changed(to);
                return;
            }
            _ => {
                let data = self.bytes(len);
                let flags = WriteFlags {
                    cached: self.dice.roll(2) == 0,
                    ..Default::default()
                };
                let at = offset as u64;
                self.answer(wait(|done| self.v.write(ROOT, ino, at, &data, flags, done)));
                self.state.change(ino, |d| write(d, offset, &data));
            }
        }
        self.changed(ino);
    }

    fn change_attributes(&mut self) {
        let any = self.state.named(|b| !matches!(b, Body::Symlink(_)));
        let ino = self.dice.pick(&any).unwrap();
        let perm = u32::try_from(self.dice.roll(0o1000)).unwrap();
        if self.dice.roll(2) == 0 {
            let set = SetAttr {
                mode: Some(perm),
                ..Default::default()
            };
            self.answer(self.v.set(ROOT, ino, set));
            self.state.node(ino).perm = perm;
        } else {
            let name = [&b"user."[..], &self.name()].concat();
            let len = [10, 3000, 20_000][self.dice.roll(3)];
            let value = self.bytes(len);
            let real = self.v.setxattr(ROOT, ino, &name, &value, 0);
            if real.is_ok() {
                self.state.node(ino).xattrs.insert(name, value);
            } else if !self.v.has_failed() {
                self.same(&real, &Err::<(), _>(FsError::NoSpace), "setxattr");
                let removed = self.v.removexattr(ROOT, ino, &name);
                let old = self.state.node(ino).xattrs.remove(&name);
                assert_eq!(removed.is_ok(), old.is_some());
            }
        }
    }

    fn look(&mut self) {
        let (dir, name) = (self.dir(), self.name());
        let real = self.v.lookup(dir, &name);
        let model = self.state.find(dir, &name).ok_or(FsError::NoEntry);
        self.same(&real, &model, "lookup");
        if let Ok(attr) = real {
            assert_eq!(attr.ino, model.unwrap());
            *self.held.entry(attr.ino).or_default() += 1;
        }
        if let Some(ino) = self.file() {
            let (offset, len) = (self.offset(), self.len());
            let data = self.state.data(ino);
            let end = (offset + len).min(data.len());
            let expected = data.get(offset..end).unwrap_or(&[]);
            let (at, n) = (offset as u64, u32::try_from(len).unwrap());
            let mut read = Vec::new();
            if let Some(()) = self.answer(self.v.read(ino, at, n, &mut read)) {
                assert!(read == expected, "{ino}: {offset}+{len}");
            }
        }
    }

    /// Forgets one orphan.
    fn forget(&mut self) {
        let orphan = self.state.nodes.iter().find(|(_, n)| n.nlink == 0);
        let Some(ino) = orphan.map(|(ino, _)| *ino) else {
            return;
        };
        // What the kernel does not hold may go at any moment.
        if let Some(count) = self.held.remove(&ino) {
            if let Body::File(data) = &self.state.nodes[&ino].body {
                let mut read = Vec::new();
                let len = u32::try_from(SIZE_MAX * 2).unwrap();
                if let Some(()) = self.answer(self.v.read(ino, 0, len, &mut read)) {
                    assert!(read == **data, "orphan {ino}");
                }
            }
            self.v.forget(ino, count);
            let gone = self.v.getattr(ino);
            assert!(matches!(gone, Err(FsError::NoEntry)) || self.v.has_failed());
        }
        self.state.nodes.remove(&ino);
    }

    fn names_are_durable(&mut self) {
        self.past = vec![self.state.clone()];
    }

    fn sync(&mut self) {
        match self.dice.roll(3) {
            0 => {
                let committed = self.v.core.txn.commit_wait();
                if self.answer(committed.map_err(FsError::from)).is_none() {
                    return;
                }
            }
            1 => {
                if self.answer(wait(|done| self.v.sync_all(done))).is_none() {
                    return;
                }
                let files: Vec<Ino> = self.versions.keys().copied().collect();
                files.into_iter().for_each(|f| self.contents_are_durable(f));
            }
            _ => {
                let Some(ino) = self.file() else {
                    return;
                };
                if self.answer(self.v.sync(ino)).is_none() {
                    return;
                }
                self.contents_are_durable(ino);
            }
        }
        self.names_are_durable();
    }

    fn contents_are_durable(&mut self, ino: Ino) {
        if let Some(v) = self.versions.get_mut(&ino) {
            v.first += v.all.len() - 1;
            v.all.drain(..v.all.len() - 1);
        }
    }

    fn step(&mut self) {
        match self.dice.roll(100) {
            0..15 => self.make(),
            15..40 => self.change_names(),
            40..70 => self.change_contents(),
            70..76 => self.change_attributes(),
            76..90 => self.look(),
            90..93 => self.forget(),
            93..98 => self.sync(),
            98 if self.v.faults().is_some_and(Faults::is_armed) => {}
            98 => {
                self.v.reopen();
                integrity::check(&self.v, self.has_leaks);
                self.begin_again();
                assert_eq!(self.observe(), self.state);
            }
            _ => self.crash(),
        }
        if self.v.has_failed() {
            // Whatever was begun is durable now, whole or not at all; unless the power is cut.
            self.past.push(self.state.clone());
            drop(self.v.core.txn.commit_wait());
            self.crash();
        }
        self.past.push(self.state.clone());
    }

    /// Lets something fail soon, now and then.
    fn arm(&mut self) {
        let (sort, n) = (self.dice.roll(40), self.dice.roll(20) as u64);
        let Some(faults) = self.v.faults().filter(|f| !f.is_armed()) else {
            return;
        };
        match sort {
            0 => faults.cut_power_at(n),
            1 => {
                faults.fail_call(Call::Read, n);
                self.has_leaks = true;
            }
            2 => faults.fail_call(Call::Change, n),
            _ => {}
        }
    }

    fn crash(&mut self) {
        match self.dice.roll(4) {
            0 => self.v.crash_twice(self.dice.roll(8) as u64),
            _ => self.v.crash(),
        }
        self.accept_crash();
        self.begin_again();
    }

    /// After a reopen the kernel holds nothing, and everything is durable.
    fn begin_again(&mut self) {
        self.held.clear();
        self.state.drop_orphans();
        self.versions.clear();
        for node in self.state.nodes.values_mut() {
            node.since = 0;
        }
        for ino in self.state.named(|b| matches!(b, Body::File(_))) {
            self.changed(ino);
        }
        self.past.clear();
    }

    /// Checks that what a crash has left may be so, and takes it as the state.
    fn accept_crash(&mut self) {
        let found = self.observe();
        let shape = found.shape();
        let same: Vec<_> = self.past.iter().filter(|s| s.shape() == shape).collect();
        let known = !same.is_empty();
        assert!(known, "the names are those after one of the operations");
        for (ino, node) in &found.nodes {
            let Body::File(data) = &node.body else {
                continue;
            };
            let versions = &self.versions[ino];
            let since = same.iter().map(|s| s.nodes[ino].since).min().unwrap();
            let since = since.max(versions.first);
            let possible = &versions.all[since - versions.first..];
            let longest = possible.iter().map(|v| v.len()).max().unwrap_or(0);
            assert!(data.len() <= longest, "{ino} is longer than it ever was");
            for (n, page) in data.chunks(PAGE_BYTES).enumerate() {
                let known = possible.iter().any(|v| is_page(v, n, page));
                assert!(known, "page {n} of {ino} is none that was written");
            }
        }
        self.state = found;
    }

    /// Reads the whole tree.
    fn observe(&self) -> State {
        let mut state = State::new();
        let root = self.v.getattr(Ino::ROOT).unwrap();
        state.node(Ino::ROOT).nlink = root.nlink;
        state.node(Ino::ROOT).perm = root.perm;
        state.node(Ino::ROOT).xattrs = self.xattrs(Ino::ROOT);
        let mut open = vec![Ino::ROOT];
        while let Some(dir) = open.pop() {
            let mut found: Vec<(Vec<u8>, Attr)> = Vec::new();
            self.v
                .readdirplus(dir, 2, &mut |e, attr| {
                    assert_eq!(e.kind, attr.kind);
                    found.push((e.name.to_vec(), *attr));
                    true
                })
                .unwrap();
            let count = self.v.getattr(dir).unwrap().size_bytes;
            assert_eq!(count, found.len() as u64);
            for (name, attr) in found {
                self.v.forget(attr.ino, 1);
                let body = match attr.kind {
                    FileKind::Directory => {
                        open.push(attr.ino);
                        Body::Dir(BTreeMap::new())
                    }
                    FileKind::Symlink => Body::Symlink(self.v.readlink(attr.ino).unwrap()),
                    _ => Body::File(Rc::new(self.v.contents(attr.ino))),
                };
                let mut node = Node::new(body, attr.perm);
                node.nlink = attr.nlink;
                node.xattrs = self.xattrs(attr.ino);
                state.nodes.insert(attr.ino, node);
                let Body::Dir(entries) = &mut state.node(dir).body else {
                    continue;
                };
                entries.insert(name, attr.ino);
            }
        }
        state
    }

    fn xattrs(&self, ino: Ino) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let names = self.v.listxattr(ino).unwrap();
        let names = names.split(|b| *b == 0).filter(|n| !n.is_empty());
        names
            .map(|n| (n.to_vec(), self.v.getxattr(ino, n).unwrap()))
            .collect()
    }
}

fn low_byte(n: usize) -> u8 {
    let [low, ..] = n.to_le_bytes();
    low
}

fn write(data: &mut Vec<u8>, offset: usize, piece: &[u8]) {
    if piece.is_empty() {
        return;
    }
    if data.len() < offset + piece.len() {
        data.resize(offset + piece.len(), 0);
    }
    data[offset..offset + piece.len()].copy_from_slice(piece);
}

/// Returns true if page `n` of a version begins with `page`, zeros beyond the version's end.
fn is_page(version: &[u8], n: usize, page: &[u8]) -> bool {
    let rest = version.get(n * PAGE_BYTES..).unwrap_or(&[]);
    let have = rest.len().min(page.len());
    page[..have] == rest[..have] && page[have..].iter().all(|b| *b == 0)
}

fn run(v: Volume, seed: u64, steps: usize) {
    let mut m = Model::new(v, seed);
    for _ in 0..steps {
        m.arm();
        m.step();
    }
    if m.v.has_failed() {
        m.crash();
    }
    if let Some(faults) = m.v.faults() {
        faults.cancel();
    }
    m.state.drop_orphans();
    m.v.reopen();
    integrity::check(&m.v, m.has_leaks);
    m.begin_again();
    assert_eq!(m.observe(), m.state);
}

#[test]
fn random_operations_agree_with_the_reference() {
    for seed in 1..=4 {
        run(Volume::new(), seed, 600);
    }
}

/// The power is cut, and reads and writes fail, in every layer, while files are written, removed,
/// moved and synced, and while the volume is opened again.
#[test]
fn random_operations_survive_power_cuts() {
    for seed in 1..=30 {
        run(Volume::faulty(seed), seed, 400);
    }
}
