//! What a volume promised before the power went.
//!
//! The workload notes what it did and where the trace stood before and after each call. From that
//! [`History`] tells for every position which trees and contents a volume may show there:
//!
//! * what had not begun before the cut is not there;
//! * operations on names, xattrs included, are there as a prefix of the order in which they returned,
//!   and all that had returned before a sync began which has returned;
//! * each page of a file holds what one of its writes made it, none older than the last sync of the
//!   file, or than the rename that put it in the place of another.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::disk::{File, PAGE, long, size};
use super::notes::{Moment, Note};
use crate::dice::Dice;

/// A file, directory or symlink: the number of its inode, which the volume keeps.
pub type Id = u64;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryKind {
    Dir,
    File,
    Symlink(String),
}

/// Bytes that a seed decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filling {
    pub seed: u64,
    pub len: usize,
}

impl Filling {
    pub fn bytes(self) -> Vec<u8> {
        Dice::new(self.seed).bytes(self.len)
    }
}

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub id: Id,
    pub kind: EntryKind,
    /// Fingerprint of the value of [`XATTR`].
    pub xattr: Option<u64>,
}

/// The xattr that a file may have.
pub const XATTR: &str = "user.value";

pub fn fingerprint(bytes: &[u8]) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// All paths below the root, without a slash at the front.
pub type Tree = BTreeMap<String, Entry>;

/// What a volume shows: its tree, and the contents of its files.
pub type Contents = (Tree, BTreeMap<Id, File>);

/// What a program did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Act {
    Make {
        path: String,
        entry: Entry,
    },
    Link {
        from: String,
        to: String,
    },
    /// A rename; the contents of what it moves come with it.
    Rename {
        from: String,
        to: String,
    },
    Remove {
        path: String,
    },
    Xattr {
        id: Id,
        value: Option<Filling>,
    },
    Write {
        id: Id,
        offset: u64,
        data: Filling,
        /// With O_DSYNC.
        is_synced: bool,
    },
    Resize {
        id: Id,
        len: u64,
    },
    Punch {
        id: Id,
        offset: u64,
        len: u64,
    },
    /// copy_file_range(2).
    Copy {
        from: (Id, u64),
        to: (Id, u64),
        len: u64,
    },
    /// A sync of one file or directory.
    Sync {
        id: Id,
    },
    /// Everything is durable.
    SyncAll,
}

/// Does what an operation does to the tree.
pub fn alter(tree: &mut Tree, act: &Act) {
    match act {
        Act::Make { path, entry } => {
            tree.insert(path.clone(), entry.clone());
        }
        Act::Link { from, to } => {
            tree.insert(to.clone(), tree[from].clone());
        }
        Act::Rename { from, to } => {
            tree.remove(to);
            let inside = format!("{from}/");
            let moved: Vec<String> = tree
                .keys()
                .filter(|p| *p == from || p.starts_with(&inside))
                .cloned()
                .collect();
            for path in moved {
                if let Some(entry) = tree.remove(&path) {
                    tree.insert(format!("{to}{}", &path[from.len()..]), entry);
                }
            }
        }
        Act::Remove { path } => {
            tree.remove(path);
        }
        Act::Xattr { id, value } => {
            let same = tree.values_mut().filter(|e| e.id == *id);
            let value = value.map(|v| fingerprint(&v.bytes()));
            same.for_each(|e| e.xattr = value);
        }
        _ => {}
    }
}

impl Act {
    /// Returns the file whose contents it changes.
    pub fn changes(&self) -> Option<Id> {
        match self {
            Self::Write { id, .. } | Self::Resize { id, .. } | Self::Punch { id, .. } => Some(*id),
            Self::Copy { to, .. } => Some(to.0),
            _ => None,
        }
    }

    fn is_sync(&self) -> bool {
        match self {
            Self::Sync { .. } | Self::SyncAll => true,
            Self::Write { is_synced, .. } => *is_synced,
            _ => false,
        }
    }

    /// Returns the bytes it writes, and where to; `contents` are those of a file before it.
    fn written<'a>(&self, contents: impl Fn(Id) -> Option<&'a File>) -> Option<(u64, Vec<u8>)> {
        match self {
            Self::Write { offset, data, .. } => Some((*offset, data.bytes())),
            Self::Copy { from, to, len } => {
                let mut bytes = Vec::new();
                if let Some(file) = contents(from.0) {
                    file.read(from.1, size(*len), &mut bytes);
                }
                Some((to.1, bytes))
            }
            _ => None,
        }
    }
}

/// Does what an operation does to the contents of a file, and returns the pages it touches.
pub fn change(file: &mut File, act: &Act, written: Option<(u64, Vec<u8>)>) -> Range<usize> {
    let pages = |from: u64, to: u64| size(from) / PAGE..size(to).div_ceil(PAGE);
    if let Some((offset, bytes)) = written {
        if bytes.is_empty() {
            return 0..0;
        }
        let from = file.len.min(offset);
        file.write(offset, &bytes);
        return pages(from, offset + long(bytes.len()));
    }
    match act {
        Act::Resize { len, .. } => {
            let (from, to) = (file.len.min(*len), file.len.max(*len));
            file.resize(*len);
            pages(from, to)
        }
        Act::Punch { offset, len, .. } => {
            let end = file.len.min(offset + len);
            file.zero(*offset, end.saturating_sub(*offset));
            pages(*offset, end)
        }
        _ => 0..0,
    }
}

/// A tree, from which act on it was there.
struct Version {
    act: usize,
    tree: Tree,
    /// The file whose contents came with it.
    brings: Option<Id>,
}

/// One page, or its absence, from which act on.
type PageVersion = (usize, Option<Box<[u8; PAGE]>>);

/// A file with what it was since its last sync.
#[derive(Default)]
struct Content {
    now: File,
    floor: usize,
    sizes: Vec<(usize, u64)>,
    pages: BTreeMap<usize, Vec<PageVersion>>,
}

fn copy(file: &File, page: usize) -> Option<Box<[u8; PAGE]>> {
    file.page(page).map(|p| Box::new(**p))
}

/// Drops what is older than the last version that act `floor` has seen.
fn prune<T>(versions: &mut Vec<(usize, T)>, floor: usize) {
    let last = versions.iter().rposition(|(act, _)| *act <= floor);
    versions.drain(..last.unwrap_or(0));
}

impl Content {
    fn change(&mut self, act: usize, what: &Act, written: Option<(u64, Vec<u8>)>) {
        let mut next = self.now.clone();
        let touched = change(&mut next, what, written);
        if self.sizes.is_empty() {
            self.sizes.push((0, self.now.len));
        }
        self.sizes.push((act, next.len));
        for page in touched {
            let versions = self.pages.entry(page).or_default();
            if versions.is_empty() {
                versions.push((0, copy(&self.now, page)));
            }
            versions.push((act, copy(&next, page)));
        }
        self.now = next;
    }

    fn settle(&mut self, floor: usize) {
        self.floor = self.floor.max(floor);
        prune(&mut self.sizes, floor);
        self.pages.retain(|_, versions| {
            prune(versions, floor);
            versions.len() > 1
        });
    }

    /// Says why `real` cannot be what a cut has left, when act `floor` is there.
    fn refute(&self, real: &File, floor: usize) -> Option<String> {
        let mut sizes = self.sizes.clone();
        prune(&mut sizes, floor);
        let known = sizes.iter().map(|(_, len)| *len);
        let least = known.clone().min().unwrap_or(self.now.len);
        let most = known.clone().max().unwrap_or(self.now.len);
        // The kernel sends what it has cached in whole pages.
        let between = (least..=most).contains(&real.len) && real.len.is_multiple_of(long(PAGE));
        if !between && real.len != self.now.len && !known.clone().any(|len| len == real.len) {
            let known: Vec<u64> = known.collect();
            return Some(format!("size {} is none of {known:?}", real.len));
        }
        let end = size(real.len);
        (0..end.div_ceil(PAGE)).find_map(|n| {
            let len = PAGE.min(end - n * PAGE);
            let found = bytes(real.page(n).map(|p| &**p), len);
            let now = bytes(self.now.page(n).map(|p| &**p), len);
            if found == now {
                return None;
            }
            let versions = self.pages.get(&n).map_or(&[][..], Vec::as_slice);
            let first = versions.iter().rposition(|(act, _)| *act <= floor);
            let known = versions[first.unwrap_or(0)..].iter();
            let mut known = known.map(|(_, page)| bytes(page.as_deref(), len));
            let is_known = known.any(|page| page == found);
            (!is_known).then(|| {
                format!(
                    "page {n} of {} bytes is none of its {} versions",
                    end,
                    versions.len()
                )
            })
        })
    }
}

fn bytes(page: Option<&[u8; PAGE]>, len: usize) -> &[u8] {
    const ZEROS: &[u8; PAGE] = &[0; PAGE];
    &page.unwrap_or(ZEROS)[..len]
}

/// What a sync in progress will have made durable.
struct Covered {
    /// The newest act on the tree that had returned when it began.
    tree: usize,
    /// Acts on contents that had not, by their files.
    pending: BTreeMap<Id, usize>,
}

/// What is promised at one position of the trace.
pub struct History {
    notes: Vec<Note>,
    /// When acts begin (true) and return, in order.
    moments: Vec<(Moment, bool, usize)>,
    next: usize,
    trees: Vec<Version>,
    contents: BTreeMap<Id, Content>,
    /// The newest act on the tree that has returned.
    returned: usize,
    /// Acts on contents in progress.
    pending: BTreeMap<Id, usize>,
    /// Syncs in progress.
    covered: BTreeMap<usize, Covered>,
}

impl History {
    pub fn new(notes: &[Note]) -> Self {
        let mut moments = Vec::new();
        for (n, note) in notes.iter().enumerate() {
            moments.extend([(note.begin, true, n + 1), (note.end, false, n + 1)]);
        }
        moments.sort_unstable();
        Self {
            notes: notes.to_vec(),
            moments,
            next: 0,
            trees: vec![Version {
                act: 0,
                tree: Tree::new(),
                brings: None,
            }],
            contents: BTreeMap::new(),
            returned: 0,
            pending: BTreeMap::new(),
            covered: BTreeMap::new(),
        }
    }

    /// Goes on to a cut after `at` operations.
    pub fn advance(&mut self, at: usize) {
        while let Some((moment, begins, act)) = self.moments.get(self.next).copied() {
            if moment.at > at {
                return;
            }
            self.next += 1;
            let what = self.notes[act - 1].act.clone();
            if begins {
                self.begin(act, &what);
            } else {
                self.end(act, &what);
            }
        }
    }

    fn begin(&mut self, act: usize, what: &Act) {
        if let Some(id) = what.changes() {
            let contents = |id| self.contents.get(&id).map(|c| &c.now);
            let written = what.written(contents);
            let content = self.contents.entry(id).or_default();
            content.change(act, what, written);
            self.pending.insert(id, act);
        }
        if what.is_sync() {
            let covered = Covered {
                tree: self.returned,
                pending: self.pending.clone(),
            };
            self.covered.insert(act, covered);
        } else if what.changes().is_none() {
            let newest = &self.trees.last().expect("there is always one").tree;
            let brings = match what {
                Act::Rename { from, .. } => newest.get(from).map(|e| e.id),
                _ => None,
            };
            let mut tree = newest.clone();
            alter(&mut tree, what);
            self.trees.push(Version { act, tree, brings });
        }
    }

    fn end(&mut self, act: usize, what: &Act) {
        let changes = what.changes();
        if let Some(id) = changes {
            self.pending.remove(&id);
        }
        let Some(covered) = self.covered.remove(&act) else {
            if changes.is_none() {
                self.returned = act;
            }
            return;
        };
        self.settle_trees(covered.tree);
        for (id, content) in &mut self.contents {
            match what {
                Act::SyncAll => {
                    let pending = covered.pending.get(id).map(|act| act - 1);
                    content.settle(pending.unwrap_or(act));
                }
                Act::Sync { id: synced } | Act::Write { id: synced, .. } if synced == id => {
                    content.settle(act);
                }
                _ => {}
            }
        }
    }

    fn settle_trees(&mut self, covered: usize) {
        let last = self.trees.iter().rposition(|v| v.act <= covered);
        let last = last.unwrap_or(0);
        // The contents that came with a name are there as the name is.
        for version in &self.trees[..=last] {
            let brought = version.brings.and_then(|id| self.contents.get_mut(&id));
            if let Some(content) = brought {
                content.settle(version.act);
            }
        }
        self.trees.drain(..last);
    }

    /// Says why a volume cannot be what a cut has left here.
    pub fn refute(&self, (tree, files): Contents) -> Result<(), String> {
        let found = self.trees.iter().position(|v| v.tree == tree);
        let found = found.ok_or_else(|| self.differs(&tree))?;
        let (seen, _) = self.trees.split_at(found + 1);
        let wrong = files.iter().find_map(|(id, real)| {
            let nothing = Content::default();
            let content = self.contents.get(id).unwrap_or(&nothing);
            let brought = seen.iter().filter(|v| v.brings == Some(*id)).map(|v| v.act);
            let floor = content.floor.max(brought.max().unwrap_or(0));
            let path = tree.iter().find(|(_, e)| e.id == *id).map(|(p, _)| p);
            let why = content.refute(real, floor)?;
            Some(format!("{path:?} (inode {id}): {why}"))
        });
        wrong.map_or(Ok(()), Err)
    }

    /// Compares a tree with the nearest version.
    fn differs(&self, tree: &Tree) -> String {
        let differences = |v: &Version| {
            let here = tree.iter().filter(|(p, e)| v.tree.get(*p) != Some(e));
            let gone = v.tree.iter().filter(|(p, _)| !tree.contains_key(*p));
            let here = here.map(|(p, e)| format!("has {p} {e:?}, not {:?}", v.tree.get(p)));
            here.chain(gone.map(|(p, e)| format!("lacks {p} {e:?}")))
                .collect::<Vec<String>>()
        };
        let all = self.trees.iter().map(|v| (v.act, differences(v)));
        let (act, nearest) = all.min_by_key(|(_, d)| d.len()).expect("there is one");
        format!(
            "the tree is none of {}; nearest is the one after act {act}: {}",
            self.trees.len(),
            nearest.join("; ")
        )
    }
}
