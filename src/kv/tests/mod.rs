//! What every store promises, tried on every store there is; then what is special to each.

mod faulty;
mod files;
mod kv_contract;
mod packs_contract;
mod rocks;

use super::{Change, Family};

fn put(key: &[u8], value: &[u8]) -> Change {
    Change::Put(Family::Meta, key.to_vec(), value.to_vec())
}

fn delete(key: &[u8]) -> Change {
    Change::Delete(Family::Meta, key.to_vec())
}
