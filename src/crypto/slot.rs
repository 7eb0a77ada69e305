//! The keys of a slot: derived from what the user gives, they commit to it and wrap a tier key.

use subtle::ConstantTimeEq;

use crate::base::os::LockedBytes;
use crate::base::{Rng, VolumeId};
use crate::format::header::{Slot, SlotKind, WRAPPED_BYTES};

use super::derive;
use super::recovery::RecoveryCode;
use super::secret::{Secret, SecretBytes};
use super::tier::TierKey;
use super::xaes::XaesKey;
use super::{CryptoError, nonce};

/// The keys derived from one secret for one slot of one volume.
pub struct SlotKeys {
    volume: VolumeId,
    commit: Secret<32>,
    wrap: XaesKey,
    hedge: Secret<32>,
}

impl SlotKeys {
    /// Derives the keys that a secret has for a slot: Argon2id first where the slot has a cost. None
    /// if the secret is none for a slot of this kind: too short for a key, or no recovery code.
    ///
    /// # Errors
    /// When the cost is not defined, or there is no memory for it, or no locked memory.
    pub fn derive(
        secret: &SecretBytes,
        slot: &Slot,
        volume: VolumeId,
    ) -> Result<Option<Self>, CryptoError> {
        let salt = &slot.salt;
        let keys = match (slot.cost, slot.kind) {
            (Some(cost), _) => {
                let stretched = derive::stretch(secret.as_passphrase(), salt, cost)?;
                Some(derive::slot_keys(stretched.expose(), salt, volume)?)
            }
            (None, SlotKind::Recovery) => match RecoveryCode::parse(secret)? {
                Some(code) => Some(derive::slot_keys(code.expose(), salt, volume)?),
                None => None,
            },
            (None, _) => match secret.as_key() {
                Some(key) => Some(derive::slot_keys(key, salt, volume)?),
                None => None,
            },
        };
        let Some([commit, wrap, hedge]) = keys else {
            return Ok(None);
        };
        Ok(Some(Self {
            volume,
            commit,
            wrap: XaesKey::new(&wrap)?,
            hedge,
        }))
    }

    fn commitment(&self, slot: &Slot) -> [u8; 32] {
        derive::mac(&self.commit, &[&slot.fields(), &self.volume.0])
    }

    /// Returns true when the slot was made for this secret, in constant time.
    #[must_use]
    pub fn fit(&self, slot: &Slot) -> bool {
        self.commitment(slot).ct_eq(&slot.commit).into()
    }

    /// Puts the commitment and the wrapped tier key into a slot whose fields are complete.
    ///
    /// # Errors
    /// When there is no randomness or no locked memory.
    pub fn wrap(
        &self,
        tier: &TierKey,
        admin_public: &[u8; 32],
        slot: &mut Slot,
        rng: &dyn Rng,
    ) -> Result<(), CryptoError> {
        assert!(tier.role() == slot.role, "a slot wraps the key of its role");
        slot.commit = self.commitment(slot);
        let aad = slot.aad();
        let mut plain = LockedBytes::zeroed(WRAPPED_BYTES)?;
        let (key, public) = plain.split_at_mut(32);
        key.copy_from_slice(tier.secret().expose());
        public.copy_from_slice(admin_public);
        let mut random = [0; nonce::RANDOM_BYTES];
        rng.fill(&mut random)?;
        slot.nonce = nonce::of_header_part(&self.hedge, &random, &aad, &plain);
        slot.tag = self.wrap.seal_portable(&slot.nonce, &aad, &mut plain);
        slot.wrapped.copy_from_slice(&plain);
        Ok(())
    }

    /// Returns the tier key in a slot that these keys fit, and the public key of the header's
    /// signature.
    ///
    /// # Errors
    /// When the slot is not authentic, or there is no locked memory.
    pub fn unwrap(&self, slot: &Slot) -> Result<(TierKey, [u8; 32]), CryptoError> {
        let mut plain = LockedBytes::zeroed(WRAPPED_BYTES)?;
        plain.copy_from_slice(&slot.wrapped);
        self.wrap
            .open_portable(&slot.nonce, &slot.aad(), &mut plain, &slot.tag)
            .map_err(|_| CryptoError::NotAuthentic)?;
        let (key, public) = plain.split_at(32);
        let key = Secret::build(|out| out.copy_from_slice(key))?;
        let public = public.try_into().expect("64 = 32 + 32");
        Ok((TierKey::new(slot.role, self.volume, key), public))
    }
}
