//! Fold: chunks whose pages are cold, or many, become blocks.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::base::sync::{Arc, Mutex};
use crate::base::{ChunkIx, Clock, Ino};
use crate::format::key::{Key, Letter};
use crate::format::record::Kind;
use crate::fs::FsError;
use crate::meta::PageRecord;

use super::Data;
use super::file::Chunk;
use super::geometry::PAGE;

/// A chunk is cold when its pages have not changed for so long.
const COLD: Duration = Duration::from_secs(30);

/// Chunks folded at each tick: about 16 MiB a second of background work at most.
const STEP: usize = 128;

/// Page records at which the oldest are folded though they are warm: about 256 MiB.
const PAGES_MAX: u64 = 64 << 10;

/// Chunks noted at most; beyond it the oldest are folded at once.
const NOTED_MAX: usize = 64 << 10;

/// Page records looked at in each tick after a start, to find what was not folded before.
const SCAN_STEP: usize = 512;

struct Noted {
    at: Instant,
    pages: u64,
}

#[derive(Default)]
struct State {
    /// In the order they were first noted; an entry no longer in `noted` is stale.
    queue: VecDeque<(Ino, ChunkIx)>,
    noted: HashMap<(Ino, ChunkIx), Noted>,
    /// Where the look for unfolded pages of earlier mounts goes on; none: it has ended.
    scan_from: Option<Key>,
}

/// The chunks that have pages.
pub(super) struct Fold {
    clock: Arc<dyn Clock>,
    many: u64,
    state: Mutex<State>,
}

impl Fold {
    pub(super) fn new(clock: Arc<dyn Clock>, pages_per_chunk: u64) -> Self {
        let state = State {
            scan_from: Some(Key::new(Letter::Page, &[])),
            ..State::default()
        };
        Self {
            clock,
            many: pages_per_chunk / 2,
            state: Mutex::new(state),
        }
    }

    /// A flush has brought a chunk into a group. A file of one page stays a page.
    pub(super) fn note(&self, ino: Ino, ix: ChunkIx, chunk: &Chunk, size: u64) {
        let pages = chunk.pages.len() as u64;
        let mut s = self.state.lock();
        if pages == 0 || size <= PAGE {
            s.noted.remove(&(ino, ix));
        } else {
            s.add(ino, ix, self.clock.monotonic(), pages);
        }
    }

    /// Returns the chunks to fold now.
    fn due(&self, hurry: bool) -> Vec<(Ino, ChunkIx)> {
        let now = self.clock.monotonic();
        let mut s = self.state.lock();
        let mut out = Vec::new();
        for _ in 0..s.queue.len().min(STEP * 4) {
            let Some(key) = s.queue.pop_front() else {
                break;
            };
            let over = s.noted.len() > NOTED_MAX;
            let Some(n) = s.noted.get(&key) else {
                continue;
            };
            if hurry || over || n.pages >= self.many || now >= n.at + COLD {
                s.noted.remove(&key);
                out.push(key);
            } else {
                s.queue.push_back(key);
            }
            if out.len() == STEP {
                break;
            }
        }
        out
    }
}

impl State {
    fn add(&mut self, ino: Ino, ix: ChunkIx, at: Instant, pages: u64) {
        match self.noted.get_mut(&(ino, ix)) {
            Some(n) => {
                n.at = at;
                n.pages += pages;
            }
            None => {
                self.noted.insert((ino, ix), Noted { at, pages });
                self.queue.push_back((ino, ix));
            }
        }
    }
}

impl Data {
    /// Folds what is due, a bounded number of chunks.
    pub(in crate::fs) fn fold_step(&self) {
        if let Err(e) = self.find_unfolded() {
            // Logged; the pages are as good as before.
            let _logged = e;
            self.fold.state.lock().scan_from = None;
        }
        let pages = self.core.txn.count(Kind::Page);
        for (ino, ix) in self.fold.due(pages > PAGES_MAX) {
            // Otherwise it is gone, or the error is logged.
            if let Ok(true) = self.fold_chunk(ino, ix) {
                self.flush(ino, Box::new(drop));
            }
        }
    }

    /// Makes the current contents of a chunk its block; the flush that follows commits it. False if
    /// there is nothing to fold.
    fn fold_chunk(&self, ino: Ino, ix: ChunkIx) -> Result<bool, FsError> {
        self.with_file(ino, |f| {
            if f.cut.is_some() || f.chunks.contains_key(&ix) || f.size <= PAGE {
                return Ok(false);
            }
            let inode = self.core.inode(ino)?;
            let (group, slot) = self.geometry.slot(ix);
            let extents = self.extents(&*self.core.txn, ino, &inode, group)?;
            let len = self.geometry.len_within(ix, inode.size_bytes);
            if inode.nlink == 0 || len == 0 || !extents.has_pages(slot) {
                return Ok(false);
            }
            let mut content = vec![0; len];
            self.read_committed(ino, ix, 0, &mut content)?;
            let base = self.store_chunk(&content)?;
            f.chunks.insert(ix, Chunk::new(base, f.seq));
            Ok(true)
        })?
    }

    /// Looks at some of the pages that earlier mounts have left.
    fn find_unfolded(&self) -> Result<(), FsError> {
        let Some(from) = self.fold.state.lock().scan_from else {
            return Ok(());
        };
        let to = Key::new(Letter::Page, &[]).prefix_end();
        let found = self.core.txn.scan(&from, &to, SCAN_STEP)?;
        let now = self.fold.clock.monotonic();
        let mut s = self.fold.state.lock();
        for (_, payload) in &found {
            let record = PageRecord::decode(payload)?;
            let ix = self.geometry.chunk_of(record.page.0 * PAGE);
            // A first page alone stays one; with others, those name its chunk too.
            if record.page.0 > 0 {
                s.add(record.ino, ix, now, 1);
            }
        }
        s.scan_from = found.last().map(|(k, _)| k.successor());
        Ok(())
    }
}
