//! A disk in memory: its files and directories, the operations that change them, and the trace of
//! those operations.
//!
//! The disk that runs and every disk that is rebuilt after a power cut are the same [`Image`]: what
//! an operation does is written down here once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Number of a file or directory; never used twice.
pub type Ino = u64;

/// The top directory.
pub const ROOT: Ino = 1;

/// Bytes of a page of contents.
pub const PAGE: usize = 4096;

type Page = Arc<[u8; PAGE]>;

/// A place in a directory.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Slot {
    pub dir: Ino,
    pub name: String,
}

/// Bytes of [`Trace::bytes`].
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Span {
    pub start: usize,
    pub len: usize,
}

/// One operation on the disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Op {
    Write {
        ino: Ino,
        offset: u64,
        data: Span,
    },
    /// ftruncate(2).
    Resize {
        ino: Ino,
        len: u64,
    },
    /// fallocate(2): the file has at least this size.
    Extend {
        ino: Ino,
        len: u64,
    },
    Punch {
        ino: Ino,
        offset: u64,
        len: u64,
    },
    Create {
        slot: Slot,
        ino: Ino,
        is_dir: bool,
    },
    Rename {
        from: Slot,
        to: Slot,
        ino: Ino,
    },
    /// unlink(2) or rmdir(2).
    Remove {
        slot: Slot,
        ino: Ino,
    },
    /// fsync(2) or fdatasync(2) of a file, fsync(2) of a directory.
    Sync {
        ino: Ino,
    },
}

impl Op {
    /// Returns the file whose contents it changes.
    pub fn changes(&self) -> Option<Ino> {
        match self {
            Self::Write { ino, .. }
            | Self::Resize { ino, .. }
            | Self::Extend { ino, .. }
            | Self::Punch { ino, .. } => Some(*ino),
            _ => None,
        }
    }

    /// Returns what it names: up to two places, and the file there.
    pub fn names(&self) -> Option<(Vec<&Slot>, Ino)> {
        match self {
            Self::Create { slot, ino, .. } | Self::Remove { slot, ino } => Some((vec![slot], *ino)),
            Self::Rename { from, to, ino } => Some((vec![from, to], *ino)),
            _ => None,
        }
    }
}

/// Everything that was done to a disk, in order.
#[derive(Default, Clone, Serialize, Deserialize)]
pub struct Trace {
    pub ops: Vec<Op>,
    #[serde(skip)]
    pub bytes: Arc<Vec<u8>>,
}

impl Trace {
    /// Keeps the bytes of a write.
    pub fn keep(&mut self, data: &[u8]) -> Span {
        let start = self.bytes.len();
        Arc::make_mut(&mut self.bytes).extend_from_slice(data);
        Span {
            start,
            len: data.len(),
        }
    }

    pub fn data(&self, span: Span) -> &[u8] {
        &self.bytes[span.start..span.start + span.len]
    }
}

pub fn size(n: u64) -> usize {
    usize::try_from(n).expect("64 bits")
}

pub fn long(n: usize) -> u64 {
    u64::try_from(n).expect("64 bits")
}

/// Contents of a file; what no page holds is zeros.
#[derive(Clone, Default)]
pub struct File {
    pub len: u64,
    pages: Vec<Option<Page>>,
}

impl File {
    /// Returns a page, padded with zeros; none is a page of zeros.
    pub fn page(&self, n: usize) -> Option<&Page> {
        self.pages.get(n)?.as_ref()
    }

    /// Appends up to `len` bytes from `offset` on, fewer only at the end of the file.
    pub fn read(&self, offset: u64, len: usize, out: &mut Vec<u8>) {
        let end = self.len.min(offset.saturating_add(long(len)));
        let mut at = offset;
        while at < end {
            let (n, from) = (size(at) / PAGE, size(at) % PAGE);
            let part = (PAGE - from).min(size(end - at));
            match self.page(n) {
                Some(page) => out.extend_from_slice(&page[from..from + part]),
                None => out.resize(out.len() + part, 0),
            }
            at += long(part);
        }
    }

    pub fn write(&mut self, offset: u64, data: &[u8]) {
        let mut rest = data;
        let mut at = size(offset);
        while !rest.is_empty() {
            let (n, from) = (at / PAGE, at % PAGE);
            let (part, later) = rest.split_at(rest.len().min(PAGE - from));
            if self.pages.len() <= n {
                self.pages.resize(n + 1, None);
            }
            let page = self.pages[n].get_or_insert_with(|| Arc::new([0; PAGE]));
            Arc::make_mut(page)[from..from + part.len()].copy_from_slice(part);
            at += part.len();
            rest = later;
        }
        self.len = self.len.max(long(at));
    }

    pub fn resize(&mut self, len: u64) {
        if len < self.len {
            self.zero(len, self.len - len);
            self.pages.truncate(size(len).div_ceil(PAGE));
        }
        self.len = len;
    }

    /// Makes a range zeros; the size stays.
    pub fn zero(&mut self, offset: u64, len: u64) {
        let (mut at, end) = (size(offset), size(offset.saturating_add(len)));
        while at < end && at / PAGE < self.pages.len() {
            let (n, from) = (at / PAGE, at % PAGE);
            let to = PAGE.min(from + end - at);
            match &mut self.pages[n] {
                slot if to - from == PAGE => *slot = None,
                Some(page) => Arc::make_mut(page)[from..to].fill(0),
                None => {}
            }
            at += to - from;
        }
    }
}

/// What lies on a disk at one moment. A copy shares what neither of the two changes.
#[derive(Clone, Default)]
pub struct Image {
    files: HashMap<Ino, Arc<File>>,
    dirs: HashMap<Ino, BTreeMap<String, Ino>>,
}

/// A file or a directory.
pub enum Node<'a> {
    File(&'a File),
    Dir(&'a BTreeMap<String, Ino>),
}

impl Image {
    /// Returns a disk with nothing on it.
    pub fn new() -> Self {
        let mut new = Self::default();
        new.dirs.insert(ROOT, BTreeMap::new());
        new
    }

    /// Returns a number that no file has had.
    pub fn next_ino(&self) -> Ino {
        let highest = self.files.keys().chain(self.dirs.keys()).max();
        highest.map_or(ROOT, |ino| ino + 1)
    }

    pub fn node(&self, ino: Ino) -> Option<Node<'_>> {
        match self.dirs.get(&ino) {
            Some(dir) => Some(Node::Dir(dir)),
            None => self.files.get(&ino).map(|f| Node::File(f)),
        }
    }

    pub fn find(&self, slot: &Slot) -> Option<Ino> {
        self.dirs.get(&slot.dir)?.get(&slot.name).copied()
    }

    pub fn file(&mut self, ino: Ino) -> &mut File {
        Arc::make_mut(self.files.entry(ino).or_default())
    }

    /// Takes the contents of a file that has no name and is not open.
    pub fn forget(&mut self, ino: Ino) {
        self.files.remove(&ino);
    }

    fn dir(&mut self, ino: Ino) -> &mut BTreeMap<String, Ino> {
        self.dirs.entry(ino).or_default()
    }

    /// Does one operation; the contents of what loses its last name stay.
    pub fn apply(&mut self, op: &Op, trace: &Trace) {
        match op {
            Op::Write { ino, offset, data } => self.file(*ino).write(*offset, trace.data(*data)),
            Op::Resize { ino, len } => self.file(*ino).resize(*len),
            Op::Extend { ino, len } => {
                let file = self.file(*ino);
                file.len = file.len.max(*len);
            }
            Op::Punch { ino, offset, len } => self.file(*ino).zero(*offset, *len),
            Op::Create { slot, ino, is_dir } => {
                if *is_dir {
                    self.dir(*ino);
                } else {
                    self.file(*ino);
                }
                self.dir(slot.dir).insert(slot.name.clone(), *ino);
            }
            Op::Rename { from, to, ino } => {
                let dir = self.dir(from.dir);
                if dir.get(&from.name) == Some(ino) {
                    dir.remove(&from.name);
                }
                self.dir(to.dir).insert(to.name.clone(), *ino);
            }
            Op::Remove { slot, .. } => {
                self.dir(slot.dir).remove(&slot.name);
            }
            Op::Sync { .. } => {}
        }
    }

    /// Calls `f` with every entry, directories before what is in them.
    pub fn each(&self, f: &mut impl FnMut(Ino, &str, Ino)) {
        let mut todo = vec![ROOT];
        while let Some(dir) = todo.pop() {
            for (name, ino) in self.dirs.get(&dir).into_iter().flatten() {
                f(dir, name, *ino);
                todo.push(*ino);
            }
        }
    }

    /// Returns every file with its path, for whoever wants to look at it.
    pub fn paths(&self) -> Vec<(String, &File)> {
        let mut dirs = HashMap::from([(ROOT, String::new())]);
        let mut out = Vec::new();
        self.each(&mut |dir, name, ino| {
            let path = format!("{}{name}", dirs[&dir]);
            match self.node(ino) {
                Some(Node::File(f)) => out.push((path, f)),
                _ => drop(dirs.insert(ino, format!("{path}/"))),
            }
        });
        out
    }
}
