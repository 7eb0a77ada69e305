//! The pack thread: brings queued blocks into packs and onto the medium.
//!
//! Blocks are appended in the order they were sent. A sync comes every [`SYNC_BYTES`], or at once
//! when somebody waits. What a failed write or sync concerns stays in memory, readable, and is told
//! to those who wait, or to the next one who asks.

use crate::base::PackNo;
use crate::base::sync::{Arc, Ordering};
use crate::format::blockref::Place;
use crate::format::punch::Range;
use crate::sealed::PackWriter;

use super::pack::Pack;
use super::state::{Location, Queued, Stage, State, Stop};
use super::{BlockError, Landed, Shared, failed};

/// Queued bytes at which the thread begins to write unasked.
const WRITE_BYTES: usize = 1 << 20;

/// Bytes written at which a sync comes unasked.
const SYNC_BYTES: usize = 8 << 20;

/// The pack thread's own state.
pub(super) struct Lander {
    shared: Arc<Shared>,
    writer: Option<PackWriter>,
    /// Appended and not synced, with their offsets.
    unsynced: Vec<(Queued, u32)>,
    unsynced_bytes: usize,
}

/// What there is to do.
struct Work {
    queue: Vec<Queued>,
    waiters: Vec<Landed>,
    stop: Stop,
}

impl Lander {
    pub(super) fn new(shared: Arc<Shared>, writer: Option<PackWriter>) -> Self {
        Self {
            shared,
            writer,
            unsynced: Vec::new(),
            unsynced_bytes: 0,
        }
    }

    /// Lands blocks until the store is closed.
    pub(super) fn run(mut self) {
        loop {
            let work = self.next();
            if work.stop == Stop::Abandon {
                // Whoever waits is told by the end of the channel.
                self.shared.state.lock().waiters.clear();
                return;
            }
            let wanted = !work.waiters.is_empty() || work.stop == Stop::Close;
            let result = self.land(work.queue, wanted);
            let is_idle = self.tell(work.waiters, &result);
            if work.stop == Stop::Close && is_idle {
                return;
            }
        }
    }

    fn next(&self) -> Work {
        let mut state = self.shared.state.lock();
        loop {
            let due = state.queued_bytes >= WRITE_BYTES || !state.waiters.is_empty();
            if due || state.stop >= Stop::Close {
                break;
            }
            self.shared.wake_packs.wait(&mut state);
        }
        state.queued_bytes = 0;
        state.is_landing = true;
        Work {
            queue: state.queue.drain(..).collect(),
            waiters: std::mem::take(&mut state.waiters),
            stop: state.stop,
        }
    }

    /// Tells those who waited; returns true if nothing more is to be done.
    fn tell(&self, waiters: Vec<Landed>, result: &Result<(), BlockError>) -> bool {
        if let (Err(e), true) = (result, waiters.is_empty()) {
            self.shared.state.lock().failure = Some(e.clone());
        }
        for done in waiters {
            done(result.clone());
        }
        let mut state = self.shared.state.lock();
        state.is_landing = !self.unsynced.is_empty();
        state.queue.is_empty() && state.waiters.is_empty()
    }

    /// Appends blocks, and syncs if somebody wants it. After an error the rest is tried all the same;
    /// the first error is returned.
    fn land(&mut self, queue: Vec<Queued>, wanted: bool) -> Result<(), BlockError> {
        let mut result = Ok(());
        for queued in queue {
            if self.is_forgotten(&queued) {
                self.shared.count_out(queued.block.bytes.len());
                continue;
            }
            let step = self.append(queued);
            let step = match step {
                Ok(()) if self.unsynced_bytes >= SYNC_BYTES => self.sync(),
                other => other,
            };
            result = result.and(step);
        }
        if wanted {
            result = result.and(self.sync());
        }
        result
    }

    /// Whether nobody holds the block any more: then it need not be written.
    fn is_forgotten(&self, queued: &Queued) -> bool {
        let state = self.shared.state.lock();
        !queued.is_copy && !is_awaited(&state, queued)
    }

    fn append(&mut self, queued: Queued) -> Result<(), BlockError> {
        let len = queued.block.bytes.len();
        let found = self.room_for(len).and_then(|writer| {
            let offset = writer.append(&queued.block.bytes);
            offset.map_err(failed)
        });
        // What it fails with concerns all that is not synced, this one too.
        let offset = *found.as_ref().unwrap_or(&0);
        self.unsynced_bytes += len;
        self.unsynced.push((queued, offset));
        found.map(drop).inspect_err(|e| self.give_up(e))
    }

    /// Returns the writer of a pack with room for `len` bytes.
    fn room_for(&mut self, len: usize) -> Result<&mut PackWriter, BlockError> {
        let len = u32::try_from(len).expect("a block has at most 1 MiB and its overhead");
        let pack_bytes = self.shared.pack_bytes;
        let full = |w: &PackWriter| w.end() > 0 && w.end() + len > pack_bytes;
        if self.writer.as_ref().is_some_and(full) {
            self.sync()?;
            self.finish_pack();
        }
        if self.writer.is_none() {
            self.writer = Some(self.shared.begin_pack()?);
        }
        Ok(self.writer.as_mut().expect("set just now"))
    }

    fn sync(&mut self) -> Result<(), BlockError> {
        let Some(writer) = self.writer.as_mut() else {
            return Ok(());
        };
        match writer.sync() {
            Ok(gap) => {
                let (no, end) = (writer.pack(), writer.synced());
                self.landed(no, end, gap);
                Ok(())
            }
            Err(e) => {
                let e = failed(e);
                self.give_up(&e);
                Err(e)
            }
        }
    }

    fn landed(&mut self, no: PackNo, end: u32, gap: Option<Range>) {
        let mut guard = self.shared.state.lock();
        let state = &mut *guard;
        let pack = state.packs.get_mut(&no).expect("an open pack stays");
        pack.account.written = end;
        pack.unrecorded.extend(gap);
        let mut bytes = 0;
        for (queued, offset) in self.unsynced.drain(..) {
            bytes += queued.block.bytes.len();
            let at = Location {
                place: Place {
                    epoch: pack.account.epoch,
                    pack: no,
                    offset,
                },
                shape: queued.block.shape,
            };
            let hold = state.holds.get_mut(&queued.block.id);
            if queued.is_copy {
                pack.users += 1;
                state.copied.insert(queued.block.id, at);
            } else if let Some(hold) = hold.filter(|h| is_stage_of(&h.stage, &queued)) {
                pack.users += 1;
                hold.stage = Stage::Landed(at);
            } else {
                pack.unrecorded.push(at.range());
            }
        }
        self.unsynced_bytes = 0;
        drop(guard);
        self.shared.count_out(bytes);
    }

    /// After a failed write or sync: what is not synced stays in memory. A full file system leaves the
    /// pack usable from its last sync on; after anything else nothing more is appended to it.
    fn give_up(&mut self, error: &BlockError) {
        let mut bytes = 0;
        {
            let mut state = self.shared.state.lock();
            for (queued, _) in self.unsynced.drain(..) {
                bytes += queued.block.bytes.len();
                let hold = state.holds.get_mut(&queued.block.id);
                if let Some(hold) = hold.filter(|h| is_stage_of(&h.stage, &queued)) {
                    hold.stage = Stage::Failed(queued.block);
                }
            }
        }
        self.unsynced_bytes = 0;
        self.shared.count_out(bytes);
        let no_space = matches!(error, BlockError::Store { no_space: true, .. });
        if no_space {
            self.shared.reserve.release(&self.shared.packs);
        }
        let cut = self.writer.as_mut().map_or(Ok(()), PackWriter::roll_back);
        if !no_space || cut.is_err() {
            self.finish_pack();
        }
    }

    fn finish_pack(&mut self) {
        if let Some(writer) = self.writer.take() {
            let mut state = self.shared.state.lock();
            let no = writer.pack();
            state.pack(no).expect("an open pack stays").is_open = false;
            state.todo.insert(no);
        }
    }
}

/// Whether somebody holds the block and waits for it.
fn is_awaited(state: &State, queued: &Queued) -> bool {
    let hold = state.holds.get(&queued.block.id);
    hold.is_some_and(|h| is_stage_of(&h.stage, queued))
}

fn is_stage_of(stage: &Stage, queued: &Queued) -> bool {
    matches!(stage, Stage::InFlight(b) if Arc::ptr_eq(b, &queued.block))
}

impl Shared {
    fn count_out(&self, bytes: usize) {
        self.unlanded_bytes.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// Takes the next number and creates its pack.
    fn begin_pack(&self) -> Result<PackWriter, BlockError> {
        let no = {
            let mut op = self.txn.begin()?;
            let root = op.root();
            let no = root.next_pack.max(self.first_free_pack);
            root.next_pack = no.checked_add(1).expect("2^32 packs hold 256 PiB");
            PackNo(no)
        };
        let writer = self.packs.create(no).map_err(failed)?;
        let mut pack = Pack::new(no, self.packs.epoch());
        pack.is_open = true;
        self.state.lock().packs.insert(no, pack);
        Ok(writer)
    }

    /// Calls `done` when everything appended so far is on the medium, or has failed.
    pub(super) fn land(&self, done: Landed) {
        let mut state = self.state.lock();
        if let Some(e) = state.failure.take() {
            drop(state);
            return done(Err(e));
        }
        if state.queue.is_empty() && !state.is_landing {
            drop(state);
            return done(Ok(()));
        }
        if state.stop == Stop::Abandon {
            drop(state);
            return done(Err(BlockError::closed()));
        }
        state.waiters.push(done);
        self.wake_packs.notify_one();
    }
}
