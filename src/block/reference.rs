//! References: blocks get and lose their records, inside the operation that needs them.

use crate::base::ContentId;
use crate::format::blockref::BlockRef;
use crate::format::key::Key;
use crate::txn::Op;

use super::state::{Location, Stage};
use super::{BlockError, Shared, Stored};

impl Shared {
    pub(super) fn reference(&self, op: &mut Op<'_>, stored: &Stored) -> Result<bool, BlockError> {
        let id = stored.id();
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let hold = state.holds.get_mut(&id).expect("a handle keeps its hold");
        match hold.stage {
            Stage::Landed(at) => {
                let pack = state
                    .packs
                    .get_mut(&at.place.pack)
                    .expect("a pack with users stays");
                hold.stage = Stage::Referenced;
                pack.users -= 1;
                let block = BlockRef {
                    refs: 1,
                    place: at.place,
                    shape: at.shape,
                };
                op.put_new(Key::block(&id), block.encode());
                let root = op.root();
                root.referenced_bytes += block.raw_bytes();
                root.unique_bytes += block.raw_bytes();
                pack.settle(op, id, at.shape.sealed_len());
                state.blocks += 1;
                Ok(true)
            }
            Stage::Referenced => {
                drop(guard);
                self.share(op, &id)?;
                Ok(true)
            }
            Stage::Unknown | Stage::InFlight(_) | Stage::Failed(_) | Stage::Gone(_) => Ok(false),
        }
    }

    /// Returns the record of a block that an operation sees.
    pub(super) fn record(op: &Op<'_>, id: &ContentId) -> Result<BlockRef, BlockError> {
        let damaged = |code| BlockError::Damaged { code, id: *id };
        let payload = op.get(&Key::block(id))?.ok_or(damaged("C-MISSING"))?;
        BlockRef::decode(&payload).map_err(|_| damaged("C-DECODE"))
    }

    pub(super) fn share(&self, op: &mut Op<'_>, id: &ContentId) -> Result<(), BlockError> {
        let mut block = Self::record(op, id)?;
        let refs = block.refs.checked_add(1);
        block.refs = refs.expect("fewer than 2^64 extents name a block");
        op.put(Key::block(id), block.encode());
        op.root().referenced_bytes += block.raw_bytes();
        Ok(())
    }

    pub(super) fn release(&self, op: &mut Op<'_>, id: &ContentId) -> Result<(), BlockError> {
        let mut block = Self::record(op, id)?;
        block.refs -= 1;
        let root = op.root();
        root.referenced_bytes -= block.raw_bytes();
        if block.refs > 0 {
            op.put(Key::block(id), block.encode());
            return Ok(());
        }
        root.unique_bytes -= block.raw_bytes();
        op.delete(Key::block(id));
        let at = Location {
            place: block.place,
            shape: block.shape,
        };
        let mut state = self.state.lock();
        let state = &mut *state;
        state.blocks = state.blocks.saturating_sub(1);
        let Some(pack) = state.packs.get_mut(&at.place.pack) else {
            // Authentic, but of a pack that has no account: there is nothing to give back.
            return Ok(());
        };
        pack.bury(op, at.range());
        if let Some(hold) = state.holds.get_mut(id) {
            assert!(
                matches!(hold.stage, Stage::Unknown | Stage::Referenced),
                "a block with a record is held as nothing else"
            );
            hold.stage = Stage::Gone(at);
            pack.users += 1;
        }
        state.todo.insert(at.place.pack);
        Ok(())
    }
}
