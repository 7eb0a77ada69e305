//! What can be seen of a tree, as text: one entry for each name, to compare two trees.
//!
//! Left out is what no copy can keep: inode numbers, change and access times, link counts of
//! directories, blocks.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{lgetxattr, llistxattr};

/// The entries of a tree, by their paths from its top.
#[derive(PartialEq, Eq)]
pub struct Manifest(BTreeMap<PathBuf, String>);

impl Manifest {
    /// Reads the tree at `top`, the top itself included.
    #[track_caller]
    pub fn of(top: &Path) -> Self {
        let mut read = Reader {
            top,
            names: HashMap::new(),
            entries: BTreeMap::new(),
        };
        read.entry(top);
        Self(read.entries)
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Fails the test unless `other` is the same tree; `what` says what made it.
    #[track_caller]
    pub fn assert_same(&self, other: &Self, what: &str) {
        let paths = self.0.keys().chain(other.0.keys());
        let none = "nothing".to_owned();
        let different: BTreeMap<_, _> = paths
            .map(|p| (p, self.0.get(p), other.0.get(p)))
            .filter(|(_, a, b)| a != b)
            .map(|(p, a, b)| (p, (a.unwrap_or(&none), b.unwrap_or(&none))))
            .collect();
        assert!(different.is_empty(), "{what}: {different:#?}");
    }
}

struct Reader<'a> {
    top: &'a Path,
    /// The first name of each inode with several.
    names: HashMap<u64, PathBuf>,
    entries: BTreeMap<PathBuf, String>,
}

impl Reader<'_> {
    fn entry(&mut self, path: &Path) {
        let m = fs::symlink_metadata(path).expect("the tree can be read");
        let kind = m.file_type();
        let mut text = format!(
            "mode {:o} owner {}:{} mtime {}.{:09}",
            m.mode(),
            m.uid(),
            m.gid(),
            m.mtime(),
            m.mtime_nsec()
        );
        if kind.is_block_device() || kind.is_char_device() {
            text += &format!(" device {:#x}", m.rdev());
        }
        if kind.is_symlink() {
            text += &format!(" to {:?}", fs::read_link(path).expect("a symlink"));
        }
        if kind.is_file() {
            let bytes = fs::read(path).expect("the tree can be read");
            text += &format!(" size {} {}", m.len(), blake3::hash(&bytes));
        }
        text += &attributes(path);
        let name = path.strip_prefix(self.top).expect("below the top");
        text += &self.links(name, &m);
        self.entries.insert(name.to_owned(), text);
        if kind.is_dir() {
            let mut names: Vec<PathBuf> = fs::read_dir(path)
                .expect("the tree can be read")
                .map(|e| e.expect("the tree can be read").path())
                .collect();
            names.sort();
            for name in names {
                self.entry(&name);
            }
        }
    }

    /// Returns which names are one inode.
    fn links(&mut self, name: &Path, m: &Metadata) -> String {
        if m.is_dir() || m.nlink() == 1 {
            return String::new();
        }
        let first = self.names.entry(m.ino()).or_insert_with(|| name.to_owned());
        format!(" {} links as {}", m.nlink(), first.display())
    }
}

/// Returns the extended attributes of a name, ACLs and capabilities among them.
fn attributes(path: &Path) -> String {
    let mut list = vec![0; 64 << 10];
    let len = llistxattr(path, &mut list[..]).expect("attributes can be listed");
    let mut names: Vec<&[u8]> = list[..len].split_inclusive(|b| *b == 0).collect();
    names.sort_unstable();
    let mut value = vec![0; 64 << 10];
    let show = |name: &[u8]| {
        let name = std::ffi::OsStr::from_bytes(&name[..name.len() - 1]);
        let len = lgetxattr(path, name, &mut value[..]).expect("attributes can be read");
        format!(" {}={}", name.display(), blake3::hash(&value[..len]))
    };
    names.into_iter().map(show).collect()
}
