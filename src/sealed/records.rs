//! Sealed records: the verbs of the key-value store with encryption and authentication inside.

use thiserror::Error;

use crate::base::sync::Arc;
use crate::base::{ContentId, Generation, RngError};
use crate::crypto::{CryptoError, Keyset};
use crate::format::bytes::{DecodeError, Reader};
use crate::format::key::{Key, Letter};
use crate::format::padding::{frame, unframe};
use crate::kv::{Change, Family, Kv, KvError, KvRead};

/// A value could not be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SealedError {
    /// The store failed.
    #[error("the store failed")]
    Kv(#[from] KvError),
    /// A value is not authentic, or could not be sealed.
    #[error("record {key:?} is not authentic")]
    Crypto {
        /// The record.
        key: Key,
        /// The cause, with its code.
        #[source]
        source: CryptoError,
    },
    /// A value is authentic but has not the layout of its kind.
    #[error("record {key:?} is malformed")]
    Decode {
        /// The record.
        key: Key,
        /// The cause.
        #[source]
        source: DecodeError,
    },
    /// A frame of a block is not authentic, or could not be sealed.
    #[error("a frame of block {id} is not authentic")]
    Frame {
        /// The block.
        id: ContentId,
        /// The cause, with its code.
        #[source]
        source: CryptoError,
    },
    /// No random bytes.
    #[error("no randomness")]
    Rng(#[from] RngError),
    /// A key in the store is none of ours.
    #[error("C-DECODE: the store holds a key that no record has")]
    ForeignKey,
}

/// An opened record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The generation that wrote it; zero for kinds that do not carry one.
    pub birth: Generation,
    /// The payload of its kind.
    pub payload: Vec<u8>,
}

/// Sealed changes on their way to one atomic write.
#[derive(Default)]
pub struct Batch {
    changes: Vec<Change>,
}

impl Batch {
    /// Adds a sealed value.
    pub fn put(&mut self, key: &Key, sealed: Vec<u8>) {
        self.changes
            .push(Change::Put(family(key), key.as_bytes().to_vec(), sealed));
    }

    /// Adds a removal.
    pub fn delete(&mut self, key: &Key) {
        self.changes
            .push(Change::Delete(family(key), key.as_bytes().to_vec()));
    }
}

/// The records of one volume.
pub struct Records {
    kv: Arc<dyn Kv>,
    keyset: Arc<Keyset>,
}

fn family(key: &Key) -> Family {
    if key.as_bytes().first() == Some(&(Letter::Page as u8)) {
        Family::Page
    } else {
        Family::Meta
    }
}

fn has_birth(key: &Key) -> bool {
    matches!(
        key.as_bytes().first(),
        Some(b'I' | b'D' | b'E' | b'X' | b'P')
    )
}

impl Records {
    /// Returns the records of a store under these keys.
    #[must_use]
    pub fn new(kv: Arc<dyn Kv>, keyset: Arc<Keyset>) -> Self {
        Self { kv, keyset }
    }

    /// Returns the keys of the volume.
    #[must_use]
    pub fn keyset(&self) -> &Arc<Keyset> {
        &self.keyset
    }

    /// Returns true if records can be written: the keys allow it and the store was opened for it.
    #[must_use]
    pub fn can_write(&self) -> bool {
        self.keyset.can_write() && !self.kv.is_read_only()
    }

    /// Seals a payload for its place.
    ///
    /// # Errors
    /// When the cipher or the source of randomness fails.
    pub fn seal(
        &self,
        key: &Key,
        birth: Generation,
        payload: &[u8],
    ) -> Result<Vec<u8>, SealedError> {
        let plain = if has_birth(key) {
            frame(&[&birth.0.to_le_bytes(), payload])
        } else {
            frame(&[payload])
        };
        self.keyset
            .seal(key.kind(), key.as_bytes(), &plain)
            .map_err(|source| SealedError::Crypto { key: *key, source })
    }

    /// Opens a value found at `key`.
    ///
    /// # Errors
    /// When it is not authentic or malformed.
    pub fn open(&self, key: &Key, sealed: &[u8]) -> Result<Record, SealedError> {
        let plain = self
            .keyset
            .open(key.kind(), key.as_bytes(), sealed)
            .map_err(|source| SealedError::Crypto { key: *key, source })?;
        let decode = |source| SealedError::Decode { key: *key, source };
        let payload = unframe(&plain).map_err(decode)?;
        if has_birth(key) {
            let mut r = Reader::new(payload, "birth");
            let birth = Generation(r.u64().map_err(decode)?);
            Ok(Record {
                birth,
                payload: r.rest().to_vec(),
            })
        } else {
            Ok(Record {
                birth: Generation(0),
                payload: payload.to_vec(),
            })
        }
    }

    /// Returns the record at `key`.
    ///
    /// # Errors
    /// When the store fails or the value is not authentic.
    pub fn get(&self, key: &Key) -> Result<Option<Record>, SealedError> {
        match self.kv.get(family(key), key.as_bytes())? {
            None => Ok(None),
            Some(v) => Ok(Some(self.open(key, &v)?)),
        }
    }

    /// Returns the records at `keys`, in their order. All keys are of one family.
    ///
    /// # Errors
    /// When the store fails or a value is not authentic.
    pub fn multi_get(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, SealedError> {
        let Some(first) = keys.first() else {
            return Ok(Vec::new());
        };
        let names: Vec<&[u8]> = keys.iter().map(Key::as_bytes).collect();
        let values = self.kv.multi_get(family(first), &names)?;
        keys.iter()
            .zip(values)
            .map(|(k, v)| v.map(|v| self.open(k, &v)).transpose())
            .collect()
    }

    /// Returns at most `limit` records with `from <= key < to`, ascending.
    ///
    /// # Errors
    /// When the store fails or a value is not authentic.
    pub fn scan(
        &self,
        from: &Key,
        to: &Key,
        limit: usize,
    ) -> Result<Vec<(Key, Record)>, SealedError> {
        self.scan_in(&*self.kv, from, to, limit)
    }

    /// As [`Self::scan`], of a view that [`Self::snapshot`] has returned.
    ///
    /// # Errors
    /// When the store fails or a value is not authentic.
    pub fn scan_in(
        &self,
        view: &dyn KvRead,
        from: &Key,
        to: &Key,
        limit: usize,
    ) -> Result<Vec<(Key, Record)>, SealedError> {
        let pairs = view.scan(family(from), from.as_bytes(), to.as_bytes(), limit)?;
        pairs
            .into_iter()
            .map(|(k, v)| {
                let key = Key::from_bytes(&k).ok_or(SealedError::ForeignKey)?;
                let record = self.open(&key, &v)?;
                Ok((key, record))
            })
            .collect()
    }

    /// Returns the sealed value at `key`, for its digest term.
    ///
    /// # Errors
    /// When the store fails.
    pub fn get_sealed(&self, key: &Key) -> Result<Option<Vec<u8>>, SealedError> {
        Ok(self.kv.get(family(key), key.as_bytes())?)
    }

    /// Returns the term of a record in its bucket's set digest.
    #[must_use]
    pub fn term(&self, key: &Key, sealed: &[u8]) -> [u8; 32] {
        self.keyset.digest_term(key.as_bytes(), sealed)
    }

    /// Returns the bucket of a key, 0..64 (SECURITY 7.1).
    #[must_use]
    pub fn bucket(&self, key: &Key) -> usize {
        let byte = match key.as_bytes() {
            [b'S' | b'L' | b'F', ..] => self.keyset.bucket_hash(key.as_bytes()),
            [_, b, ..] => *b,
            _ => 0,
        };
        usize::from(byte >> 2)
    }

    /// Applies a batch atomically and durably.
    ///
    /// # Errors
    /// When it is not known to be applied.
    pub fn write(&self, batch: Batch) -> Result<(), SealedError> {
        Ok(self.kv.write(batch.changes, true)?)
    }

    /// Asks whether a store that was full takes writes again.
    ///
    /// # Errors
    /// When it does not yet.
    pub fn recover(&self) -> Result<(), SealedError> {
        Ok(self.kv.recover()?)
    }

    /// Returns a consistent view of this moment.
    ///
    /// # Errors
    /// When the store cannot take one.
    pub fn snapshot(&self) -> Result<Arc<dyn KvRead>, SealedError> {
        Ok(self.kv.snapshot()?)
    }

    /// Begins to move what the engine holds in memory to its files.
    pub fn flush_later(&self) {
        self.kv.flush_later();
    }

    /// Moves what the engine holds in memory to its files.
    ///
    /// # Errors
    /// When the store fails.
    pub fn flush(&self) -> Result<(), SealedError> {
        Ok(self.kv.flush()?)
    }
}
