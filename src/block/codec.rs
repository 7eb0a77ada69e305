//! Compression of frames, and decompression of what a store may have made up.
//!
//! Each frame is encoded by itself, and only if that makes it at least 1/16 shorter. Decoding writes
//! into a buffer of the frame's length and never beyond it, whatever the bytes say.

use lz4_flex::block::{
    CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size,
};
use zstd::bulk::{Compressor, Decompressor};

use crate::format::blockref::Encoding;

/// Level of zstd: the default, above which time grows faster than size shrinks.
const ZSTD_LEVEL: i32 = 3;

/// A frame is tried on its first eighth: if that does not shrink, the rest hardly will.
const PROBE_SHARE: usize = 8;

/// How frames are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all.
    None,
    /// lz4.
    #[default]
    Lz4,
    /// zstd, level 3.
    Zstd,
}

/// Tables and contexts that one call uses.
#[derive(Default)]
pub(super) struct Codec {
    lz4: CompressTable,
    compressor: Option<Compressor<'static>>,
    decompressor: Option<Decompressor<'static>>,
}

impl Codec {
    /// Encodes one frame behind what `out` holds; returns the length, or none if it is better left
    /// as it is. With `likely` it is not probed first.
    pub(super) fn encode(
        &mut self,
        how: Compression,
        raw: &[u8],
        likely: bool,
        out: &mut Vec<u8>,
    ) -> Option<(Encoding, usize)> {
        if how == Compression::None {
            return None;
        }
        let at = out.len();
        out.resize(at + get_maximum_output_size(raw.len()), 0);
        let (lz4, room) = (&mut self.lz4, out.get_mut(at..)?);
        let short_enough = |n: usize, of: usize| n <= of - of / 16;
        let probe = raw.get(..raw.len() / PROBE_SHARE).unwrap_or_default();
        let shrinks = |n: Result<usize, _>| n.is_ok_and(|n| short_enough(n, probe.len()));
        let promising = likely || shrinks(compress_into_with_table(probe, room, lz4));
        let found = match how {
            _ if !promising => None,
            Compression::Zstd => {
                if self.compressor.is_none() {
                    self.compressor = Compressor::new(ZSTD_LEVEL).ok();
                }
                let zstd = self.compressor.as_mut();
                let n = zstd.and_then(|z| z.compress_to_buffer(raw, room).ok());
                n.map(|n| (Encoding::Zstd, n))
            }
            _ => {
                let n = compress_into_with_table(raw, room, lz4).ok();
                n.map(|n| (Encoding::Lz4, n))
            }
        };
        let found = found.filter(|(_, n)| short_enough(*n, raw.len()));
        out.truncate(at + found.map_or(0, |(_, n)| n));
        found
    }

    /// Decodes a frame into `out`, which is as long as its plaintext; returns true if it filled that.
    pub(super) fn decode(&mut self, encoding: Encoding, stored: &[u8], out: &mut [u8]) -> bool {
        let len = match encoding {
            Encoding::Raw if stored.len() == out.len() => {
                out.copy_from_slice(stored);
                Some(out.len())
            }
            Encoding::Raw => None,
            Encoding::Lz4 => decompress_into(stored, out).ok(),
            Encoding::Zstd => {
                if self.decompressor.is_none() {
                    self.decompressor = Decompressor::new().ok();
                }
                let zstd = self.decompressor.as_mut();
                zstd.and_then(|z| z.decompress_to_buffer(stored, out).ok())
            }
        };
        len == Some(out.len())
    }
}
