//! Tests of the header files and of unlocking, and what they share.

mod changes;
mod copies;
mod golden;
mod key_files;
mod secrets;
mod unlocking;

use std::cell::Cell;
use std::io;
use std::path::Path;

use super::copies::{Copy, file_bytes};
use super::create::seal;
use super::*;
use crate::base::sync::{Arc, Mutex};
use crate::base::{Rng, RngError};
use crate::crypto::{SlotKeys, TierKey};
use crate::format::envelope::{NONCE_BYTES, TAG_BYTES};
use crate::format::header::{CHECKSUM_BYTES, WRAPPED_BYTES};

thread_local! {
    /// Steps of writing a header until one fails; none: all work.
    static STEPS_LEFT: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Makes step `n` of the next writing fail, counted from 0.
fn fail_at(n: Option<u32>) {
    STEPS_LEFT.set(n);
}

/// A step of writing a header.
pub(super) fn step() -> io::Result<()> {
    match STEPS_LEFT.get() {
        Some(0) => Err(io::ErrorKind::StorageFull.into()),
        left => {
            STEPS_LEFT.set(left.map(|n| n - 1));
            Ok(())
        }
    }
}

const PASSPHRASE: &[u8] = b"correct horse battery";
const KEY: &[u8] = &[0xc3; 32];

/// The least work that Argon2id is defined for.
const QUICK: Argon2Cost = Argon2Cost::new(8, 1, 1);

/// Gives the same bytes in every run.
struct Counting(Mutex<u64>);

fn counting() -> Arc<dyn Rng> {
    Arc::new(Counting(Mutex::new(0)))
}

impl Rng for Counting {
    fn fill(&self, out: &mut [u8]) -> Result<(), RngError> {
        let mut count = self.0.lock();
        for chunk in out.chunks_mut(8) {
            *count += 1;
            let x = count.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let x = (x ^ (x >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            chunk.copy_from_slice(&x.to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

fn secret(bytes: &[u8]) -> SecretBytes {
    SecretBytes::copy_of(bytes).expect("locked memory")
}

fn new_header(kind: SlotKind) -> NewHeader<'static> {
    NewHeader {
        volume: VolumeId([7; 16]),
        incarnation: [9; 16],
        label: "accounts",
        chunk_log2: 17,
        kind,
        cost: QUICK,
        created: 1_700_000_000,
    }
}

/// Makes a volume that one secret opens.
fn volume(kind: SlotKind, bytes: &[u8]) -> (tempfile::TempDir, Created) {
    let dir = tempfile::tempdir().expect("a directory");
    let created = create(new_header(kind), &secret(bytes), counting()).expect("created");
    created.write(dir.path()).expect("written");
    (dir, created)
}

fn open(dir: &Path, bytes: &[u8], access: Access) -> Result<Unlocked, KeysError> {
    unlock(dir, &secret(bytes), counting(), access)
}

fn read(dir: &Path, copy: Copy) -> Vec<u8> {
    std::fs::read(copy.path(dir)).expect("a copy")
}

fn put(dir: &Path, copy: Copy, bytes: &[u8]) {
    std::fs::write(copy.path(dir), bytes).expect("a copy");
}

fn put_both(dir: &Path, bytes: &[u8]) {
    for copy in Copy::BOTH {
        put(dir, copy, bytes);
    }
}

fn header_of(dir: &Path) -> Header {
    let bytes = read(dir, Copy::A);
    let (body, _) = bytes.split_last_chunk::<CHECKSUM_BYTES>().expect("long");
    Header::decode(body).expect("a header")
}

/// Returns the admin key in the first slot, whose secret is given.
fn admin_of(header: &Header, bytes: &[u8]) -> TierKey {
    let slot = &header.slots[0];
    let keys = SlotKeys::derive(&secret(bytes), slot, header.volume);
    let keys = keys.expect("derived").expect("long enough");
    keys.unwrap(slot).expect("the secret of the first slot").0
}

/// Changes a header as a holder of its first secret would: sealed and signed anew.
fn change(header: &mut Header, first: &[u8], with: impl FnOnce(&mut Header, &TierKey)) {
    let admin = admin_of(header, first);
    let aad = header.before_keyring(header.keyring.ciphertext.len());
    let keyring = admin
        .open_keyring(&header.keyring, &aad)
        .expect("a keyring");
    header.header_seq += 1;
    with(header, &admin);
    seal(header, &keyring, &admin, &*counting()).expect("sealed");
}

/// Returns a slot of a role for one more secret.
fn slot_for(
    header: &Header,
    admin: &TierKey,
    role: Role,
    bytes: &[u8],
    cost: Option<Argon2Cost>,
) -> Slot {
    let mut slot = Slot {
        id: header.slots.last().map_or(1, |s| s.id + 1),
        kind: if cost.is_some() {
            SlotKind::Passphrase
        } else {
            SlotKind::KeyFile
        },
        role,
        created: 1_700_000_001,
        label: "second".into(),
        cost,
        salt: [0x5a; 32],
        hint: "in the safe".into(),
        commit: [0; 32],
        nonce: [0; NONCE_BYTES],
        wrapped: [0; WRAPPED_BYTES],
        tag: [0; TAG_BYTES],
    };
    let keys = SlotKeys::derive(&secret(bytes), &slot, header.volume);
    let keys = keys.expect("derived").expect("long enough");
    let tier = admin.lowered(role).expect("locked memory");
    keys.wrap(&tier, &header.admin_public, &mut slot, &*counting())
        .expect("wrapped");
    slot
}
