//! The keys of an open volume: sealing, opening, naming and signing.

use crate::base::sync::Arc;
use crate::base::{ContentId, Epoch, Rng, VolumeId};
use crate::format::envelope::{
    Aad, Envelope, FRAME_OVERHEAD_BYTES, NONCE_BYTES, RECORD_OVERHEAD_BYTES, TAG_BYTES, prefix,
};
#[cfg(test)]
use crate::format::header::Role;
use crate::format::record::Kind;

use super::derive::purpose_key;
use super::keyring::{EpochState, Keyring};
use super::secret::Secret;
use super::tier::{Signing, TierKey, verify};
use super::xaes::XaesKey;
use super::{CryptoError, FramePlace, FramePlain, PrfDomain, nonce, on_key_thread};

/// The keys of one epoch.
struct EpochKeys {
    id: Epoch,
    block: XaesKey,
    meta: XaesKey,
    root: XaesKey,
    hedge: Secret<32>,
}

impl EpochKeys {
    fn derive(id: Epoch, secret: &Secret<32>, volume: VolumeId) -> Result<Self, CryptoError> {
        let xaes = |purpose| XaesKey::new(&purpose_key(secret, purpose, volume)?);
        Ok(Self {
            id,
            block: xaes("blk")?,
            meta: xaes("meta")?,
            root: xaes("root")?,
            hedge: purpose_key(secret, "hedge", volume)?,
        })
    }

    /// Returns the key for records of a kind.
    fn of(&self, kind: Kind) -> &XaesKey {
        match kind {
            Kind::Root => &self.root,
            _ => &self.meta,
        }
    }
}

/// The keys of an open volume, as handles; the secrets lie in locked memory.
pub struct Keyset {
    volume: VolumeId,
    fingerprint: [u8; 16],
    id_key: Secret<32>,
    prf_key: Secret<32>,
    mset_key: Secret<32>,
    active: EpochKeys,
    /// Older epochs that are not retired.
    draining: Vec<EpochKeys>,
    root_public: [u8; 32],
    root_signing: Option<Signing>,
    rng: Arc<dyn Rng>,
}

impl Keyset {
    /// Derives and expands all keys of a volume; belongs on the key thread.
    ///
    /// # Errors
    /// When there is no locked memory.
    pub fn assemble(
        tier: &TierKey,
        keyring: Keyring,
        rng: Arc<dyn Rng>,
    ) -> Result<Self, CryptoError> {
        let volume = tier.volume();
        let (mut active, mut draining) = (None, Vec::new());
        for epoch in &keyring.epochs {
            let Some(secret) = &epoch.secret else {
                continue;
            };
            let keys = EpochKeys::derive(epoch.info.id, secret, volume)?;
            match epoch.info.state {
                EpochState::Active => active = Some(keys),
                EpochState::Draining | EpochState::Retired => draining.push(keys),
            }
        }
        Ok(Self {
            volume,
            fingerprint: tier.fingerprint()?,
            active: active.ok_or(CryptoError::Keyring)?,
            draining,
            root_signing: tier.root_signing()?,
            root_public: keyring.root_public,
            id_key: keyring.id_key,
            prf_key: keyring.prf_key,
            mset_key: keyring.mset_key,
            rng,
        })
    }

    /// A keyset whose secrets are all derived from `seed`, for tests of the layers above.
    #[cfg(test)]
    #[must_use]
    pub fn for_tests(seed: u8) -> Self {
        Self::for_tests_with(seed, Role::Admin, Arc::new(crate::base::OsRng))
    }

    /// As [`Self::for_tests`], with a role and a source of randomness for its nonces.
    #[cfg(test)]
    #[must_use]
    pub fn for_tests_with(seed: u8, role: Role, rng: Arc<dyn Rng>) -> Self {
        use super::keyring::{EpochInfo, EpochSecret};
        let volume = VolumeId([seed; 16]);
        let secret = |n: u8| Secret::build(|s| *s = *blake3::hash(&[seed, n]).as_bytes()).unwrap();
        let admin = TierKey::new(Role::Admin, volume, secret(0));
        let mut keyring =
            Keyring::random("", admin.root_public().unwrap(), 0, &crate::base::OsRng).unwrap();
        keyring.id_key = secret(1);
        keyring.prf_key = secret(2);
        keyring.mset_key = secret(3);
        keyring.epochs = vec![EpochSecret {
            info: EpochInfo {
                id: Epoch(1),
                state: EpochState::Active,
                created: 0,
            },
            secret: Some(secret(4)),
        }];
        Self::assemble(&admin.lowered(role).unwrap(), keyring, rng).unwrap()
    }

    /// As [`Self::for_tests`], after a rotation: epoch 1 is draining, epoch 2 is active.
    #[cfg(test)]
    #[must_use]
    pub fn for_tests_rotated(seed: u8) -> Self {
        let mut keys = Self::for_tests(seed);
        let secret = Secret::build(|s| *s = *blake3::hash(&[seed, 5]).as_bytes()).unwrap();
        let next = EpochKeys::derive(Epoch(2), &secret, keys.volume).unwrap();
        keys.draining
            .push(std::mem::replace(&mut keys.active, next));
        keys
    }

    /// Returns the volume that the keys belong to.
    #[must_use]
    pub fn volume_id(&self) -> VolumeId {
        self.volume
    }

    /// Returns the epoch that everything new is sealed in.
    #[must_use]
    pub fn active_epoch(&self) -> Epoch {
        self.active.id
    }

    /// Returns true with the keys of a role that may write: false with an `ro` slot.
    #[must_use]
    pub fn can_write(&self) -> bool {
        self.root_signing.is_some()
    }

    /// Returns what names the key hierarchy, for anchors and people.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 16] {
        self.fingerprint
    }

    fn epoch(&self, id: Epoch) -> Result<&EpochKeys, CryptoError> {
        std::iter::once(&self.active)
            .chain(&self.draining)
            .find(|e| e.id == id)
            .ok_or(CryptoError::Epoch(id))
    }

    fn random(&self) -> Result<[u8; nonce::RANDOM_BYTES], CryptoError> {
        let mut random = [0; nonce::RANDOM_BYTES];
        self.rng.fill(&mut random)?;
        Ok(random)
    }

    /// Seals a record's plaintext into an envelope.
    ///
    /// # Errors
    /// When there is no randomness.
    ///
    /// # Panics
    /// When the name is longer than any key.
    pub fn seal(&self, kind: Kind, name: &[u8], plain: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let epoch = &self.active;
        let aad = Aad::record(self.volume, kind, epoch.id, name).expect("names are keys");
        let nonce = nonce::of_record(&epoch.hedge, &self.random()?, kind, name, plain);
        let mut out = Vec::with_capacity(RECORD_OVERHEAD_BYTES + plain.len());
        out.extend_from_slice(&prefix(kind, epoch.id));
        out.extend_from_slice(&nonce);
        let head = out.len();
        out.extend_from_slice(plain);
        let tag = epoch.of(kind).seal(&nonce, aad.as_ref(), &mut out[head..]);
        out.extend_from_slice(&tag);
        Ok(out)
    }

    /// Opens the envelope found under a name and returns the plaintext.
    ///
    /// # Errors
    /// When it is not what the holder of the keys sealed under this name, or its epoch is unknown.
    pub fn open(&self, kind: Kind, name: &[u8], e: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let e = Envelope::split(kind, e).ok_or(CryptoError::NotAuthentic)?;
        let keys = self.epoch(e.epoch)?;
        let aad = Aad::record(self.volume, kind, e.epoch, name).ok_or(CryptoError::NotAuthentic)?;
        let mut body = e.body.to_vec();
        keys.of(kind)
            .open(e.nonce, aad.as_ref(), &mut body)
            .map_err(|_| CryptoError::NotAuthentic)?;
        body.truncate(body.len() - TAG_BYTES);
        Ok(body)
    }

    /// Returns the name of a chunk: keyed BLAKE3 of its plaintext.
    #[must_use]
    pub fn content_id(&self, chunk: &[u8]) -> ContentId {
        ContentId(*blake3::keyed_hash(self.id_key.expose(), chunk).as_bytes())
    }

    /// Appends each frame as nonce | ciphertext | tag to `out`, under the active epoch; one call to
    /// the source of randomness for all nonces. Each frame grows by [`FRAME_OVERHEAD_BYTES`].
    ///
    /// The stored bytes of a raw frame must be its piece of the chunk that `id` names: the nonce
    /// takes them from there.
    ///
    /// # Errors
    /// When there is no randomness; `out` is unchanged then.
    ///
    /// # Panics
    /// With more than 255 frames.
    pub fn seal_frames(
        &self,
        id: &ContentId,
        frames: &[FramePlain<'_>],
        out: &mut Vec<u8>,
    ) -> Result<(), CryptoError> {
        let epoch = &self.active;
        let random = self.random()?;
        let count = u8::try_from(frames.len()).expect("a block has at most 255 frames");
        out.reserve(
            frames
                .iter()
                .map(|f| f.stored.len() + FRAME_OVERHEAD_BYTES)
                .sum(),
        );
        for (index, f) in (0..count).zip(frames) {
            let shape = [index, count, f.encoding];
            let nonce = nonce::of_frame(&epoch.hedge, &random, id, shape, f.raw_len, f.stored);
            let aad = Aad::frame(self.volume, epoch.id, id, shape, f.raw_len);
            out.extend_from_slice(&nonce);
            let head = out.len();
            out.extend_from_slice(f.stored);
            let tag = epoch.block.seal(&nonce, aad.as_ref(), &mut out[head..]);
            out.extend_from_slice(&tag);
        }
        Ok(())
    }

    /// Opens a frame in place and returns its stored (maybe compressed) bytes.
    ///
    /// # Errors
    /// When it is not that frame of that block, or its epoch is unknown.
    pub fn open_frame<'a>(
        &self,
        place: FramePlace<'_>,
        sealed: &'a mut [u8],
    ) -> Result<&'a [u8], CryptoError> {
        let keys = self.epoch(place.epoch)?;
        let shape = [place.index, place.count, place.encoding];
        let aad = Aad::frame(self.volume, place.epoch, place.id, shape, place.raw_len);
        let (nonce, body) = sealed
            .split_first_chunk_mut::<NONCE_BYTES>()
            .ok_or(CryptoError::NotAuthentic)?;
        keys.block
            .open(nonce, aad.as_ref(), body)
            .map(|plain| &*plain)
            .map_err(|_| CryptoError::NotAuthentic)
    }

    /// Returns the keyed hash of a name or number, for KV keys: BLAKE3-keyed(prf key, domain u8 |
    /// for each argument its length u16 and its bytes), cut to 16 bytes.
    ///
    /// # Panics
    /// With an argument longer than 65,535 bytes: names have at most 255.
    #[must_use]
    pub fn prf16(&self, d: PrfDomain, args: &[&[u8]]) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_keyed(self.prf_key.expose());
        hasher.update(&[d as u8]);
        for a in args {
            let len = u16::try_from(a.len()).expect("names have at most 255 bytes");
            hasher.update(&len.to_le_bytes());
            hasher.update(a);
        }
        *hasher
            .finalize()
            .as_bytes()
            .first_chunk()
            .expect("a hash is longer than 16 bytes")
    }

    /// Returns the term of a record in the set digest of its bucket: BLAKE3-keyed(set key, KV key |
    /// sealed value).
    #[must_use]
    pub fn digest_term(&self, key: &[u8], sealed: &[u8]) -> [u8; 32] {
        // One contiguous input lets BLAKE3 hash its KiBs side by side: for a page that is twice as
        // fast as two updates, and worth the copy.
        const PAGE_RECORD_BYTES: usize = 4608;
        let mut joined = [0; PAGE_RECORD_BYTES];
        let len = key.len() + sealed.len();
        if let Some(input) = joined.get_mut(..len) {
            let (a, b) = input.split_at_mut(key.len());
            a.copy_from_slice(key);
            b.copy_from_slice(sealed);
            return *blake3::keyed_hash(self.mset_key.expose(), input).as_bytes();
        }
        let mut hasher = blake3::Hasher::new_keyed(self.mset_key.expose());
        hasher.update(key);
        hasher.update(sealed);
        *hasher.finalize().as_bytes()
    }

    /// Returns the byte whose top bits are the bucket of a key that begins with a pack number.
    #[must_use]
    pub fn bucket_hash(&self, key: &[u8]) -> u8 {
        let [first, ..] = *blake3::keyed_hash(self.mset_key.expose(), key).as_bytes();
        first
    }

    /// Signs a root. None with keys that cannot sign.
    #[must_use]
    pub fn sign_root(&self, m: &[u8]) -> Option<[u8; 64]> {
        let signing = self.root_signing.as_ref()?;
        // Signing expands the key: not on the stack of a thread that lives on.
        Some(on_key_thread(|| signing.sign(m)).unwrap_or_else(|_| signing.sign(m)))
    }

    /// Checks the signature of a root.
    ///
    /// # Errors
    /// When no holder of a writer's key made it.
    pub fn verify_root(&self, m: &[u8], s: &[u8; 64]) -> Result<(), CryptoError> {
        verify(&self.root_public, m, s)
    }
}
