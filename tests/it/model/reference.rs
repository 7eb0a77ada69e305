//! The file system in memory: what a volume must show, and what it may show after a crash.
//!
//! Everything that happened since the last sync is kept in versions: the tree after each operation,
//! and of each file its sizes and the contents of its pages. After a crash the tree must be one of
//! its versions (operations survive as a prefix), each page one of its versions.

use std::collections::{BTreeMap, BTreeSet};

const PAGE: usize = 4096;

/// A file or directory, whatever its names.
pub type Id = u64;

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Dir,
    File,
    Symlink(String),
}

/// An entry of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub id: Id,
    pub kind: Kind,
    /// Permission bits; of a symlink 0.
    pub mode: u32,
}

/// All paths below the root, without a slash at the front.
pub type Tree = BTreeMap<String, Entry>;

/// Contents of a file, with what it held since it was last synced.
#[derive(Debug, Clone, Default)]
pub struct Content {
    pub bytes: Vec<u8>,
    sizes: BTreeSet<usize>,
    pages: BTreeMap<usize, Vec<Vec<u8>>>,
}

fn page(bytes: &[u8], page: usize) -> Vec<u8> {
    let mut out = bytes
        .iter()
        .skip(page * PAGE)
        .take(PAGE)
        .copied()
        .collect::<Vec<u8>>();
    out.resize(PAGE, 0);
    out
}

impl Content {
    /// Makes the bytes `new`, of which the ones from `from` to `to` may differ.
    fn change(&mut self, new: Vec<u8>, from: usize, to: usize) {
        self.sizes.extend([self.bytes.len(), new.len()]);
        for p in from / PAGE..=to / PAGE {
            let versions = self.pages.entry(p).or_default();
            for v in [page(&self.bytes, p), page(&new, p)] {
                if !versions.contains(&v) {
                    versions.push(v);
                }
            }
        }
        self.bytes = new;
    }

    pub fn write(&mut self, offset: usize, data: &[u8]) {
        let end = offset + data.len();
        let mut new = self.bytes.clone();
        new.resize(new.len().max(end), 0);
        new[offset..end].copy_from_slice(data);
        self.change(new, offset.min(self.bytes.len()), end);
    }

    pub fn truncate(&mut self, len: usize) {
        let mut new = self.bytes.clone();
        new.resize(len, 0);
        let (from, to) = (len.min(self.bytes.len()), len.max(self.bytes.len()));
        self.change(new, from, to);
    }

    fn settle(&mut self) {
        self.sizes.clear();
        self.pages.clear();
    }

    /// Says why `real` cannot be what a crash has left.
    pub fn refute(&self, real: &[u8]) -> Option<String> {
        let least = self.sizes.first().copied().unwrap_or(self.bytes.len());
        let most = self.sizes.last().copied().unwrap_or(self.bytes.len());
        let between = (least..=most).contains(&real.len()) && real.len().is_multiple_of(PAGE);
        if !between && real.len() != self.bytes.len() && !self.sizes.contains(&real.len()) {
            return Some(format!("size {} was never its size", real.len()));
        }
        (0..real.len().div_ceil(PAGE)).find_map(|p| {
            let n = PAGE.min(real.len() - p * PAGE);
            let found = page(real, p);
            let current = [page(&self.bytes, p)];
            let versions = self.pages.get(&p).map_or(&current[..], Vec::as_slice);
            let known = versions.iter().any(|v| v[..n] == found[..n]);
            (!known).then(|| format!("page {p} was never like that"))
        })
    }
}

/// The state of a volume, and what it may fall back to.
#[derive(Default)]
pub struct Reference {
    pub tree: Tree,
    pub contents: BTreeMap<Id, Content>,
    /// The trees since the last sync, oldest first, without the present one.
    past: Vec<Tree>,
    next: Id,
}

impl Reference {
    /// Returns the names in a directory; the root is the empty path.
    pub fn children<'a>(&'a self, dir: &'a str) -> impl Iterator<Item = &'a String> {
        self.tree.keys().filter(move |p| parent(p) == dir)
    }

    /// Returns the paths of a kind.
    pub fn paths(&self, wanted: impl Fn(&Kind) -> bool) -> Vec<String> {
        let of_kind = self.tree.iter().filter(|(_, e)| wanted(&e.kind));
        of_kind.map(|(p, _)| p.clone()).collect()
    }

    pub fn content(&mut self, path: &str) -> &mut Content {
        let id = self.tree[path].id;
        self.contents.entry(id).or_default()
    }

    /// Returns the number of names of a file.
    pub fn links(&self, id: Id) -> usize {
        self.tree.values().filter(|e| e.id == id).count()
    }

    /// Does an operation on the tree, which is remembered until the next sync.
    pub fn alter(&mut self, f: impl FnOnce(&mut Tree)) {
        self.past.push(self.tree.clone());
        f(&mut self.tree);
    }

    pub fn add(&mut self, path: &str, kind: Kind, mode: u32) {
        self.next += 1;
        let id = self.next;
        if kind == Kind::File {
            self.contents.insert(id, Content::default());
        }
        let entry = Entry { id, kind, mode };
        self.alter(|t| {
            t.insert(path.to_owned(), entry);
        });
    }

    pub fn remove(&mut self, path: &str) {
        self.alter(|t| {
            t.remove(path);
        });
    }

    pub fn rename(&mut self, from: &str, to: &str) {
        if self.tree[from].id == self.tree.get(to).map_or(0, |e| e.id) {
            return;
        }
        self.alter(|t| {
            t.remove(to);
            let inside = format!("{from}/");
            let moved: Vec<String> = t
                .keys()
                .filter(|p| *p == from || p.starts_with(&inside))
                .cloned()
                .collect();
            for path in moved {
                if let Some(entry) = t.remove(&path) {
                    t.insert(format!("{to}{}", &path[from.len()..]), entry);
                }
            }
        });
    }

    /// A file was synced: it and the whole tree are durable, other contents need not be.
    pub fn synced(&mut self, path: &str) {
        self.past.clear();
        self.content(path).settle();
    }

    /// Everything is durable.
    pub fn all_synced(&mut self) {
        self.past.clear();
        let tree = &self.tree;
        self.contents
            .retain(|id, _| tree.values().any(|e| e.id == *id));
        self.contents.values_mut().for_each(Content::settle);
    }

    /// Takes the state after a crash as the new one, or says why it cannot be one.
    pub fn crashed(&mut self, real: &Tree, read: impl Fn(&str) -> Vec<u8>) -> Result<(), String> {
        let versions = [&self.tree].into_iter().chain(self.past.iter().rev());
        let found = versions.into_iter().find(|t| same(t, real)).cloned();
        self.tree = found.ok_or_else(|| {
            format!(
                "the tree is none of the {} since the last sync:\n{real:#?}\nnow: {:#?}",
                self.past.len() + 1,
                self.tree
            )
        })?;
        for (path, entry) in &self.tree {
            if entry.kind == Kind::File {
                let bytes = read(path);
                let content = self.contents.entry(entry.id).or_default();
                if let Some(why) = content.refute(&bytes) {
                    return Err(format!("{path}: {why}"));
                }
                content.bytes = bytes;
            }
        }
        self.all_synced();
        Ok(())
    }
}

pub fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

/// Tells whether two trees are the same but for the numbers of their files.
pub fn same(a: &Tree, b: &Tree) -> bool {
    let mut pairs = BTreeMap::new();
    let mut back = BTreeMap::new();
    a.len() == b.len()
        && a.iter().zip(b).all(|((p, x), (q, y))| {
            p == q
                && x.kind == y.kind
                && x.mode == y.mode
                && *pairs.entry(x.id).or_insert(y.id) == y.id
                && *back.entry(y.id).or_insert(x.id) == x.id
        })
}

#[test]
fn a_crash_may_not_mix() {
    let mut r = Reference::default();
    r.add("f", Kind::File, 0o644);
    r.content("f").write(0, &[1; 5000]);
    r.synced("f");
    r.content("f").write(4096, &[2; 904]);
    r.add("g", Kind::File, 0o644);
    let content = r.content("f").clone();
    let mut real = vec![1; 5000];
    assert_eq!(content.refute(&real), None, "the second write is lost");
    real[4096..].fill(2);
    assert_eq!(content.refute(&real), None, "it is kept");
    real[4999] = 1;
    assert!(content.refute(&real).is_some(), "half of it is kept");
    assert!(content.refute(&real[..4500]).is_some(), "cut");
    let mut tree = r.tree.clone();
    tree.remove("f");
    assert!(r.crashed(&tree, |_| Vec::new()).is_err(), "f was synced");
    tree = r.tree.clone();
    tree.remove("g");
    assert_eq!(r.crashed(&tree, |_| vec![1; 5000]), Ok(()));
}
