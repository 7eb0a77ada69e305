//! The keyring: the random secrets of a volume, and what only a holder of its keys may know.
//!
//! ```text
//! version u8 (=1) | id_key 32 | prf_key 32 | mset_key 32 | root public key 32
//! label len u8, label | epoch_count u8
//! epoch: id u32 | state u8 (1 active, 2 draining, 3 retired) | created u64 | secret 32 (retired: 0)
//! zeros up to a multiple of 256 bytes
//! ```
//!
//! The label of the volume is here and not in the header's plain part, and the padding hides its
//! length. The layout is here and not in `format`, because only this layer sees key bytes.

use crate::base::os::LockedBytes;
use crate::base::{Epoch, Rng};
use crate::format::bytes::Reader;
use crate::format::header::is_header_text;

use super::CryptoError;
use super::secret::Secret;

const VERSION: u8 = 1;

/// Lengths are multiples of it.
const PADDING_BYTES: usize = 256;

/// Longest label of a volume, in bytes: names that container engines give have up to 128.
pub const VOLUME_LABEL_MAX_BYTES: usize = 128;

/// Most epochs in a keyring; the oldest retired ones make room.
pub const EPOCHS_MAX: usize = 64;

/// Bytes of an epoch.
const EPOCH_BYTES: usize = 4 + 1 + 8 + 32;

/// Longest keyring.
const MAX_BYTES: usize = 8 << 10;

/// What an epoch is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum EpochState {
    /// Everything new is sealed in it.
    Active = 1,
    /// What is left in it is being sealed anew.
    Draining = 2,
    /// Nothing is left in it, and its secret is gone.
    Retired = 3,
}

/// What may be said of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochInfo {
    /// Its number.
    pub id: Epoch,
    /// What it is used for.
    pub state: EpochState,
    /// When it was made: seconds since 1970.
    pub created: u64,
}

/// An epoch with its secret.
pub(super) struct EpochSecret {
    pub(super) info: EpochInfo,
    /// None once retired.
    pub(super) secret: Option<Secret<32>>,
}

/// The secrets of a volume. Exactly one epoch is active; numbers rise.
pub struct Keyring {
    pub(super) id_key: Secret<32>,
    pub(super) prf_key: Secret<32>,
    pub(super) mset_key: Secret<32>,
    pub(super) root_public: [u8; 32],
    pub(super) epochs: Vec<EpochSecret>,
    label: String,
}

impl Keyring {
    /// Returns the keyring of a new volume: random secrets and one epoch.
    ///
    /// # Errors
    /// When there is no randomness or no locked memory, or the label is too long.
    pub fn random(
        label: &str,
        root_public: [u8; 32],
        created: u64,
        rng: &dyn Rng,
    ) -> Result<Self, CryptoError> {
        let info = EpochInfo {
            id: Epoch(1),
            state: EpochState::Active,
            created,
        };
        let mut keyring = Self {
            id_key: Secret::random(rng)?,
            prf_key: Secret::random(rng)?,
            mset_key: Secret::random(rng)?,
            root_public,
            epochs: vec![EpochSecret {
                info,
                secret: Some(Secret::random(rng)?),
            }],
            label: String::new(),
        };
        keyring.set_label(label)?;
        Ok(keyring)
    }

    /// Returns the label of the volume.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Changes the label of the volume.
    ///
    /// # Errors
    /// When it is longer than [`VOLUME_LABEL_MAX_BYTES`] or has control characters.
    pub fn set_label(&mut self, label: &str) -> Result<(), CryptoError> {
        if !is_header_text(label, VOLUME_LABEL_MAX_BYTES) {
            return Err(CryptoError::Label);
        }
        label.clone_into(&mut self.label);
        Ok(())
    }

    /// Returns the epochs, oldest first.
    #[must_use]
    pub fn epochs(&self) -> Vec<EpochInfo> {
        self.epochs.iter().map(|e| e.info).collect()
    }

    /// Returns the bytes of the encoded keyring, which are those of the sealed one too.
    #[must_use]
    pub fn encoded_bytes(&self) -> usize {
        let used = 1 + 4 * 32 + 1 + self.label.len() + 1 + self.epochs.len() * EPOCH_BYTES;
        used.next_multiple_of(PADDING_BYTES)
    }

    /// Returns the encoded keyring, in locked memory.
    pub(super) fn encode(&self) -> Result<LockedBytes, CryptoError> {
        let mut bytes = LockedBytes::zeroed(self.encoded_bytes())?;
        let mut at = 0;
        let mut put = |part: &[u8]| {
            bytes[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        };
        put(&[VERSION]);
        put(self.id_key.expose());
        put(self.prf_key.expose());
        put(self.mset_key.expose());
        put(&self.root_public);
        put(&[u8::try_from(self.label.len()).expect("labels have at most 128 bytes")]);
        put(self.label.as_bytes());
        put(&[u8::try_from(self.epochs.len()).expect("a keyring has at most 64 epochs")]);
        for e in &self.epochs {
            put(&e.info.id.0.to_le_bytes());
            put(&[e.info.state as u8]);
            put(&e.info.created.to_le_bytes());
            match &e.secret {
                Some(s) => put(s.expose()),
                None => put(&[0; 32]),
            }
        }
        Ok(bytes)
    }

    /// Returns locked memory with a copy of a sealed keyring, to open in place.
    pub(super) fn buffer(ciphertext: &[u8]) -> Result<LockedBytes, CryptoError> {
        if ciphertext.len() > MAX_BYTES {
            return Err(CryptoError::Keyring);
        }
        let mut bytes = LockedBytes::zeroed(ciphertext.len())?;
        bytes.copy_from_slice(ciphertext);
        Ok(bytes)
    }

    /// Returns the keyring in authentic bytes.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, CryptoError> {
        let mut r = Reader::new(bytes, "keyring");
        if r.u8()? != VERSION {
            return Err(CryptoError::Keyring);
        }
        let id_key = secret(&mut r)?;
        let prf_key = secret(&mut r)?;
        let mset_key = secret(&mut r)?;
        let root_public = r.array()?;
        let label_bytes = usize::from(r.u8()?);
        let label = str::from_utf8(r.bytes(label_bytes)?).map_err(|_| CryptoError::Keyring)?;
        let count = usize::from(r.u8()?);
        let mut epochs = Vec::with_capacity(count);
        for _ in 0..count {
            epochs.push(epoch(&mut r)?);
        }
        let padding = r.rest();
        let mut keyring = Self {
            id_key,
            prf_key,
            mset_key,
            root_public,
            epochs,
            label: String::new(),
        };
        keyring.set_label(label).map_err(|_| CryptoError::Keyring)?;
        let canonical = padding.len() < PADDING_BYTES
            && padding.iter().all(|b| *b == 0)
            && bytes.len().is_multiple_of(PADDING_BYTES);
        if canonical && keyring.is_sound() {
            Ok(keyring)
        } else {
            Err(CryptoError::Keyring)
        }
    }

    /// Decodes a keyring that nothing was sealed around, for the fuzz targets.
    ///
    /// # Errors
    /// When the layout is wrong.
    #[cfg(fuzzing)]
    pub fn from_plaintext(bytes: &[u8]) -> Result<Self, CryptoError> {
        Self::decode(bytes)
    }

    /// Encodes a keyring without sealing it, for the fuzz targets.
    ///
    /// # Errors
    /// When there is no locked memory.
    #[cfg(fuzzing)]
    pub fn to_plaintext(&self) -> Result<LockedBytes, CryptoError> {
        self.encode()
    }

    fn is_sound(&self) -> bool {
        let rising = self.epochs.windows(2).all(|w| match w {
            [a, b] => a.info.id < b.info.id,
            _ => true,
        });
        let active = |e: &&EpochSecret| e.info.state == EpochState::Active;
        rising && self.epochs.iter().filter(active).count() == 1 && self.epochs.len() <= EPOCHS_MAX
    }
}

fn secret(r: &mut Reader<'_>) -> Result<Secret<32>, CryptoError> {
    let bytes = r.bytes(32)?;
    Ok(Secret::build(|out| out.copy_from_slice(bytes))?)
}

fn epoch(r: &mut Reader<'_>) -> Result<EpochSecret, CryptoError> {
    let id = Epoch(r.u32()?);
    let state = match r.u8()? {
        1 => EpochState::Active,
        2 => EpochState::Draining,
        3 => EpochState::Retired,
        _ => return Err(CryptoError::Keyring),
    };
    let created = r.u64()?;
    let secret = secret(r)?;
    let secret = match (state, *secret.expose() == [0; 32]) {
        (EpochState::Retired, true) => None,
        (EpochState::Active | EpochState::Draining, false) => Some(secret),
        _ => return Err(CryptoError::Keyring),
    };
    Ok(EpochSecret {
        info: EpochInfo { id, state, created },
        secret,
    })
}
