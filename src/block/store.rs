//! Storing: from a chunk to a block on its way to a pack, on the caller's thread.

use crate::base::ContentId;
use crate::base::sync::{Arc, Ordering};
use crate::format::key::Key;
use crate::txn::TxnError;

use super::frames::SealedBlock;
use super::state::{Hold, Queued, Stage};
use super::{BlockError, Shared};

/// A chunk handed to the store and not yet referenced by a commit: keeps its block from being
/// forgotten. Dropping it unreferenced gives the space back if nobody else holds it.
pub struct Stored {
    id: ContentId,
    shared: Arc<Shared>,
}

impl Stored {
    /// Returns the name of the block.
    #[must_use]
    pub fn id(&self) -> ContentId {
        self.id
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.shared.state.lock().let_go(&self.id);
    }
}

/// Returns a chunk without the zeros at its end, one byte at least: what a block lacks reads as zeros
/// anyway, and so the same content has one name however it was cut.
fn trimmed(chunk: &[u8]) -> &[u8] {
    let words = chunk.rchunks_exact(64);
    let zero_words = words.take_while(|w| **w == [0; 64]).count();
    let (rest, _) = chunk.split_at(chunk.len() - 64 * zero_words);
    let len = rest.iter().rposition(|b| *b != 0).map_or(1, |at| at + 1);
    chunk.get(..len).unwrap_or(chunk)
}

impl Shared {
    /// Stores a chunk. A block that the caller holds already is stored again without asking the
    /// transactions, so that it can be done inside an operation.
    pub(super) fn store(self: &Arc<Self>, chunk: &[u8]) -> Result<Stored, BlockError> {
        assert!(!chunk.is_empty() && chunk.len() <= self.chunk_len());
        if !self.txn.records().can_write() {
            return Err(TxnError::ReadOnly.into());
        }
        let chunk = trimmed(chunk);
        let id = self.packs.content_id(chunk);
        let (stored, stage) = self.hold(id);
        match stage {
            Stage::InFlight(_) | Stage::Landed(_) | Stage::Referenced => return Ok(stored),
            Stage::Failed(block) => {
                self.send(block);
                return Ok(stored);
            }
            Stage::Unknown => {
                if self.txn.get(&Key::block(&id))?.is_some() {
                    let mut state = self.state.lock();
                    let hold = state.holds.get_mut(&id).expect("a handle keeps its hold");
                    // If it was released meanwhile, that is known.
                    if matches!(hold.stage, Stage::Unknown) {
                        hold.stage = Stage::Referenced;
                    }
                    return Ok(stored);
                }
            }
            Stage::Gone(_) => {}
        }
        let how = self.settings.compression;
        let sealed = self
            .workspaces
            .with(|w| w.seal(&self.packs, how, self.frame_shift, id, chunk))?;
        self.send(Arc::new(sealed));
        Ok(stored)
    }

    /// Takes a handle of a block, and tells how far it has come.
    pub(super) fn hold(self: &Arc<Self>, id: ContentId) -> (Stored, Stage) {
        let mut state = self.state.lock();
        let hold = state.holds.entry(id).or_insert(Hold {
            handles: 0,
            stage: Stage::Unknown,
        });
        hold.handles += 1;
        let stored = Stored {
            id,
            shared: Arc::clone(self),
        };
        (stored, hold.stage.clone())
    }

    /// Sends a sealed block on its way, unless another thread was faster with the same.
    fn send(&self, block: Arc<SealedBlock>) {
        let mut state = self.state.lock();
        let hold = state
            .holds
            .get_mut(&block.id)
            .expect("a handle keeps its hold");
        let gone = match hold.stage {
            Stage::Unknown | Stage::Failed(_) => None,
            Stage::Gone(at) => Some(at),
            Stage::InFlight(_) | Stage::Landed(_) | Stage::Referenced => return,
        };
        hold.stage = Stage::InFlight(Arc::clone(&block));
        if let Some(at) = gone {
            state.unuse(&at);
        }
        let len = block.bytes.len();
        self.unlanded_bytes.fetch_add(len, Ordering::AcqRel);
        self.stores.fetch_add(1, Ordering::Relaxed);
        state.enqueue(Queued {
            block,
            is_copy: false,
        });
        self.wake_packs.notify_one();
    }
}
