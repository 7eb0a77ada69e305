//! What is found after a crash, and whether that may be so.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::Model;
use super::state::{Body, Node, State};
use crate::base::{Ino, PAGE_BYTES};
use crate::fs::{Attr, FileKind};

impl Model {
    /// Checks that what a crash has left may be so, and takes it as the state.
    pub(super) fn accept_crash(&mut self) {
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
    pub(super) fn observe(&self) -> State {
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

/// Returns true if page `n` of a version begins with `page`, zeros beyond the version's end.
pub(super) fn is_page(version: &[u8], n: usize, page: &[u8]) -> bool {
    let rest = version.get(n * PAGE_BYTES..).unwrap_or(&[]);
    let have = rest.len().min(page.len());
    page[..have] == rest[..have] && page[have..].iter().all(|b| *b == 0)
}
