//! Tier keys: one key for each role, derived one way downwards, and what each of them opens.
//!
//! ```text
//! T_admin --"tier/rw"--> T_rw --"tier/ro"--> T_ro
//!  | "header-sign"        | "root-sign"       | "keyring", "keyring-nonce", "fingerprint"
//! ```

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use crate::base::os::Locked;
use crate::base::{Rng, VolumeId};
use crate::format::header::{Role, SealedKeyring};

use super::derive::purpose_key;
use super::keyring::Keyring;
use super::secret::Secret;
use super::xaes::XaesKey;
use super::{CryptoError, nonce};

/// A key that signs, in locked memory.
pub(super) struct Signing(Locked<SigningKey>);

impl Signing {
    pub(super) fn new(seed: &Secret<32>) -> Result<Self, CryptoError> {
        Ok(Self(Locked::new(SigningKey::from_bytes(seed.expose()))?))
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }

    pub(super) fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }
}

/// Checks a signature by the strict rules: canonical values only, no weak keys.
pub(super) fn verify(
    public: &[u8; 32],
    message: &[u8],
    signature: &[u8; 64],
) -> Result<(), CryptoError> {
    VerifyingKey::from_bytes(public)
        .and_then(|key| key.verify_strict(message, &Signature::from_bytes(signature)))
        .map_err(|_| CryptoError::NotAuthentic)
}

/// Checks the signature of a header.
///
/// # Errors
/// When it was not made by the holder of the admin key with this public half.
pub fn verify_header(
    admin_public: &[u8; 32],
    signed_bytes: &[u8],
    signature: &[u8; 64],
) -> Result<(), CryptoError> {
    verify(admin_public, signed_bytes, signature)
}

/// The key of a role in one volume.
pub struct TierKey {
    role: Role,
    volume: VolumeId,
    key: Secret<32>,
}

impl TierKey {
    pub(super) fn new(role: Role, volume: VolumeId, key: Secret<32>) -> Self {
        Self { role, volume, key }
    }

    /// Returns the admin key of a new volume.
    ///
    /// # Errors
    /// When there is no randomness or no locked memory.
    pub fn random_admin(volume: VolumeId, rng: &dyn Rng) -> Result<Self, CryptoError> {
        Ok(Self::new(Role::Admin, volume, Secret::random(rng)?))
    }

    /// Returns the role.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Returns the volume that the key belongs to.
    #[must_use]
    pub fn volume(&self) -> VolumeId {
        self.volume
    }

    pub(super) fn secret(&self) -> &Secret<32> {
        &self.key
    }

    /// Returns the key of the same or a lower role.
    ///
    /// # Errors
    /// When there is no locked memory.
    ///
    /// # Panics
    /// When the role is a higher one: keys go one way.
    pub fn lowered(&self, role: Role) -> Result<Self, CryptoError> {
        assert!(role >= self.role, "tier keys are derived downwards only");
        let step = |key: &Secret<32>, to: Role| -> Result<Secret<32>, CryptoError> {
            let purpose = match to {
                Role::Admin => unreachable!("nothing is above admin"),
                Role::Rw => "tier/rw",
                Role::Ro => "tier/ro",
            };
            Ok(purpose_key(key, purpose, self.volume)?)
        };
        let mut key = Secret::build(|out| out.copy_from_slice(self.key.expose()))?;
        for to in [Role::Rw, Role::Ro] {
            if to > self.role && to <= role {
                key = step(&key, to)?;
            }
        }
        Ok(Self::new(role, self.volume, key))
    }

    fn derived<const N: usize>(&self, of: Role, purpose: &str) -> Result<Secret<N>, CryptoError> {
        Ok(purpose_key(&self.lowered(of)?.key, purpose, self.volume)?)
    }

    fn header_signing(&self) -> Result<Signing, CryptoError> {
        Signing::new(&self.derived(Role::Admin, "header-sign")?)
    }

    /// Returns the public key of the header's signature.
    ///
    /// # Errors
    /// When there is no locked memory.
    ///
    /// # Panics
    /// Without the admin role.
    pub fn admin_public(&self) -> Result<[u8; 32], CryptoError> {
        Ok(self.header_signing()?.public())
    }

    /// Signs a header.
    ///
    /// # Errors
    /// When there is no locked memory.
    ///
    /// # Panics
    /// Without the admin role.
    pub fn sign_header(&self, signed_bytes: &[u8]) -> Result<[u8; 64], CryptoError> {
        Ok(self.header_signing()?.sign(signed_bytes))
    }

    /// Returns the key that signs roots, for roles that may write.
    pub(super) fn root_signing(&self) -> Result<Option<Signing>, CryptoError> {
        if self.role > Role::Rw {
            return Ok(None);
        }
        Signing::new(&self.derived(Role::Rw, "root-sign")?).map(Some)
    }

    /// Returns the public key of the roots' signatures.
    ///
    /// # Errors
    /// When there is no locked memory.
    ///
    /// # Panics
    /// With the read-only role.
    pub fn root_public(&self) -> Result<[u8; 32], CryptoError> {
        Ok(Signing::new(&self.derived(Role::Rw, "root-sign")?)?.public())
    }

    /// Returns what names this key hierarchy in anchors and to people.
    ///
    /// # Errors
    /// When there is no locked memory.
    pub fn fingerprint(&self) -> Result<[u8; 16], CryptoError> {
        Ok(*self.derived(Role::Ro, "fingerprint")?.expose())
    }

    /// Seals the keyring for its header.
    ///
    /// # Errors
    /// When there is no randomness or no locked memory.
    pub fn seal_keyring(
        &self,
        keyring: &Keyring,
        aad: &[u8],
        rng: &dyn Rng,
    ) -> Result<SealedKeyring, CryptoError> {
        let mut random = [0; nonce::RANDOM_BYTES];
        rng.fill(&mut random)?;
        let mut bytes = keyring.encode()?;
        let hedge = self.derived(Role::Ro, "keyring-nonce")?;
        let nonce = nonce::of_header_part(&hedge, &random, aad, &bytes);
        let key = XaesKey::new(&self.derived(Role::Ro, "keyring")?)?;
        let tag = key.seal_portable(&nonce, aad, &mut bytes);
        Ok(SealedKeyring {
            nonce,
            ciphertext: bytes.to_vec(),
            tag,
        })
    }

    /// Opens the keyring of a header.
    ///
    /// # Errors
    /// When it is not authentic or malformed, or there is no locked memory.
    pub fn open_keyring(&self, sealed: &SealedKeyring, aad: &[u8]) -> Result<Keyring, CryptoError> {
        let mut bytes = Keyring::buffer(&sealed.ciphertext)?;
        let key = XaesKey::new(&self.derived(Role::Ro, "keyring")?)?;
        key.open_portable(&sealed.nonce, aad, &mut bytes, &sealed.tag)
            .map_err(|_| CryptoError::NotAuthentic)?;
        Keyring::decode(&bytes)
    }
}
