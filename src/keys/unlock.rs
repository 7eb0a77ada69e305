//! From a secret to the keys of a volume.
//!
//! The order of the steps is the defence: what is cheap and public is checked first, nothing is
//! unwrapped before the commitment of its slot fits, and a header whose commitment fits but whose
//! other parts do not is told apart from a wrong secret.

use std::path::Path;

use crate::base::Rng;
use crate::base::sync::Arc;
use crate::crypto::{
    CryptoError, EpochInfo, Keyring, Keyset, RecoveryCode, SecretBytes, SlotKeys, TierKey,
    on_key_thread, verify_header,
};
use crate::format::header::{Header, Role, SIGN_ALL, Slot};

use super::copies::Copies;
use super::error::{KdfLimit, KeysError, WeakSecret};
use super::{Access, SlotInfo, chunk_bytes, memory};

/// An unlocked volume: its keys, and what its header says, which is authentic.
pub struct Unlocked {
    /// The keys.
    pub keyset: Arc<Keyset>,
    /// Label of the volume.
    pub label: String,
    /// The epochs, oldest first.
    pub epochs: Vec<EpochInfo>,
    /// The slot that accepted the secret, with the role it gives.
    pub slot: SlotInfo,
    /// Number of the header: not below that of the root, or an old header was put back.
    pub header_seq: u64,
    /// Changes when a volume is restored from a backup.
    pub incarnation: [u8; 16],
    /// Bytes of a chunk.
    pub chunk_bytes: usize,
    /// Every root is signed, since the volume has or had a slot that only reads.
    pub sign_all: bool,
    /// True when the other copy of the header was damaged or old, and has been mended.
    pub healed: bool,
}

/// Unlocks the volume in `dir` with a secret, tried on key slots if it is long enough, and on
/// passphrase slots.
///
/// # Errors
/// When `dir` is no volume, its header cannot be used or is not authentic, no slot accepts the
/// secret, the derivation is not allowed here, or the slot allows less than `access`.
pub fn unlock(
    dir: &Path,
    secret: &SecretBytes,
    rng: Arc<dyn Rng>,
    access: Access,
) -> Result<Unlocked, KeysError> {
    if secret.passphrase_chars() == 0 {
        return Err(KeysError::WeakSecret(WeakSecret::Empty));
    }
    let copies = Copies::read(dir)?;
    let header = &copies.header;
    let memory_bytes = memory::available_bytes();
    let opened = on_key_thread(|| open(header, secret, rng, memory_bytes))??;
    let mut unlocked = Unlocked {
        keyset: Arc::new(opened.keyset),
        label: opened.label,
        epochs: opened.epochs,
        slot: opened.slot.into(),
        header_seq: header.header_seq,
        incarnation: header.incarnation,
        chunk_bytes: chunk_bytes(header),
        sign_all: header.features & SIGN_ALL != 0,
        healed: false,
    };
    if access == Access::ReadWrite {
        if unlocked.slot.role == Role::Ro {
            return Err(KeysError::ReadOnlySlot {
                slot: unlocked.slot.id,
            });
        }
        unlocked.healed = copies.heal(dir)?;
    }
    Ok(unlocked)
}

/// What a secret opens.
pub(super) struct Opened<'a> {
    pub(super) slot: &'a Slot,
    keyset: Keyset,
    label: String,
    epochs: Vec<EpochInfo>,
}

pub(super) fn open<'a>(
    header: &'a Header,
    secret: &SecretBytes,
    rng: Arc<dyn Rng>,
    memory_bytes: u64,
) -> Result<Opened<'a>, KeysError> {
    let Admitted {
        slot,
        tier,
        keyring,
    } = admit(header, secret, memory_bytes)?;
    Ok(Opened {
        slot,
        label: keyring.label().to_owned(),
        epochs: keyring.epochs(),
        keyset: Keyset::assemble(&tier, keyring, rng)?,
    })
}

/// The slot that accepts a secret, with what it gives; the header is authentic.
pub(super) struct Admitted<'a> {
    pub(super) slot: &'a Slot,
    pub(super) tier: TierKey,
    pub(super) keyring: Keyring,
}

/// Tries a secret on all slots, those that cost nothing first.
pub(super) fn admit<'a>(
    header: &'a Header,
    secret: &SecretBytes,
    memory_bytes: u64,
) -> Result<Admitted<'a>, KeysError> {
    let mut refused = None;
    let (stretched, keys): (Vec<_>, Vec<_>) = header.slots.iter().partition(|s| s.cost.is_some());
    for slot in keys.into_iter().chain(stretched) {
        match derive(header, slot, secret, memory_bytes) {
            Ok(Some(keys)) if keys.fit(slot) => return admit_with(header, slot, &keys),
            Ok(_) => {}
            // Another slot may ask for less.
            Err(e @ KeysError::KdfCap { .. }) => refused = Some(e),
            Err(e) => return Err(e),
        }
    }
    if RecoveryCode::is_mistyped(secret)? {
        return Err(KeysError::MistypedCode);
    }
    Err(refused.unwrap_or(KeysError::WrongSecret))
}

fn derive(
    header: &Header,
    slot: &Slot,
    secret: &SecretBytes,
    memory_bytes: u64,
) -> Result<Option<SlotKeys>, KeysError> {
    if let Some(cost) = slot.cost {
        memory::check(memory_bytes, slot.id, cost)?;
    }
    SlotKeys::derive(secret, slot, header.volume).map_err(|e| match e {
        CryptoError::KdfMemory(cost) => KeysError::KdfCap {
            slot: slot.id,
            cost,
            limit: KdfLimit::Exhausted,
        },
        e => e.into(),
    })
}

/// Opens a header with the keys of a slot that fits.
fn admit_with<'a>(
    header: &Header,
    slot: &'a Slot,
    keys: &SlotKeys,
) -> Result<Admitted<'a>, KeysError> {
    let (tier, admin_public) = keys.unwrap(slot).map_err(tampered("wrapped key"))?;
    if admin_public != header.admin_public {
        return Err(KeysError::Tampered { what: "public key" });
    }
    verify_header(&admin_public, &header.signed_bytes(), &header.signature)
        .map_err(tampered("signature"))?;
    let keyring = open_keyring(header, &tier)?;
    Ok(Admitted {
        slot,
        tier,
        keyring,
    })
}

fn open_keyring(header: &Header, tier: &TierKey) -> Result<Keyring, KeysError> {
    let aad = header.before_keyring(header.keyring.ciphertext.len());
    tier.open_keyring(&header.keyring, &aad)
        .map_err(tampered("keyring"))
}

/// Returns the mapping of errors after the commitment of a slot was found to fit.
fn tampered(what: &'static str) -> impl Fn(CryptoError) -> KeysError {
    move |e| match e {
        CryptoError::NotAuthentic => KeysError::Tampered { what },
        e => e.into(),
    }
}
