//! Reading: from memory, from the cache of opened frames, or from the pack.
//!
//! A whole frame is opened straight into the caller's buffer; a part of one goes through the cache.

use crate::base::ContentId;
use crate::base::sync::Arc;
use crate::format::blockref::{BlockRef, Frame, Place, Shape};
use crate::format::key::Key;

use super::frames::{FrameOf, SealedBlock, Workspace, usize_of};
use super::state::{Location, Stage};
use super::{BlockError, Shared, Stored, failed};

/// Where the sealed bytes of a block are.
enum Source {
    Memory(Arc<SealedBlock>),
    /// With the handle that keeps bytes without a record.
    Pack {
        at: Location,
        _held: Option<Stored>,
    },
}

/// The part of a frame that a reader wants.
struct Part<'a> {
    frame: Frame,
    /// Where the wanted bytes begin in the frame.
    from: usize,
    out: &'a mut [u8],
}

impl Part<'_> {
    fn is_whole(&self) -> bool {
        self.out.len() == usize_of(self.frame.raw_len)
    }

    fn copy_from(&mut self, frame: &[u8]) {
        let to = self.from + self.out.len();
        let piece = frame.get(self.from..to).expect("cut to the frame");
        self.out.copy_from_slice(piece);
    }
}

impl Shared {
    /// Fills `out` with the plaintext of a block from `offset`; zeros beyond its end.
    pub(super) fn read(
        self: &Arc<Self>,
        id: &ContentId,
        offset: u32,
        out: &mut [u8],
    ) -> Result<(), BlockError> {
        if self.read_cached(id, offset, out) {
            return Ok(());
        }
        // Whatever dies from now on is not punched before this reader has ended.
        let _pin = self.txn.pin();
        let source = self.find(id)?;
        let (shape, place) = match &source {
            Source::Memory(block) => (block.shape, self.place_in_memory()),
            Source::Pack { at, .. } => (at.shape, at.place),
        };
        let mut parts = cut(&shape, offset, out);
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else {
            return Ok(());
        };
        let begin = first.frame.sealed_at;
        let end = last.frame.sealed_at + last.frame.sealed_len;
        self.workspaces.with(|w| {
            w.bytes.clear();
            match &source {
                Source::Memory(block) => {
                    let sealed = block.bytes.get(usize_of(begin)..usize_of(end));
                    w.bytes
                        .extend_from_slice(sealed.expect("a sealed block is whole"));
                }
                Source::Pack { at, .. } => {
                    w.bytes.resize(usize_of(end - begin), 0);
                    self.read_sealed(id, at.place, begin, &mut w.bytes)?;
                }
            }
            for part in &mut parts {
                let block = FrameOf {
                    id,
                    place,
                    count: shape.count(),
                    frame: part.frame,
                };
                self.open_part(w, &block, usize_of(part.frame.sealed_at - begin), part)?;
            }
            Ok(())
        })
    }

    fn open_part(
        &self,
        w: &mut Workspace,
        block: &FrameOf<'_>,
        at: usize,
        part: &mut Part<'_>,
    ) -> Result<(), BlockError> {
        if part.is_whole() {
            return w.open(&self.packs, block, at, part.out);
        }
        let mut frame = vec![0; usize_of(part.frame.raw_len)];
        w.open(&self.packs, block, at, &mut frame)?;
        part.copy_from(&frame);
        self.cache.insert(block.id, part.frame.index, frame.into());
        Ok(())
    }

    /// Serves a read inside one frame from the cache.
    fn read_cached(&self, id: &ContentId, offset: u32, out: &mut [u8]) -> bool {
        let frame_len = 1 << self.frame_shift;
        let from = usize_of(offset) % frame_len;
        if from + out.len() > frame_len || out.len() == frame_len {
            return false;
        }
        let Ok(index) = u8::try_from(offset >> self.frame_shift) else {
            return false;
        };
        let Some(frame) = self.cache.get(id, index) else {
            return false;
        };
        let have = frame.get(from..).unwrap_or_default();
        let (head, zeros) = out.split_at_mut(have.len().min(out.len()));
        head.copy_from_slice(have.get(..head.len()).unwrap_or_default());
        zeros.fill(0);
        true
    }

    fn find(self: &Arc<Self>, id: &ContentId) -> Result<Source, BlockError> {
        let stage = {
            let state = self.state.lock();
            state.holds.get(id).map(|h| h.stage.clone())
        };
        match stage {
            Some(Stage::InFlight(block) | Stage::Failed(block)) => {
                return Ok(Source::Memory(block));
            }
            Some(Stage::Landed(_) | Stage::Gone(_)) => {
                let (held, stage) = self.hold(*id);
                match stage {
                    Stage::InFlight(block) | Stage::Failed(block) => {
                        return Ok(Source::Memory(block));
                    }
                    Stage::Landed(at) | Stage::Gone(at) => {
                        return Ok(Source::Pack {
                            at,
                            _held: Some(held),
                        });
                    }
                    Stage::Unknown | Stage::Referenced => {}
                }
            }
            _ => {}
        }
        let damaged = |code| BlockError::Damaged { code, id: *id };
        let payload = self.txn.get(&Key::block(id))?.ok_or(damaged("C-MISSING"))?;
        let block = BlockRef::decode(&payload).map_err(|_| damaged("C-DECODE"))?;
        if block.shape.frame_shift() != self.frame_shift {
            return Err(damaged("C-DECODE"));
        }
        let at = Location {
            place: block.place,
            shape: block.shape,
        };
        Ok(Source::Pack { at, _held: None })
    }

    /// Fills `out` with sealed bytes of a block, from `begin` of it.
    pub(super) fn read_sealed(
        &self,
        id: &ContentId,
        place: Place,
        begin: u32,
        out: &mut [u8],
    ) -> Result<(), BlockError> {
        let damaged = |code| BlockError::Damaged { code, id: *id };
        let offset = place.offset.checked_add(begin).ok_or(damaged("C-DECODE"))?;
        match self.packs.read(place.pack, offset, out) {
            Err(e) if e.is_absent() => Err(damaged("C-MISSING")),
            other => other.map_err(failed),
        }
    }

    /// What is in memory was sealed by this process: only the epoch counts.
    fn place_in_memory(&self) -> Place {
        Place {
            epoch: self.packs.epoch(),
            pack: crate::base::PackNo(0),
            offset: 0,
        }
    }
}

/// Cuts a read into the parts of frames it wants, and zeros what lies beyond the last.
fn cut<'a>(shape: &Shape, offset: u32, out: &'a mut [u8]) -> Vec<Part<'a>> {
    let mut parts = Vec::with_capacity(usize::from(shape.count()));
    let mut rest = out;
    let mut at = offset;
    for frame in shape.frames() {
        let end = frame.raw_at + frame.raw_len;
        if at >= end || rest.is_empty() {
            continue;
        }
        let len = usize_of(end - at).min(rest.len());
        let (head, tail) = rest.split_at_mut(len);
        parts.push(Part {
            frame,
            from: usize_of(at - frame.raw_at),
            out: head,
        });
        rest = tail;
        at = end;
    }
    rest.fill(0);
    parts
}
