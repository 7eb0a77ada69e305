//! Tests of the content store: over a real store in a directory, and over one with faults.

mod clean;
mod damage;
mod each_call;
mod faults;
mod full_disk;
mod layouts;
mod model;
mod no_holes;
mod ranges;
mod restart;
mod store;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::base::sync::Arc;
use crate::base::{ContentId, PackNo, SystemClock};
use crate::crypto::Keyset;
use crate::format::account::PackAccount;
use crate::format::blockref::BlockRef;
use crate::format::key::{Key, Letter};
use crate::format::punch::{decode_ids, decode_ranges};
use crate::kv::faulty::{FaultyKv, FaultyPacks, FaultyStore};
use crate::kv::files::PackFiles;
use crate::kv::rocks::Rocks;
use crate::kv::{Access, Kv, Packs};
use crate::sealed::{PACK_MAX_BYTES, Records, SealedPacks};
use crate::txn::Txn;

use super::ranges::RangeSet;
use super::{BlockError, BlockSettings, Blocks, Compression, Stored};

/// Longest time to wait for another thread.
const PATIENCE: Duration = Duration::from_secs(60);

const SETTINGS: BlockSettings = BlockSettings {
    chunk_bytes: 128 << 10,
    compression: Compression::Lz4,
    cache_bytes: 1 << 20,
};

type Parts = (Arc<dyn Kv>, Arc<dyn Packs>);

/// A volume of which only the store and the keys exist.
struct Rig {
    parts: Box<dyn Fn() -> Parts>,
    keyset: Arc<Keyset>,
    settings: BlockSettings,
    pack_bytes: u32,
}

impl Rig {
    fn new(parts: impl Fn() -> Parts + 'static) -> Self {
        let rig = Self {
            parts: Box::new(parts),
            keyset: Arc::new(Keyset::for_tests(1)),
            settings: SETTINGS,
            pack_bytes: PACK_MAX_BYTES,
        };
        let records = Records::new((rig.parts)().0, Arc::clone(&rig.keyset));
        Txn::create(records, Arc::new(SystemClock), [7; 16], |op| {
            op.root().inodes = 1;
        })
        .unwrap();
        rig
    }

    /// A volume in a directory: RocksDB and files.
    fn in_dir(dir: &Path) -> Self {
        let dir = PathBuf::from(dir);
        std::fs::create_dir_all(dir.join("packs")).unwrap();
        Self::new(move || {
            let kv = Rocks::open(&dir.join("kv"), Access::Create).unwrap();
            let packs = PackFiles::open(&dir.join("packs"), false).unwrap();
            (Arc::new(kv), Arc::new(packs))
        })
    }

    /// A volume in a store with faults.
    fn over(store: &FaultyStore) -> Self {
        let (kv, packs) = (Arc::clone(&store.kv), Arc::clone(&store.packs));
        Self::new(move || {
            let kv = Arc::<FaultyKv>::clone(&kv);
            let packs = Arc::<FaultyPacks>::clone(&packs);
            (kv, packs)
        })
    }

    fn try_open(&self) -> Result<Volume, BlockError> {
        let (kv, packs) = (self.parts)();
        let records = Records::new(kv, Arc::clone(&self.keyset));
        let txn = Txn::open(records, Arc::new(SystemClock), Box::new(|_| ()))?;
        let sealed = SealedPacks::new(packs, Arc::clone(&self.keyset));
        let opened = Blocks::open_sized(Arc::clone(&txn), sealed, self.settings, self.pack_bytes);
        match opened {
            Ok(blocks) => Ok(Volume { txn, blocks }),
            Err(e) => {
                let _ = txn.close();
                Err(e)
            }
        }
    }

    fn open(&self) -> Volume {
        self.try_open().unwrap()
    }
}

/// An open volume.
struct Volume {
    txn: Arc<Txn>,
    blocks: Arc<Blocks>,
}

impl Volume {
    fn land(&self) -> Result<(), BlockError> {
        let (tx, rx) = channel();
        self.blocks.land(Box::new(move |r| drop(tx.send(r))));
        rx.recv_timeout(PATIENCE).expect("landing ends")
    }

    fn reference(&self, stored: &Stored) -> bool {
        let mut op = self.txn.begin().unwrap();
        self.blocks.reference(&mut op, stored).unwrap()
    }

    fn release(&self, id: &ContentId) {
        let mut op = self.txn.begin().unwrap();
        self.blocks.release(&mut op, id).unwrap();
    }

    /// Stores, lands and references a chunk.
    fn put(&self, chunk: &[u8]) -> ContentId {
        let stored = self.blocks.store(chunk).unwrap();
        self.land().unwrap();
        assert!(self.reference(&stored));
        stored.id()
    }

    fn commit(&self) {
        self.txn.commit_wait().unwrap();
    }

    fn try_read(&self, id: &ContentId, len: usize) -> Result<Vec<u8>, BlockError> {
        let mut out = vec![0xee; len];
        self.blocks.read(id, 0, &mut out)?;
        Ok(out)
    }

    fn read(&self, id: &ContentId, len: usize) -> Vec<u8> {
        self.try_read(id, len).unwrap()
    }

    fn record(&self, id: &ContentId) -> Option<BlockRef> {
        let payload = self.txn.get(&Key::block(id)).unwrap();
        payload.map(|p| BlockRef::decode(&p).unwrap())
    }

    /// Commits and cleans until nothing more comes of it.
    fn clean(&self) {
        until(|| self.txn.is_verified());
        for _ in 0..4 {
            self.commit();
            self.blocks.shared.clean().unwrap();
        }
    }

    /// Ends in order.
    fn close(self) {
        self.blocks.close().unwrap();
        self.txn.close().unwrap();
    }

    /// Ends as a crash would, once the power is cut.
    fn crash(self) {
        drop(self.blocks);
        let _ = self.txn.close();
    }

    fn records(&self, letter: Letter) -> Vec<(Key, Vec<u8>)> {
        let from = Key::new(letter, &[]);
        self.txn
            .scan(&from, &from.prefix_end(), usize::MAX)
            .unwrap()
    }

    /// Checks that all accounts are exact: what a record names lies apart from all else that it names
    /// and from all that is dead, is listed, and is counted.
    fn audit(&self) {
        let mut live: BTreeMap<PackNo, (RangeSet, u32)> = BTreeMap::new();
        let mut listed: HashMap<PackNo, Vec<ContentId>> = HashMap::new();
        for (key, payload) in self.records(Letter::PackList) {
            listed
                .entry(pack_of(&key))
                .or_default()
                .extend(decode_ids(&payload).unwrap());
        }
        for (key, payload) in self.records(Letter::Block) {
            let id = ContentId(key.as_bytes()[1..].try_into().unwrap());
            let block = BlockRef::decode(&payload).unwrap();
            let entry = live.entry(block.place.pack).or_default();
            let len = block.shape.sealed_len();
            entry.0.insert(crate::format::punch::Range {
                offset: block.place.offset,
                len,
            });
            entry.1 += len;
            assert_eq!(entry.0.bytes(), entry.1, "blocks overlap");
            assert!(
                listed[&block.place.pack].contains(&id),
                "{id} is not listed"
            );
        }
        let mut dead: BTreeMap<PackNo, RangeSet> = BTreeMap::new();
        for (key, payload) in self.records(Letter::Punch) {
            let set = dead.entry(pack_of(&key)).or_default();
            for range in decode_ranges(&payload).unwrap() {
                let before = set.bytes();
                set.insert(range);
                assert_eq!(set.bytes(), before + range.len, "dead twice");
            }
        }
        let mut accounts = 0;
        for (key, payload) in self.records(Letter::Account) {
            let (no, account) = (pack_of(&key), PackAccount::decode(&payload).unwrap());
            let (live, live_bytes) = live.remove(&no).unwrap_or_default();
            let dead = dead.remove(&no).unwrap_or_default();
            assert_eq!(account.live, live_bytes, "pack {no}");
            let mut all = live.clone();
            dead.iter().for_each(|r| all.insert(r));
            assert_eq!(all.bytes(), live.bytes() + dead.bytes(), "dead and alive");
            assert!(all.iter().all(|r| r.end() <= account.written));
            let used = account.live + dead.bytes() + account.punched;
            if account.sealed {
                assert_eq!(used, account.written, "pack {no}");
            } else {
                assert!(used <= account.written, "pack {no}");
            }
            accounts += 1;
        }
        assert!(live.is_empty(), "blocks in packs without an account");
        assert!(dead.is_empty(), "dead ranges of packs without an account");
        assert!(accounts <= self.blocks.shared.state.lock().packs.len());
        assert_eq!(self.txn.verify().unwrap().bad_buckets, Vec::<usize>::new());
    }
}

fn pack_of(key: &Key) -> PackNo {
    PackNo(u32::from_be_bytes(key.as_bytes()[1..5].try_into().unwrap()))
}

/// Waits until something another thread does has happened.
fn until(happened: impl Fn() -> bool) {
    let begin = std::time::Instant::now();
    while !happened() {
        assert!(begin.elapsed() < PATIENCE, "it does not happen");
        std::thread::yield_now();
    }
}

/// The numbers that random tests draw from.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }
}

/// Returns bytes that do not compress.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut out);
    out
}

/// Returns bytes that compress well.
fn prose(seed: u64, len: usize) -> Vec<u8> {
    let words = [
        "volume ", "chunk ", "frame ", "pack ", "of the ", "and ", "\n",
    ];
    let mut draw = Draw(seed);
    let mut out = Vec::new();
    while out.len() < len {
        out.extend_from_slice(words[draw.below(words.len())].as_bytes());
    }
    out.truncate(len);
    out
}
