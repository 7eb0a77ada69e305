//! Copying forward: what lives in a pack moves to the open one, so that the pack can go.
//!
//! Every frame is opened on the way, so that damage is found and not spread; frames of an older epoch
//! are sealed anew. A block whose record has changed meanwhile is left alone.

use crate::base::sync::{Arc, Ordering};
use crate::base::{ContentId, PackNo};
use crate::format::blockref::BlockRef;
use crate::format::key::Key;
use crate::txn::Op;

use super::frames::usize_of;
use super::resume::live_blocks;
use super::state::{Location, Queued, Stop};
use super::{BlockError, Shared};

/// Blocks moved in one operation: 4 MiB with the default chunk.
const BATCH: usize = 32;

impl Shared {
    /// Moves everything that lives in a pack.
    pub(super) fn copy_forward(self: &Arc<Self>, no: PackNo) -> Result<(), BlockError> {
        let live = live_blocks(&self.txn, no, &self.ids_in(no)?)?;
        let blocks: Vec<(ContentId, BlockRef)> = live.into_values().collect();
        for batch in blocks.chunks(BATCH) {
            if self.state.lock().stop != Stop::No {
                return Ok(());
            }
            if let Err(e) = self.copy_batch(batch) {
                if matches!(e, BlockError::Damaged { .. }) {
                    self.mark_stuck(no);
                }
                return Err(e);
            }
        }
        let mut state = self.state.lock();
        if let Some(pack) = state.pack(no).filter(|p| p.account.live > 0) {
            // Its lists do not name all that lives in it: not to be tried again and again.
            pack.is_stuck = true;
        }
        Ok(())
    }

    pub(super) fn copy_batch(
        self: &Arc<Self>,
        batch: &[(ContentId, BlockRef)],
    ) -> Result<(), BlockError> {
        // Space kept back is for this.
        let bytes: u64 = batch
            .iter()
            .map(|(_, b)| u64::from(b.shape.sealed_len()))
            .sum();
        self.reserve.lend(&self.packs, bytes)?;
        let mut result = Ok(());
        for (id, old) in batch {
            let sent = self.send_copy(id, old);
            result = result.and(sent);
        }
        // The first answer may be about an earlier failure.
        let landed = self.land_and_wait().or_else(|_| self.land_and_wait());
        let mut op = self.txn.begin()?;
        // All that can fail comes before the first change.
        let unchanged: Vec<Option<BlockRef>> = batch
            .iter()
            .map(|(id, old)| Self::record(&op, id).ok().filter(|c| c.place == old.place))
            .collect();
        for ((id, old), current) in batch.iter().zip(unchanged) {
            self.repoint(&mut op, id, old, current);
        }
        result.and(landed)
    }

    fn send_copy(&self, id: &ContentId, old: &BlockRef) -> Result<(), BlockError> {
        let _pin = self.txn.pin();
        let block = self.workspaces.with(|w| {
            w.bytes.clear();
            w.bytes.resize(usize_of(old.shape.sealed_len()), 0);
            self.read_sealed(id, old.place, 0, &mut w.bytes)?;
            w.renew(&self.packs, id, old.place, old.shape)
        })?;
        let len = block.bytes.len();
        self.unlanded_bytes.fetch_add(len, Ordering::AcqRel);
        self.state.lock().enqueue(Queued {
            block: Arc::new(block),
            is_copy: true,
        });
        Ok(())
    }

    fn land_and_wait(&self) -> Result<(), BlockError> {
        let (tx, rx) = crossbeam_channel::bounded(1);
        self.land(Box::new(move |r| drop(tx.send(r))));
        rx.recv().unwrap_or_else(|_| Err(BlockError::closed()))
    }

    /// Lets a record name the copy, if it still is what it was.
    fn repoint(
        &self,
        op: &mut Op<'_>,
        id: &ContentId,
        old: &BlockRef,
        unchanged: Option<BlockRef>,
    ) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let Some(new) = state.copied.remove(id) else {
            return;
        };
        let Some(current) = unchanged else {
            return state.forsake(&new);
        };
        let moved = BlockRef {
            refs: current.refs,
            place: new.place,
            shape: new.shape,
        };
        op.put(Key::block(id), moved.encode());
        let target = state.pack(new.place.pack).expect("a pack with users stays");
        target.users -= 1;
        target.settle(op, *id, new.shape.sealed_len());
        let from = Location {
            place: old.place,
            shape: old.shape,
        };
        if let Some(pack) = state.pack(old.place.pack) {
            pack.bury(op, from.range());
        }
    }
}
