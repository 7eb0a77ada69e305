//! The end of inodes: kept while the kernel knows them, then removed in bounded steps.

use crate::base::sync::Ordering;
use crate::base::{ChunkIx, Ino};
use crate::format::key::{Key, Letter};
use crate::fs::FsError;
use crate::meta::Orphan;
use crate::txn::Op;

use super::Data;
use super::apply::Mapping;
use super::flush::Calls;
use super::truncate::NO_CUT;

/// Orphan records read at once when a volume is opened.
const RESUME_BATCH: usize = 256;

impl Data {
    /// An inode of any type has lost its last name in this operation (`nlink` 0 is already put). If
    /// `held`, the kernel still knows it: it is kept as an orphan until [`Self::forgotten`].
    /// Otherwise it goes soon.
    pub(in crate::fs) fn unlinked(&self, op: &mut Op<'_>, ino: Ino, held: bool) {
        let record = Orphan {
            ino,
            dead: true,
            cut_bytes: NO_CUT,
        };
        let key = self.core.names.orphan(ino);
        if self.cutting.lock().contains(&ino) {
            op.put(key, record.encode());
        } else {
            op.put_new(key, record.encode());
        }
        self.orphans.lock().insert(ino);
        self.orphan_count.fetch_add(1, Ordering::AcqRel);
        if !held {
            self.jobs.reap(ino);
        }
    }

    /// The kernel has forgotten an inode: if it is an orphan it goes now, or soon. Cheap if it is none.
    pub(in crate::fs) fn forgotten(&self, ino: Ino) {
        if self.orphan_count.load(Ordering::Acquire) > 0 && self.orphans.lock().contains(&ino) {
            self.reap(ino);
        }
    }

    /// Removes an orphan, or begins to.
    pub(super) fn reap(&self, ino: Ino) {
        let calls = self.files.with_dirty(ino, |f| {
            self.discard(f);
            f.cut = None;
            f.flushing = None;
            let mut calls = Calls::default();
            calls.add(std::mem::take(&mut f.current), &Ok(()));
            calls.add(std::mem::take(&mut f.next), &Ok(()));
            calls
        });
        calls.unwrap_or_default().run();
        match self.reap_step(ino) {
            Ok(true) => {}
            Ok(false) => self.jobs.reap(ino),
            // Logged; the record stays, and the next start tries again.
            Err(_) => self.orphan_ended(ino),
        }
    }

    fn reap_step(&self, ino: Ino) -> Result<bool, FsError> {
        let _change = self.layout.change(ino);
        let mut op = self.core.begin()?;
        let mut mapping = match Mapping::load(self, &op, ino) {
            Err(FsError::NoEntry) => {
                op.delete(self.core.names.orphan(ino));
                self.orphan_ended(ino);
                return Ok(true);
            }
            other => other?,
        };
        let xattrs = self.core.large_xattr_keys(&op, ino, &mapping.inode)?;
        let stored = self.find_stored(&op, &mut mapping, ino, ChunkIx(0))?;
        let is_all = stored.is_all;
        stored.clear(&mut op, &mut mapping);
        if !is_all {
            mapping.keep_cutting();
            mapping.store(&mut op, 0);
            return Ok(false);
        }
        mapping.end(&mut op);
        xattrs.into_iter().for_each(|key| op.delete(key));
        self.core.delete_inode(&mut op, ino);
        op.delete(self.core.names.orphan(ino));
        op.root().inodes -= 1;
        self.cutting.lock().remove(&ino);
        self.orphan_ended(ino);
        Ok(true)
    }

    fn orphan_ended(&self, ino: Ino) {
        if self.orphans.lock().remove(&ino) {
            self.orphan_count.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Queues what a crash, or an unmount in the middle, has left.
    pub(super) fn resume(&self) -> Result<(), FsError> {
        let mut from = Key::new(Letter::Orphan, &[]);
        let to = from.prefix_end();
        loop {
            let found = self.core.txn.scan(&from, &to, RESUME_BATCH)?;
            let Some((last, _)) = found.last() else {
                return Ok(());
            };
            from = last.successor();
            for (_, payload) in &found {
                let orphan = Orphan::decode(payload)?;
                if orphan.dead {
                    self.orphans.lock().insert(orphan.ino);
                    self.orphan_count.fetch_add(1, Ordering::AcqRel);
                    self.jobs.reap(orphan.ino);
                } else {
                    let cut = self.geometry.chunk_after(orphan.cut_bytes);
                    self.cutting.lock().insert(orphan.ino);
                    self.with_file(orphan.ino, |f| f.cut = Some(cut))?;
                    self.jobs.cut(orphan.ino);
                }
            }
        }
    }
}
