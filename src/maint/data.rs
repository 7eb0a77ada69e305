//! Contents of blocks: every one is read in the order of the packs, opened and compared with its name.

use std::collections::BTreeMap;

use crate::base::sync::{AtomicU64, Ordering};
use crate::base::{ContentId, PackNo};
use crate::block::{BlockError, Opener};
use crate::format::blockref::BlockRef;
use crate::format::key::Letter;

use super::CheckError;
use super::blocks::{Block, Blocks, id_of};
use super::fault::Subject;
use super::finding::Code;
use super::packs::in_order;
use super::pass::Pass;

/// Blocks that one thread takes at a time: 8 MiB of chunks.
const SPAN_BLOCKS: usize = 64;

/// Bytes that are read at once, and what may lie unused between two blocks of one read.
const READ_BYTES: u64 = 1 << 20;
const GAP_BYTES: u64 = 64 << 10;

/// Reads and opens all blocks; returns how many sealed bytes that were.
pub(super) fn check(pass: &Pass<'_>, blocks: &Blocks) -> Result<u64, CheckError> {
    let files: BTreeMap<PackNo, u64> = pass.target.packs.list()?.into_iter().collect();
    // Those whose bytes are not there were found before.
    let mut order = in_order(blocks);
    order.retain(|b| files.get(&b.pack).is_some_and(|len| b.end() <= *len));
    let total = order.iter().map(|b| u64::from(b.len)).sum();
    pass.begin(super::Phase::Data, total);
    let mut spans = Vec::new();
    for pack in order.chunk_by(|a, b| a.pack == b.pack) {
        spans.extend(pack.chunks(SPAN_BLOCKS));
    }
    let bytes = AtomicU64::new(0);
    pass.spread(&spans, |span| {
        let mut reader = Reader {
            pass,
            opener: Opener::new(pass.target.packs.clone()),
        };
        for piece in pieces(span) {
            if pass.is_stopped() {
                return;
            }
            let done = reader.piece(piece);
            bytes.fetch_add(done, Ordering::Relaxed);
            pass.advance(done);
        }
    })?;
    Ok(bytes.into_inner())
}

/// Cuts blocks of one pack into pieces that are read at once.
fn pieces<'b, 's>(span: &'s [&'b Block]) -> impl Iterator<Item = &'s [&'b Block]> {
    let mut first = span.first().map_or(0, |b| u64::from(b.offset));
    span.chunk_by(move |a, b| {
        let start = u64::from(b.offset);
        let fits = start <= a.end() + GAP_BYTES && b.end() <= first + READ_BYTES;
        if !fits {
            first = start;
        }
        fits
    })
}

struct Reader<'p, 'a> {
    pass: &'p Pass<'a>,
    opener: Opener,
}

impl Reader<'_, '_> {
    /// Reads a piece of a pack and opens its blocks; returns the bytes of those.
    fn piece(&mut self, piece: &[&Block]) -> u64 {
        let bytes = piece.iter().map(|b| u64::from(b.len)).sum();
        let Some(first) = piece.first() else {
            return bytes;
        };
        let end = piece.iter().map(|b| b.end()).max().unwrap_or(0);
        let len = usize::try_from(end - u64::from(first.offset)).unwrap_or(usize::MAX);
        match self.opener.read(first.pack, first.offset, len) {
            Ok(true) => {
                for block in piece {
                    self.open(block, first.offset);
                }
            }
            // Which of them it is shows when each is read alone.
            _ if piece.len() > 1 => {
                for block in piece {
                    self.piece(std::slice::from_ref(block));
                }
            }
            Ok(false) => self.note(Code::BlockAbsent, first, ""),
            Err(e) => self.note(Code::BlockUnreadable, first, &e.to_string()),
        }
        bytes
    }

    fn note(&self, code: Code, block: &Block, detail: &str) {
        let place = format!("pack {}, offset {}", block.pack, block.offset);
        let detail = match detail.is_empty() {
            true => place,
            false => format!("{place}: {detail}"),
        };
        self.pass.note(code, Subject::Block(block.id), detail);
    }

    fn open(&mut self, block: &Block, start: u32) {
        let Some((id, record)) = self.record(block) else {
            return;
        };
        let at = usize::try_from(block.offset - start).unwrap_or(usize::MAX);
        let code = match self.opener.open(&id, &record, at) {
            Ok(_) => return,
            Err(BlockError::Damaged { code, .. }) => match code {
                "C-AEAD" => Code::BlockNotAuthentic,
                "C-IDMISMATCH" => Code::BlockMismatch,
                _ => Code::BlockMalformed,
            },
            // A key that is not there any more.
            Err(e) => return self.note(Code::BlockNotAuthentic, block, &e.to_string()),
        };
        self.note(code, block, "");
    }

    /// Returns the whole id and the record of a block.
    fn record(&self, block: &Block) -> Option<(ContentId, BlockRef)> {
        let found = self.pass.first(Letter::Block, &block.id);
        let (key, record) = found?;
        Some((id_of(&key), BlockRef::decode(&record.payload).ok()?))
    }
}
