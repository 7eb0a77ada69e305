//! How often the kernel has looked up each inode it still holds.
//!
//! One small open-addressing table per shard: 12 bytes an entry, between 5/8 and 9/10 full, so at
//! most 20 bytes for each inode once there are some.

use crate::base::Ino;
use crate::base::sync::Mutex;

/// Shards: more than threads, and few enough to cost nothing when empty.
const SHARDS: usize = 64;

/// Slots of a table at least.
const MIN_SLOTS: usize = 16;

/// Exact lookup counts.
pub(super) struct Lookups {
    shards: Vec<Mutex<Table>>,
}

/// Linear probing without tombstones. Invariant: between a key's home slot and its slot none is free.
#[derive(Default)]
struct Table {
    /// Inode numbers; 0 is a free slot.
    inos: Vec<u64>,
    counts: Vec<u32>,
    len: usize,
}

/// Spreads neighbouring inode numbers (the multiplier of Fibonacci hashing).
fn spread(ino: Ino) -> u64 {
    ino.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Lookups {
    pub(super) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }

    fn shard(&self, ino: Ino) -> &Mutex<Table> {
        let ix = usize::try_from(ino.0 % SHARDS as u64).expect("less than the number of shards");
        self.shards.get(ix).expect("less than the number of shards")
    }

    /// Counts a lookup.
    pub(super) fn add(&self, ino: Ino) {
        self.shard(ino).lock().add(ino);
    }

    /// Takes `count` lookups back; returns true if none is left.
    pub(super) fn forget(&self, ino: Ino, count: u64) -> bool {
        self.shard(ino).lock().forget(ino, count)
    }

    /// Returns true if the kernel holds the inode.
    pub(super) fn holds(&self, ino: Ino) -> bool {
        self.shard(ino).lock().find(ino).is_ok()
    }

    /// Bytes of all tables.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let slots = |t: &Mutex<Table>| t.lock().inos.capacity();
        self.shards.iter().map(slots).sum::<usize>() * 12
    }
}

impl Table {
    /// Returns the slot where a key belongs first: the upper bits of its hash, scaled.
    fn home(&self, ino: u64) -> usize {
        let scaled = u128::from(spread(Ino(ino))) * self.inos.len() as u128;
        usize::try_from(scaled >> 64).expect("less than the number of slots")
    }

    fn key(&self, slot: usize) -> u64 {
        self.inos.get(slot).copied().unwrap_or(0)
    }

    /// Returns the slot of a key, or the free one where it would go.
    fn find(&self, ino: Ino) -> Result<usize, usize> {
        if self.inos.is_empty() {
            return Err(0);
        }
        let mut slot = self.home(ino.0);
        loop {
            match self.key(slot) {
                0 => return Err(slot),
                k if k == ino.0 => return Ok(slot),
                _ => slot = (slot + 1) % self.inos.len(),
            }
        }
    }

    fn set(&mut self, slot: usize, ino: u64, count: u32) {
        if let (Some(i), Some(c)) = (self.inos.get_mut(slot), self.counts.get_mut(slot)) {
            (*i, *c) = (ino, count);
        }
    }

    fn add(&mut self, ino: Ino) {
        match self.find(ino) {
            Ok(slot) => {
                if let Some(c) = self.counts.get_mut(slot) {
                    *c = c.saturating_add(1);
                }
            }
            Err(_) => {
                if (self.len + 1) * 10 > self.inos.len() * 9 {
                    self.resize((self.inos.len() * 5 / 4).max(MIN_SLOTS));
                }
                let (Ok(slot) | Err(slot)) = self.find(ino);
                self.set(slot, ino.0, 1);
                self.len += 1;
            }
        }
    }

    fn forget(&mut self, ino: Ino, count: u64) -> bool {
        let Ok(slot) = self.find(ino) else {
            return true;
        };
        let had = self.counts.get(slot).copied().unwrap_or(0);
        // A count that has reached its limit is no longer exact: the inode stays until the unmount.
        let left = match had {
            u32::MAX => u32::MAX,
            n => u32::try_from(u64::from(n).saturating_sub(count)).unwrap_or(n),
        };
        if left > 0 {
            self.set(slot, ino.0, left);
            return false;
        }
        self.remove(slot);
        true
    }

    /// Frees a slot, and moves back what was put behind it for want of place.
    fn remove(&mut self, slot: usize) {
        let slots = self.inos.len();
        let (mut free, mut next) = (slot, (slot + 1) % slots);
        loop {
            let key = self.key(next);
            if key == 0 {
                break;
            }
            // Distances along the probe from the key's home.
            let home = self.home(key);
            if (free + slots - home) % slots <= (next + slots - home) % slots {
                let count = self.counts.get(next).copied().unwrap_or(0);
                self.set(free, key, count);
                free = next;
            }
            next = (next + 1) % slots;
        }
        self.set(free, 0, 0);
        self.len -= 1;
        if slots > MIN_SLOTS && self.len * 2 < slots {
            self.resize((self.len * 5 / 4).max(MIN_SLOTS));
        }
    }

    fn resize(&mut self, slots: usize) {
        let old = std::mem::replace(
            self,
            Self {
                inos: vec![0; slots],
                counts: vec![0; slots],
                len: self.len,
            },
        );
        for (ino, count) in old.inos.into_iter().zip(old.counts) {
            if ino != 0 {
                let (Ok(slot) | Err(slot)) = self.find(Ino(ino));
                self.set(slot, ino, count);
            }
        }
    }
}
