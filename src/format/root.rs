//! The root record: the one record that every commit rewrites, in the same batch.

use crate::base::{Generation, Timestamp};

use super::bytes::{DecodeError, Reader};

/// Number of set digests.
pub const BUCKETS: usize = 64;

/// Kinds with a count in the root: index = kind number.
pub const KIND_SLOTS: usize = 20;

/// The state a commit leaves behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// Number of the commit.
    pub generation: Generation,
    /// Changes when a volume is restored from a backup.
    pub incarnation: [u8; 16],
    /// Sequence number of the newest header this volume has seen.
    pub header_seq: u64,
    /// The last four anchored generations and their root hashes, newest first.
    pub anchored: [(u64, [u8; 32]); 4],
    /// Next pack number to use.
    pub next_pack: u32,
    /// Fencing number of the writer.
    pub writer_lease: u64,
    /// Next inode number to use.
    pub next_ino: u64,
    /// Inodes that exist.
    pub inodes: u64,
    /// Logical bytes in use, in 4096-byte pages.
    pub used_pages: u64,
    /// Plaintext bytes of blocks, each counted as often as extents name it.
    pub referenced_bytes: u64,
    /// Plaintext bytes of blocks, each counted once.
    pub unique_bytes: u64,
    /// Records per kind.
    pub counts: [u64; KIND_SLOTS],
    /// Records sealed in the active epoch.
    pub epoch_messages: u64,
    /// Hash of the root before this one.
    pub prev_root_hash: [u8; 32],
    /// Head of the audit log.
    pub audit_head: [u8; 32],
    /// Time of the commit.
    pub time: Timestamp,
    /// The volume was unmounted cleanly with this commit.
    pub clean: bool,
    /// Additive set digests of all other records, by bucket; little-endian sums modulo 2^256.
    pub digests: [[u8; 32]; BUCKETS],
    /// Ed25519 signature of everything before it, in checkpoint roots.
    pub signature: Option<[u8; 64]>,
}

impl Root {
    /// Returns the root before the first commit.
    #[must_use]
    pub fn new(incarnation: [u8; 16]) -> Self {
        Self {
            generation: Generation(0),
            incarnation,
            header_seq: 0,
            anchored: [(0, [0; 32]); 4],
            next_pack: 1,
            writer_lease: 0,
            next_ino: 2,
            inodes: 0,
            used_pages: 0,
            referenced_bytes: 0,
            unique_bytes: 0,
            counts: [0; KIND_SLOTS],
            epoch_messages: 0,
            prev_root_hash: [0; 32],
            audit_head: [0; 32],
            time: Timestamp::default(),
            clean: false,
            digests: [[0; 32]; BUCKETS],
            signature: None,
        }
    }

    /// Returns the bytes that a signature covers.
    #[must_use]
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut b = Vec::with_capacity(2600);
        b.extend_from_slice(&self.generation.0.to_le_bytes());
        b.extend_from_slice(&self.incarnation);
        b.extend_from_slice(&self.header_seq.to_le_bytes());
        for (generation, hash) in &self.anchored {
            b.extend_from_slice(&generation.to_le_bytes());
            b.extend_from_slice(hash);
        }
        b.extend_from_slice(&self.next_pack.to_le_bytes());
        for n in [
            self.writer_lease,
            self.next_ino,
            self.inodes,
            self.used_pages,
            self.referenced_bytes,
            self.unique_bytes,
        ] {
            b.extend_from_slice(&n.to_le_bytes());
        }
        for n in &self.counts {
            b.extend_from_slice(&n.to_le_bytes());
        }
        b.extend_from_slice(&self.epoch_messages.to_le_bytes());
        b.extend_from_slice(&self.prev_root_hash);
        b.extend_from_slice(&self.audit_head);
        b.extend_from_slice(&self.time.secs.to_le_bytes());
        b.extend_from_slice(&self.time.nanos.to_le_bytes());
        b.push(u8::from(self.clean));
        for d in &self.digests {
            b.extend_from_slice(d);
        }
        b
    }

    /// Returns the payload of the record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut b = self.signed_bytes();
        match &self.signature {
            None => b.push(0),
            Some(s) => {
                b.push(1);
                b.extend_from_slice(s);
            }
        }
        b
    }

    /// Returns the root in a payload.
    ///
    /// # Errors
    /// When the layout is wrong.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(payload, "root");
        let mut root = Self::new([0; 16]);
        root.generation = Generation(r.u64()?);
        root.incarnation = r.array()?;
        root.header_seq = r.u64()?;
        for a in &mut root.anchored {
            *a = (r.u64()?, r.array()?);
        }
        root.next_pack = r.u32()?;
        root.writer_lease = r.u64()?;
        root.next_ino = r.u64()?;
        root.inodes = r.u64()?;
        root.used_pages = r.u64()?;
        root.referenced_bytes = r.u64()?;
        root.unique_bytes = r.u64()?;
        for c in &mut root.counts {
            *c = r.u64()?;
        }
        root.epoch_messages = r.u64()?;
        root.prev_root_hash = r.array()?;
        root.audit_head = r.array()?;
        root.time = Timestamp {
            secs: r.i64()?,
            nanos: r.u32()?,
        };
        if root.time.nanos >= 1_000_000_000 {
            return Err(r.error());
        }
        root.clean = match r.u8()? {
            0 => false,
            1 => true,
            _ => return Err(r.error()),
        };
        for d in &mut root.digests {
            *d = r.array()?;
        }
        root.signature = match r.u8()? {
            0 => None,
            1 => Some(r.array()?),
            _ => return Err(r.error()),
        };
        r.end()?;
        Ok(root)
    }
}
