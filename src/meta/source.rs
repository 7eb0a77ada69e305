//! Where records are read from: the latest state, or inside an operation.

use crate::format::key::Key;
use crate::txn::{Op, Txn, TxnError};

/// Reads of one consistent, latest state.
pub trait Source {
    /// Returns the payload at `key`.
    ///
    /// # Errors
    /// When the store fails or the value is not authentic.
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, TxnError>;

    /// Returns at most `limit` payloads with `from <= key < to`, ascending; both of one letter.
    ///
    /// # Errors
    /// When the store fails or a value is not authentic.
    fn scan(&self, from: &Key, to: &Key, limit: usize) -> Result<Vec<(Key, Vec<u8>)>, TxnError>;
}

impl Source for Txn {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, TxnError> {
        Self::get(self, key)
    }

    fn scan(&self, from: &Key, to: &Key, limit: usize) -> Result<Vec<(Key, Vec<u8>)>, TxnError> {
        Self::scan(self, from, to, limit)
    }
}

impl Source for Op<'_> {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, TxnError> {
        Self::get(self, key)
    }

    fn scan(&self, from: &Key, to: &Key, limit: usize) -> Result<Vec<(Key, Vec<u8>)>, TxnError> {
        Self::scan(self, from, to, limit)
    }
}
