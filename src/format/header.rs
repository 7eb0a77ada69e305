//! The header of a volume: key slots, the sealed keyring and the signature over both.
//!
//! ```text
//! magic "COFFERH1" | format u16 | suite u16 | critical-feature bits u32 | total_len u32
//! volume id 16 | incarnation 16 | header_seq u64 | created u64
//! chunk_log2 u8 | padding u8 | id_alg u8 | digest_kind u8 | bucket_bits u8 | zero 3
//! slot_count u8 | slots | keyring: nonce 24, len u32, ciphertext, tag 16
//! admin public key 32 | signature 64 (over everything before it) | checksum 16 (of everything)
//! slot: id u16 | type u8 | role u8 | created u64 | label len u8, label
//!       | kdf: alg u8, m u32, t u32, p u32 | salt 32 | hint len u16, hint
//!       | commit 32 | nonce 24 | wrapped 64 | tag 16
//! ```
//!
//! The encoding is canonical: decoding and encoding again gives the same bytes. Every later format
//! keeps the magic, the format number and the checksum where they are, so that a reader can name
//! the format it does not know.

use thiserror::Error;

use crate::base::VolumeId;

use super::bytes::{DecodeError, Reader};
use super::envelope::{NONCE_BYTES, TAG_BYTES};

/// The first bytes of every header.
pub const MAGIC: &[u8; 8] = b"COFFERH1";

/// The format this version reads and writes.
pub const FORMAT: u16 = 1;

/// The one cipher suite: XAES-256-GCM, BLAKE3, HKDF-SHA256, Ed25519.
pub const SUITE: u16 = 1;

/// Feature bit: every root is signed, not only those of checkpoints.
pub const SIGN_ALL: u32 = 1;

/// The feature bits this version knows.
pub const KNOWN_FEATURES: u32 = SIGN_ALL;

/// Longest header file.
pub const MAX_BYTES: usize = 64 << 10;

/// Bytes of the checksum at the end.
pub const CHECKSUM_BYTES: usize = 16;

/// Most slots of a header.
pub const SLOTS_MAX: usize = 32;

/// Longest label of a slot, in bytes.
pub const LABEL_MAX_BYTES: usize = 64;

/// Longest hint of a slot, in bytes.
pub const HINT_MAX_BYTES: usize = 1024;

/// Bytes of what a slot wraps: a tier key and the public key of the header's signature.
pub const WRAPPED_BYTES: usize = 64;

/// Smallest and largest chunk, as powers of two: 16 KiB and 1 MiB.
pub const CHUNK_LOG2: std::ops::RangeInclusive<u8> = 14..=20;

const PADDING_PADME: u8 = 1;
const ID_BLAKE3_KEYED: u8 = 1;
const BUCKET_BITS: u8 = 6;

/// Bytes from the magic to the slot count.
const FIXED_BYTES: usize = 8 + 2 + 2 + 4 + 4 + 16 + 16 + 8 + 8 + 8 + 1;

/// Bytes of a keyring beside its plaintext.
const KEYRING_OVERHEAD_BYTES: usize = NONCE_BYTES + 4 + TAG_BYTES;

/// Bytes of the signature and what it adds: public key and signature.
const SIGNATURE_BYTES: usize = 32 + 64;

/// A header that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// The bytes do not begin as a header does.
    #[error("no header of a coffer volume")]
    Magic,
    /// Written by another version.
    #[error("format {0} is unknown, this version knows format {FORMAT}")]
    Format(u16),
    /// Another cipher suite.
    #[error("cipher suite {0} is unknown, this version knows suite {SUITE}")]
    Suite(u16),
    /// Features that must be understood.
    #[error("the feature bits {0:#x} are unknown")]
    Features(u32),
    /// A parameter with a value of another version.
    #[error("{what} {value} is unknown")]
    Parameter {
        /// The parameter.
        what: &'static str,
        /// Its value.
        value: u8,
    },
    /// A slot asks for more work than is ever reasonable.
    #[error("slot {slot} asks for more memory or time than allowed: {cost}")]
    KdfCap {
        /// The slot.
        slot: u16,
        /// What it asks for.
        cost: Argon2Cost,
    },
    /// The layout is wrong.
    #[error("the header is malformed: {0}")]
    Malformed(&'static str),
}

impl From<DecodeError> for HeaderError {
    fn from(e: DecodeError) -> Self {
        Self::Malformed(e.what)
    }
}

/// What the holder of a slot's secret may do; each role can do what the next one can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Role {
    /// May change slots and epochs.
    Admin = 1,
    /// May mount read-write.
    Rw = 2,
    /// May mount and verify read-only.
    Ro = 3,
}

impl Role {
    const ALL: [Self; 3] = [Self::Admin, Self::Rw, Self::Ro];

    /// Returns the role with a name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.name() == name)
    }

    /// Returns the name used in commands and output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Rw => "rw",
            Self::Ro => "ro",
        }
    }

    fn from_byte(b: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|r| *r as u8 == b)
    }
}

/// Where the secret of a slot comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SlotKind {
    /// A passphrase, stretched by Argon2id.
    Passphrase = 1,
    /// The bytes of a key file.
    KeyFile = 2,
    /// The output of a command.
    Command = 3,
    /// A credential of systemd.
    Credential = 4,
    /// A printed recovery code.
    Recovery = 5,
}

impl SlotKind {
    const ALL: [Self; 5] = [
        Self::Passphrase,
        Self::KeyFile,
        Self::Command,
        Self::Credential,
        Self::Recovery,
    ];

    /// Returns the kind with a name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.name() == name)
    }

    /// Returns the name used in commands and output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Passphrase => "passphrase",
            Self::KeyFile => "keyfile",
            Self::Command => "command",
            Self::Credential => "credential",
            Self::Recovery => "recovery",
        }
    }

    fn from_byte(b: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|k| *k as u8 == b)
    }
}

/// How much work Argon2id makes of a passphrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argon2Cost {
    /// Memory in KiB.
    pub m_kib: u32,
    /// Passes over the memory.
    pub t: u32,
    /// Lanes.
    pub p: u32,
}

impl Argon2Cost {
    /// What a new slot gets unless told otherwise: 256 MiB, three passes, four lanes.
    pub const DEFAULT: Self = Self::new(256 << 10, 3, 4);

    /// The first choice of RFC 9106: 2 GiB, one pass, four lanes.
    pub const STRONG: Self = Self::new(2 << 20, 1, 4);

    /// The second choice of RFC 9106, and the least that makes sense: 64 MiB, three passes.
    pub const FLOOR: Self = Self::new(64 << 10, 3, 4);

    /// The most that a header may ask for.
    pub const CAP: Self = Self::new(4 << 20, 32, 16);

    /// Returns a cost given in numbers: KiB, passes, lanes.
    #[must_use]
    pub const fn new(m_kib: u32, t: u32, p: u32) -> Self {
        Self { m_kib, t, p }
    }

    /// Returns true when no part is beyond [`Self::CAP`].
    #[must_use]
    pub const fn is_within_cap(self) -> bool {
        self.m_kib <= Self::CAP.m_kib && self.t <= Self::CAP.t && self.p <= Self::CAP.p
    }

    /// Returns true when a guess costs less than under [`Self::FLOOR`].
    #[must_use]
    pub fn is_below_floor(self) -> bool {
        let work = |c: Self| u64::from(c.m_kib) * u64::from(c.t);
        self.m_kib < Self::FLOOR.m_kib || work(self) < work(Self::FLOOR)
    }

    /// Returns true when Argon2id is defined for it.
    #[must_use]
    pub fn is_defined(self) -> bool {
        self.t >= 1 && self.p >= 1 && u64::from(self.m_kib) >= 8 * u64::from(self.p)
    }
}

impl std::fmt::Display for Argon2Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "m={} KiB, t={}, p={}", self.m_kib, self.t, self.p)
    }
}

/// A key slot: one secret that opens the volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Number of the slot, unique in its header.
    pub id: u16,
    /// Where its secret comes from.
    pub kind: SlotKind,
    /// What its secret allows.
    pub role: Role,
    /// When it was made: seconds since 1970.
    pub created: u64,
    /// Its name, readable without a secret.
    pub label: String,
    /// Work per guess; none for secrets that are keys already.
    pub cost: Option<Argon2Cost>,
    /// Salt of the derivation.
    pub salt: [u8; 32],
    /// How to get the secret; never the secret.
    pub hint: String,
    /// Commitment to the derived key.
    pub commit: [u8; 32],
    /// Nonce of the wrapping.
    pub nonce: [u8; NONCE_BYTES],
    /// The wrapped tier key and public key.
    pub wrapped: [u8; WRAPPED_BYTES],
    /// Tag of the wrapping.
    pub tag: [u8; TAG_BYTES],
}

impl Slot {
    /// Returns the fields that the commitment covers.
    #[must_use]
    pub fn fields(&self) -> Vec<u8> {
        let label = u8::try_from(self.label.len()).expect("labels have at most 64 bytes");
        let hint = u16::try_from(self.hint.len()).expect("hints have at most 1024 bytes");
        let cost = self.cost.unwrap_or(Argon2Cost::new(0, 0, 0));
        let mut b = Vec::with_capacity(61 + self.label.len() + self.hint.len());
        b.extend_from_slice(&self.id.to_le_bytes());
        b.push(self.kind as u8);
        b.push(self.role as u8);
        b.extend_from_slice(&self.created.to_le_bytes());
        b.push(label);
        b.extend_from_slice(self.label.as_bytes());
        b.push(u8::from(self.cost.is_some()));
        for n in [cost.m_kib, cost.t, cost.p] {
            b.extend_from_slice(&n.to_le_bytes());
        }
        b.extend_from_slice(&self.salt);
        b.extend_from_slice(&hint.to_le_bytes());
        b.extend_from_slice(self.hint.as_bytes());
        b
    }

    /// Returns the associated data of the wrapping: the fields and the commitment.
    #[must_use]
    pub fn aad(&self) -> Vec<u8> {
        let mut b = self.fields();
        b.extend_from_slice(&self.commit);
        b
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.aad());
        out.extend_from_slice(&self.nonce);
        out.extend_from_slice(&self.wrapped);
        out.extend_from_slice(&self.tag);
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, HeaderError> {
        let id = r.u16()?;
        let kind = r.u8()?;
        let kind = SlotKind::from_byte(kind).ok_or(HeaderError::Parameter {
            what: "slot type",
            value: kind,
        })?;
        let role = Role::from_byte(r.u8()?).ok_or(HeaderError::Malformed("slot role"))?;
        let created = r.u64()?;
        let label_bytes = usize::from(r.u8()?);
        let label = text(r.bytes(label_bytes)?, LABEL_MAX_BYTES)?;
        let algorithm = r.u8()?;
        let cost = Argon2Cost::new(r.u32()?, r.u32()?, r.u32()?);
        let cost = match algorithm {
            0 if cost == Argon2Cost::new(0, 0, 0) => None,
            1 if !cost.is_within_cap() => return Err(HeaderError::KdfCap { slot: id, cost }),
            1 if cost.is_defined() => Some(cost),
            _ => return Err(HeaderError::Malformed("key derivation of a slot")),
        };
        if cost.is_some() != (kind == SlotKind::Passphrase) {
            return Err(HeaderError::Malformed("key derivation of a slot"));
        }
        let salt = r.array()?;
        let hint_bytes = usize::from(r.u16()?);
        let hint = text(r.bytes(hint_bytes)?, HINT_MAX_BYTES)?;
        Ok(Self {
            id,
            kind,
            role,
            created,
            label,
            cost,
            salt,
            hint,
            commit: r.array()?,
            nonce: r.array()?,
            wrapped: r.array()?,
            tag: r.array()?,
        })
    }
}

/// Returns true when a text may stand in a header: no control characters, at most `max` bytes.
#[must_use]
pub fn is_header_text(s: &str, max: usize) -> bool {
    s.len() <= max && !s.chars().any(char::is_control)
}

fn text(bytes: &[u8], max: usize) -> Result<String, HeaderError> {
    str::from_utf8(bytes)
        .ok()
        .filter(|s| is_header_text(s, max))
        .map(str::to_owned)
        .ok_or(HeaderError::Malformed("label or hint of a slot"))
}

/// What the plain part of a header says about the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params {
    /// Chunk size as a power of two, within [`CHUNK_LOG2`].
    pub chunk_log2: u8,
    /// How set digests are made: 1 additive, 2 reserved for LtHash.
    pub digest_kind: u8,
}

/// The sealed keyring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedKeyring {
    /// Its nonce.
    pub nonce: [u8; NONCE_BYTES],
    /// Its ciphertext.
    pub ciphertext: Vec<u8>,
    /// Its tag.
    pub tag: [u8; TAG_BYTES],
}

/// A header; nothing in it is authentic until its signature was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Features that a reader must know.
    pub features: u32,
    /// The volume.
    pub volume: VolumeId,
    /// Changes when a volume is restored from a backup.
    pub incarnation: [u8; 16],
    /// Rises with every change of the header.
    pub header_seq: u64,
    /// When the volume was made: seconds since 1970.
    pub created: u64,
    /// What the store is like.
    pub params: Params,
    /// The key slots, at most [`SLOTS_MAX`].
    pub slots: Vec<Slot>,
    /// The keyring.
    pub keyring: SealedKeyring,
    /// The public key of the signature.
    pub admin_public: [u8; 32],
    /// Ed25519 signature of everything before it.
    pub signature: [u8; 64],
}

impl Header {
    /// Returns everything before the keyring, the associated data of a keyring with a plaintext of
    /// `keyring_bytes`.
    #[must_use]
    pub fn before_keyring(&self, keyring_bytes: usize) -> Vec<u8> {
        let mut slots = Vec::new();
        for s in &self.slots {
            s.encode(&mut slots);
        }
        let total = FIXED_BYTES
            + slots.len()
            + KEYRING_OVERHEAD_BYTES
            + keyring_bytes
            + SIGNATURE_BYTES
            + CHECKSUM_BYTES;
        let total = u32::try_from(total).expect("a header is far below 4 GiB");
        let count = u8::try_from(self.slots.len()).expect("a header has at most 32 slots");
        let mut b = Vec::with_capacity(MAX_BYTES);
        b.extend_from_slice(MAGIC);
        b.extend_from_slice(&FORMAT.to_le_bytes());
        b.extend_from_slice(&SUITE.to_le_bytes());
        b.extend_from_slice(&self.features.to_le_bytes());
        b.extend_from_slice(&total.to_le_bytes());
        b.extend_from_slice(&self.volume.0);
        b.extend_from_slice(&self.incarnation);
        b.extend_from_slice(&self.header_seq.to_le_bytes());
        b.extend_from_slice(&self.created.to_le_bytes());
        b.push(self.params.chunk_log2);
        b.push(PADDING_PADME);
        b.push(ID_BLAKE3_KEYED);
        b.push(self.params.digest_kind);
        b.push(BUCKET_BITS);
        b.extend_from_slice(&[0; 3]);
        b.push(count);
        b.extend_from_slice(&slots);
        b
    }

    /// Returns the bytes that the signature covers.
    #[must_use]
    pub fn signed_bytes(&self) -> Vec<u8> {
        let ciphertext = &self.keyring.ciphertext;
        let mut b = self.before_keyring(ciphertext.len());
        let len = u32::try_from(ciphertext.len()).expect("a keyring is far below 4 GiB");
        b.extend_from_slice(&self.keyring.nonce);
        b.extend_from_slice(&len.to_le_bytes());
        b.extend_from_slice(ciphertext);
        b.extend_from_slice(&self.keyring.tag);
        b.extend_from_slice(&self.admin_public);
        b
    }

    /// Returns the header without its checksum.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut b = self.signed_bytes();
        b.extend_from_slice(&self.signature);
        b
    }

    /// Returns the header in `body`: a file whose checksum is right, without that checksum.
    ///
    /// # Errors
    /// When this version must not use it, or the layout is wrong.
    pub fn decode(body: &[u8]) -> Result<Self, HeaderError> {
        let mut r = Reader::new(body, "header");
        if r.bytes(MAGIC.len()).map_err(|_| HeaderError::Magic)? != MAGIC {
            return Err(HeaderError::Magic);
        }
        match r.u16()? {
            FORMAT => {}
            other => return Err(HeaderError::Format(other)),
        }
        match r.u16()? {
            SUITE => {}
            other => return Err(HeaderError::Suite(other)),
        }
        let features = r.u32()?;
        match features & !KNOWN_FEATURES {
            0 => {}
            unknown => return Err(HeaderError::Features(unknown)),
        }
        let total = usize::try_from(r.u32()?).map_err(|_| HeaderError::Malformed("length"))?;
        if total != body.len() + CHECKSUM_BYTES || total > MAX_BYTES {
            return Err(HeaderError::Malformed("length"));
        }
        let volume = VolumeId(r.array()?);
        let incarnation = r.array()?;
        let header_seq = r.u64()?;
        let created = r.u64()?;
        let params = decode_params(&mut r)?;
        let slots = decode_slots(&mut r)?;
        let nonce = r.array()?;
        let len = usize::try_from(r.u32()?).map_err(|_| r.error())?;
        let keyring = SealedKeyring {
            nonce,
            ciphertext: r.bytes(len)?.to_vec(),
            tag: r.array()?,
        };
        let header = Self {
            features,
            volume,
            incarnation,
            header_seq,
            created,
            params,
            slots,
            keyring,
            admin_public: r.array()?,
            signature: r.array()?,
        };
        r.end()?;
        Ok(header)
    }
}

fn decode_params(r: &mut Reader<'_>) -> Result<Params, HeaderError> {
    let expect = |what, value, known: &[u8]| {
        if known.contains(&value) {
            Ok(value)
        } else {
            Err(HeaderError::Parameter { what, value })
        }
    };
    let chunk_log2 = r.u8()?;
    if !CHUNK_LOG2.contains(&chunk_log2) {
        return Err(HeaderError::Malformed("chunk size"));
    }
    expect("padding", r.u8()?, &[PADDING_PADME])?;
    expect("content id", r.u8()?, &[ID_BLAKE3_KEYED])?;
    let digest_kind = expect("set digest", r.u8()?, &[1, 2])?;
    expect("number of bucket bits", r.u8()?, &[BUCKET_BITS])?;
    if r.array()? != [0; 3] {
        return Err(HeaderError::Malformed("reserved bytes"));
    }
    Ok(Params {
        chunk_log2,
        digest_kind,
    })
}

fn decode_slots(r: &mut Reader<'_>) -> Result<Vec<Slot>, HeaderError> {
    let count = usize::from(r.u8()?);
    if !(1..=SLOTS_MAX).contains(&count) {
        return Err(HeaderError::Malformed("number of slots"));
    }
    let mut slots: Vec<Slot> = Vec::with_capacity(count);
    for _ in 0..count {
        let slot = Slot::decode(r)?;
        if slots.iter().any(|s| s.id == slot.id) {
            return Err(HeaderError::Malformed("two slots with one number"));
        }
        slots.push(slot);
    }
    Ok(slots)
}
