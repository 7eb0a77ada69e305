//! The operations, done on both sides.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::super::{ROOT, wait};
use super::state::{Body, Node};
use super::{Model, SIZE_MAX};
use crate::base::Ino;
use crate::fs::{Attr, FsError, SetAttr, WriteFlags};

impl Model {
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

    pub(super) fn make(&mut self) {
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

    pub(super) fn change_names(&mut self) {
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

    pub(super) fn change_contents(&mut self) {
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

    pub(super) fn change_attributes(&mut self) {
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

    pub(super) fn look(&mut self) {
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
    pub(super) fn forget(&mut self) {
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
