//! What transactions promise, over a store with faults.

mod digests;
mod faults;
mod full_disk;
mod groups;
mod powercut;
mod scans;

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::base::sync::Arc;
use crate::base::{Generation, PackNo, SystemClock};
use crate::crypto::Keyset;
use crate::format::key::{Key, Letter};
use crate::kv::Kv;
use crate::kv::faulty::FaultyStore;
use crate::sealed::Records;

use super::{Txn, TxnError};

/// Longest time to wait for another thread.
const PATIENCE: Duration = Duration::from_secs(60);

/// Letters of the keys that tests use.
const LETTERS: [Letter; 5] = [
    Letter::Block,
    Letter::Dirent,
    Letter::Inode,
    Letter::Page,
    Letter::Account,
];

/// Returns the `n`-th key of a letter; all over the buckets.
fn key(letter: Letter, n: u32) -> Key {
    match letter {
        Letter::Account => Key::account(PackNo(n)),
        _ => Key::new(letter, &[blake3::hash(&n.to_le_bytes()).as_bytes()]),
    }
}

fn inode(n: u32) -> Key {
    key(Letter::Inode, n)
}

/// A volume of which only the store and the keys exist.
struct Rig {
    store: FaultyStore,
    keyset: Arc<Keyset>,
}

impl Rig {
    fn new(seed: u64) -> Self {
        Self::over(FaultyStore::in_memory(seed))
    }

    fn over(store: FaultyStore) -> Self {
        let rig = Self {
            store,
            keyset: Arc::new(Keyset::for_tests(1)),
        };
        Txn::create(rig.records(), Arc::new(SystemClock), [7; 16], |op| {
            op.root().inodes = 1;
        })
        .unwrap();
        rig
    }

    fn records(&self) -> Records {
        let kv: Arc<dyn Kv> = Arc::<crate::kv::faulty::FaultyKv>::clone(&self.store.kv);
        Records::new(kv, Arc::clone(&self.keyset))
    }

    fn try_open(&self) -> Result<Arc<Txn>, TxnError> {
        Txn::open(self.records(), Arc::new(SystemClock), Box::new(|_| ()))
    }

    fn open(&self) -> Arc<Txn> {
        self.try_open().unwrap()
    }
}

/// Returns every record of the latest state, the root not counted.
fn contents(txn: &Txn) -> BTreeMap<Key, Vec<u8>> {
    let mut all = BTreeMap::new();
    for letter in LETTERS {
        let from = Key::new(letter, &[]);
        all.extend(txn.scan(&from, &from.prefix_end(), usize::MAX).unwrap());
    }
    all
}

fn set(txn: &Txn, key: Key, value: &[u8]) {
    txn.begin().unwrap().put(key, value.to_vec());
}

/// Asks for a commit; what comes of it arrives at the receiver.
fn commit(txn: &Txn) -> Receiver<Result<Generation, TxnError>> {
    let (tx, rx) = channel();
    txn.commit(Box::new(move |r| drop(tx.send(r))));
    rx
}

fn after(txn: &Txn, group: u64) -> Receiver<Result<Generation, TxnError>> {
    let (tx, rx) = channel();
    txn.after(group, Box::new(move |r| drop(tx.send(r))));
    rx
}

fn arrived<T>(rx: &Receiver<T>) -> T {
    rx.recv_timeout(PATIENCE).expect("an answer comes")
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
    fn below(&mut self, n: u32) -> u32 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u32::try_from((z ^ (z >> 31)) % u64::from(n)).expect("below n")
    }
}

/// Does a random operation of one to three changes on few keys, and the same to a model.
fn change(txn: &Txn, model: &mut BTreeMap<Key, Vec<u8>>, draw: &mut Draw) {
    let mut op = txn.begin().unwrap();
    for _ in 0..=draw.below(3) {
        let letter = LETTERS[draw.below(5) as usize];
        let key = key(letter, draw.below(12));
        assert_eq!(op.get(&key).unwrap(), model.get(&key).cloned());
        let len = [3, 40, 300, 4096][draw.below(4) as usize];
        let value = vec![draw.below(256).to_le_bytes()[0]; len];
        match (draw.below(3), model.contains_key(&key)) {
            (0, _) => {
                op.delete(key);
                model.remove(&key);
                continue;
            }
            (_, false) => op.put_new(key, value.clone()),
            (_, true) => op.put(key, value.clone()),
        }
        model.insert(key, value);
    }
    op.root().next_ino += 1;
}
