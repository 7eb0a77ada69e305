//! The inside of an envelope: `enc u8 | raw_len u32 | stored_len u32 | payload | zero padding`.
//!
//! Padded to a PADME length (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and
//! Communication with PURBs", PETS 2019): at most 12 % longer, and few distinct lengths.

use super::bytes::{DecodeError, Reader};

/// Bytes before the payload.
pub const FRAMING_BYTES: usize = 9;

/// Returns the PADME length of `len`: the next length whose low bits are zero, where the number of
/// bits kept is that of the exponent plus its own length.
#[must_use]
pub fn padme(len: usize) -> usize {
    if len < 2 {
        return len;
    }
    let e = len.ilog2();
    let s = e.ilog2() + 1;
    let mask = (1_usize << e.saturating_sub(s)) - 1;
    (len + mask) & !mask
}

/// Returns the framed and padded plaintext of a payload made of `parts`.
#[must_use]
pub fn frame(parts: &[&[u8]]) -> Vec<u8> {
    let len: usize = parts.iter().map(|p| p.len()).sum();
    let stored = u32::try_from(len).expect("records are bounded far below 4 GiB");
    let mut out = Vec::with_capacity(padme(FRAMING_BYTES + len));
    out.push(0);
    out.extend_from_slice(&stored.to_le_bytes());
    out.extend_from_slice(&stored.to_le_bytes());
    for p in parts {
        out.extend_from_slice(p);
    }
    out.resize(padme(FRAMING_BYTES + len), 0);
    out
}

/// Returns the payload of a framed plaintext.
///
/// # Errors
/// When a length is wrong, the encoding is unknown, or the padding is not the canonical one.
pub fn unframe(plain: &[u8]) -> Result<&[u8], DecodeError> {
    let mut r = Reader::new(plain, "record framing");
    let encoding = r.u8()?;
    let raw = r.u32()?;
    let stored = r.u32()?;
    let len = usize::try_from(stored).map_err(|_| r.error())?;
    let payload = r.bytes(len)?;
    let error = r.error();
    let padding = r.rest();
    let canonical = padme(FRAMING_BYTES + len) == plain.len() && padding.iter().all(|b| *b == 0);
    if encoding == 0 && raw == stored && canonical {
        Ok(payload)
    } else {
        Err(error)
    }
}
