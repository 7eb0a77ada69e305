//! Making the header of a new volume.

use std::path::Path;

use crate::base::sync::Arc;
use crate::base::{Rng, VolumeId};
use crate::crypto::{
    CryptoError, Keyring, Keyset, RecoveryCode, SecretBytes, SlotKeys, TierKey, on_key_thread,
};
use crate::format::envelope::{NONCE_BYTES, TAG_BYTES};
use crate::format::header::{
    Argon2Cost, CHUNK_LOG2, Header, Params, Role, SealedKeyring, Slot, SlotKind, WRAPPED_BYTES,
};

use super::error::{KeysError, WeakSecret};
use super::{copies, memory};

/// Fewest characters of a new passphrase.
pub(super) const PASSPHRASE_MIN_CHARS: usize = 12;

/// Number of the first slot.
const FIRST_SLOT: u16 = 1;

/// Number of the first header.
const FIRST_SEQ: u64 = 1;

/// Set digests are sums of keyed hashes.
const DIGEST_ADDITIVE: u8 = 1;

/// What a new header says.
#[derive(Debug, Clone, Copy)]
pub struct NewHeader<'a> {
    /// The volume.
    pub volume: VolumeId,
    /// Its first incarnation: 16 random bytes.
    pub incarnation: [u8; 16],
    /// Label of the volume, readable only with a secret.
    pub label: &'a str,
    /// Chunk size as a power of two.
    pub chunk_log2: u8,
    /// Where the secret of the first slot comes from.
    pub kind: SlotKind,
    /// Work per guess, if that is a passphrase.
    pub cost: Argon2Cost,
    /// Now: seconds since 1970.
    pub created: u64,
}

/// The keys and the header of a new volume, not on the disk yet.
pub struct Created {
    keyset: Arc<Keyset>,
    bytes: Vec<u8>,
}

impl Created {
    /// Returns the keys of the volume.
    #[must_use]
    pub fn keyset(&self) -> Arc<Keyset> {
        Arc::clone(&self.keyset)
    }

    /// Returns the number of the header, for the first root.
    #[must_use]
    pub fn header_seq(&self) -> u64 {
        FIRST_SEQ
    }

    /// Writes both copies of the header into the directory of the volume, synced: the last step of
    /// making a volume.
    ///
    /// # Errors
    /// When a copy cannot be written.
    pub fn write(&self, dir: &Path) -> Result<(), KeysError> {
        copies::write_both(dir, &self.bytes)
    }
}

/// Makes the keys of a new volume and the header in which the first slot, an administrator's, takes
/// `secret`.
///
/// # Errors
/// When the secret is too weak for its kind, its derivation is not allowed here, the label does not
/// fit, or there is no randomness or locked memory.
///
/// # Panics
/// When the chunk size is out of range.
pub fn create(
    new: NewHeader<'_>,
    secret: &SecretBytes,
    rng: Arc<dyn Rng>,
) -> Result<Created, KeysError> {
    assert!(CHUNK_LOG2.contains(&new.chunk_log2));
    check_new_secret(secret, new.kind)?;
    if new.kind == SlotKind::Passphrase {
        memory::check(memory::available_bytes(), FIRST_SLOT, new.cost)?;
    }
    on_key_thread(|| build(&new, secret, rng))?
}

/// A slot to be made.
#[derive(Debug, Clone, Copy)]
pub struct NewSlot<'a> {
    /// Where its secret comes from.
    pub kind: SlotKind,
    /// What its secret allows.
    pub role: Role,
    /// Its name, readable without a secret: at most 64 bytes without control characters.
    pub label: &'a str,
    /// How to get the secret, never the secret: at most 1024 bytes without control characters.
    pub hint: &'a str,
    /// Work per guess, if it takes a passphrase.
    pub cost: Argon2Cost,
    /// Now: seconds since 1970.
    pub created: u64,
}

impl NewSlot<'_> {
    /// Makes the slot: the key of its role, wrapped for a secret that was checked to suit it.
    pub(super) fn wrap(
        &self,
        id: u16,
        secret: &SecretBytes,
        tier: &TierKey,
        admin_public: &[u8; 32],
        rng: &dyn Rng,
    ) -> Result<Slot, KeysError> {
        let mut slot = Slot {
            id,
            kind: self.kind,
            role: self.role,
            created: self.created,
            label: self.label.to_owned(),
            cost: (self.kind == SlotKind::Passphrase).then_some(self.cost),
            salt: [0; 32],
            hint: self.hint.to_owned(),
            commit: [0; 32],
            nonce: [0; NONCE_BYTES],
            wrapped: [0; WRAPPED_BYTES],
            tag: [0; TAG_BYTES],
        };
        rng.fill(&mut slot.salt)?;
        let keys = SlotKeys::derive(secret, &slot, tier.volume())?
            .expect("the secret was checked to suit the slot");
        keys.wrap(tier, admin_public, &mut slot, rng)?;
        Ok(slot)
    }
}

/// Checks that a secret is good enough for a new slot.
pub(super) fn check_new_secret(secret: &SecretBytes, kind: SlotKind) -> Result<(), KeysError> {
    if kind == SlotKind::Recovery {
        return match RecoveryCode::parse(secret)? {
            Some(_) => Ok(()),
            None => Err(KeysError::MistypedCode),
        };
    }
    let chars = secret.passphrase_chars();
    let weak = if chars == 0 {
        WeakSecret::Empty
    } else if kind != SlotKind::Passphrase {
        if secret.suits_key_slots() {
            return Ok(());
        }
        WeakSecret::ShortKey {
            bytes: secret.len(),
        }
    } else if !secret.is_text() {
        WeakSecret::NotText
    } else if chars < PASSPHRASE_MIN_CHARS {
        WeakSecret::Short { chars }
    } else {
        return Ok(());
    };
    Err(KeysError::WeakSecret(weak))
}

fn build(
    new: &NewHeader<'_>,
    secret: &SecretBytes,
    rng: Arc<dyn Rng>,
) -> Result<Created, KeysError> {
    let admin = TierKey::random_admin(new.volume, &*rng)?;
    let admin_public = admin.admin_public()?;
    let slot = NewSlot {
        kind: new.kind,
        role: Role::Admin,
        label: "",
        hint: "",
        cost: new.cost,
        created: new.created,
    };
    let slot = slot.wrap(FIRST_SLOT, secret, &admin, &admin_public, &*rng)?;
    let keyring = Keyring::random(new.label, admin.root_public()?, new.created, &*rng)?;
    let mut header = Header {
        features: 0,
        volume: new.volume,
        incarnation: new.incarnation,
        header_seq: FIRST_SEQ,
        created: new.created,
        params: Params {
            chunk_log2: new.chunk_log2,
            digest_kind: DIGEST_ADDITIVE,
        },
        slots: vec![slot],
        keyring: SealedKeyring {
            nonce: [0; NONCE_BYTES],
            ciphertext: Vec::new(),
            tag: [0; TAG_BYTES],
        },
        admin_public,
        signature: [0; 64],
    };
    seal(&mut header, &keyring, &admin, &*rng)?;
    Ok(Created {
        keyset: Arc::new(Keyset::assemble(&admin, keyring, rng)?),
        bytes: copies::file_bytes(&header),
    })
}

/// Seals a keyring into a header whose other fields are complete, and signs it.
pub(super) fn seal(
    header: &mut Header,
    keyring: &Keyring,
    admin: &TierKey,
    rng: &dyn Rng,
) -> Result<(), CryptoError> {
    let aad = header.before_keyring(keyring.encoded_bytes());
    header.keyring = admin.seal_keyring(keyring, &aad, rng)?;
    header.signature = admin.sign_header(&header.signed_bytes())?;
    Ok(())
}
