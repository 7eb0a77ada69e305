//! Bounded little-endian reading and writing of record fields.

use thiserror::Error;

/// Authentic bytes that do not have the layout of their record: a defect of the writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("C-DECODE: {what} is malformed")]
pub struct DecodeError {
    /// The record or field.
    pub what: &'static str,
}

/// Reads fields from the front of a record.
pub struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte; `what` names the record in errors.
    #[must_use]
    pub fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { rest: bytes, what }
    }

    /// Returns the error of this record.
    #[must_use]
    pub fn error(&self) -> DecodeError {
        DecodeError { what: self.what }
    }

    /// Takes `n` bytes.
    ///
    /// # Errors
    /// When fewer are left.
    pub fn bytes(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        let (head, tail) = self.rest.split_at_checked(n).ok_or(self.error())?;
        self.rest = tail;
        Ok(head)
    }

    /// Takes an array.
    ///
    /// # Errors
    /// When fewer bytes are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let e = self.error();
        self.bytes(N)?.try_into().map_err(|_| e)
    }

    /// Takes a `u8`.
    ///
    /// # Errors
    /// When nothing is left.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    /// Takes a `u16`.
    ///
    /// # Errors
    /// When fewer bytes are left.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// Takes a `u32`.
    ///
    /// # Errors
    /// When fewer bytes are left.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Takes a `u64`.
    ///
    /// # Errors
    /// When fewer bytes are left.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Takes an `i64`.
    ///
    /// # Errors
    /// When fewer bytes are left.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    /// Returns true when nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Takes all that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Ends the record.
    ///
    /// # Errors
    /// When bytes are left.
    pub fn end(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.error())
        }
    }
}
