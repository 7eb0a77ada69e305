//! Stores in memory, for tests: as quick as a map, and forgotten with the process.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;

use crate::base::PackNo;
use crate::base::sync::{Arc, Mutex};

use super::{Change, Family, Kv, KvError, KvRead, Packs, Pair};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// The families of one moment; a change copies what a view still holds.
#[derive(Clone, Default)]
struct Families {
    meta: Arc<Map>,
    page: Arc<Map>,
}

impl Families {
    fn of(&self, family: Family) -> &Map {
        match family {
            Family::Meta => &self.meta,
            Family::Page => &self.page,
        }
    }

    fn change(&mut self, family: Family) -> &mut Map {
        Arc::make_mut(match family {
            Family::Meta => &mut self.meta,
            Family::Page => &mut self.page,
        })
    }
}

/// A key-value store in memory.
#[derive(Default)]
pub struct MemoryKv {
    families: Mutex<Families>,
}

struct View(Families);

impl KvRead for View {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        Ok(self.0.of(family).get(key).cloned())
    }

    fn multi_get(&self, family: Family, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, KvError> {
        keys.iter().map(|k| self.get(family, k)).collect()
    }

    fn scan(
        &self,
        family: Family,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<Pair>, KvError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let range = (Bound::Included(from), Bound::Excluded(to));
        let found = self.0.of(family).range::<[u8], _>(range).take(limit);
        Ok(found.map(|(k, v)| (k.clone(), v.clone())).collect())
    }

    fn for_each(
        &self,
        family: Family,
        from: &[u8],
        to: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), KvError> {
        for (k, v) in self.scan(family, from, to, usize::MAX)? {
            if !each(&k, &v) {
                break;
            }
        }
        Ok(())
    }
}

impl MemoryKv {
    fn view(&self) -> View {
        View(self.families.lock().clone())
    }
}

impl KvRead for MemoryKv {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        Ok(self.families.lock().of(family).get(key).cloned())
    }

    fn multi_get(&self, family: Family, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, KvError> {
        self.view().multi_get(family, keys)
    }

    fn scan(
        &self,
        family: Family,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<Pair>, KvError> {
        self.view().scan(family, from, to, limit)
    }

    fn for_each(
        &self,
        family: Family,
        from: &[u8],
        to: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), KvError> {
        self.view().for_each(family, from, to, each)
    }
}

impl Kv for MemoryKv {
    fn write(&self, batch: Vec<Change>, _sync: bool) -> Result<(), KvError> {
        let mut families = self.families.lock();
        for change in batch {
            match change {
                Change::Put(f, k, v) => drop(families.change(f).insert(k, v)),
                Change::Delete(f, k) => drop(families.change(f).remove(&k)),
            }
        }
        Ok(())
    }

    fn recover(&self) -> Result<(), KvError> {
        Ok(())
    }

    fn snapshot(&self) -> Result<Arc<dyn KvRead>, KvError> {
        Ok(Arc::new(self.view()))
    }

    fn flush(&self) -> Result<(), KvError> {
        Ok(())
    }

    fn flush_later(&self) {}

    fn compact(&self) -> Result<(), KvError> {
        Ok(())
    }

    fn memory_bytes(&self) -> u64 {
        0
    }
}

/// Packs in memory.
#[derive(Default)]
pub struct MemoryPacks {
    packs: Mutex<BTreeMap<PackNo, Vec<u8>>>,
}

impl MemoryPacks {
    fn with<T>(
        &self,
        pack: PackNo,
        op: &'static str,
        f: impl FnOnce(&mut Vec<u8>) -> Option<T>,
    ) -> Result<T, KvError> {
        let failed = |kind: io::ErrorKind| KvError::Pack {
            pack,
            op,
            source: kind.into(),
        };
        let mut packs = self.packs.lock();
        let bytes = packs
            .get_mut(&pack)
            .ok_or_else(|| failed(io::ErrorKind::NotFound))?;
        f(bytes).ok_or_else(|| failed(io::ErrorKind::UnexpectedEof))
    }
}

fn range(offset: u64, len: usize) -> Option<std::ops::Range<usize>> {
    let start = usize::try_from(offset).ok()?;
    Some(start..start.checked_add(len)?)
}

impl Packs for MemoryPacks {
    fn create(&self, pack: PackNo) -> Result<(), KvError> {
        let mut packs = self.packs.lock();
        if packs.contains_key(&pack) {
            return Err(KvError::Pack {
                pack,
                op: "create",
                source: io::ErrorKind::AlreadyExists.into(),
            });
        }
        packs.insert(pack, Vec::new());
        Ok(())
    }

    fn write_at(&self, pack: PackNo, offset: u64, data: &[u8]) -> Result<(), KvError> {
        self.with(pack, "write", |bytes| {
            let range = range(offset, data.len())?;
            bytes.resize(bytes.len().max(range.end), 0);
            bytes.get_mut(range)?.copy_from_slice(data);
            Some(())
        })
    }

    fn sync(&self, pack: PackNo) -> Result<(), KvError> {
        self.with(pack, "sync", |_| Some(()))
    }

    fn read_at(&self, pack: PackNo, offset: u64, out: &mut [u8]) -> Result<(), KvError> {
        self.with(pack, "read", |bytes| {
            out.copy_from_slice(bytes.get(range(offset, out.len())?)?);
            Some(())
        })
    }

    fn punch(&self, pack: PackNo, offset: u64, len: u64) -> Result<bool, KvError> {
        self.with(pack, "punch", |bytes| {
            let mut range = range(offset, usize::try_from(len).ok()?)?;
            range.end = range.end.min(bytes.len());
            if let Some(hole) = bytes.get_mut(range) {
                hole.fill(0);
            }
            Some(true)
        })
    }

    fn truncate(&self, pack: PackNo, len: u64) -> Result<(), KvError> {
        self.with(pack, "truncate", |bytes| {
            bytes.resize(usize::try_from(len).ok()?, 0);
            Some(())
        })
    }

    fn remove(&self, pack: PackNo) -> Result<(), KvError> {
        self.packs.lock().remove(&pack);
        Ok(())
    }

    fn list(&self) -> Result<Vec<(PackNo, u64)>, KvError> {
        let packs = self.packs.lock();
        Ok(packs.iter().map(|(p, b)| (*p, b.len() as u64)).collect())
    }

    fn free_bytes(&self) -> Result<u64, KvError> {
        Ok(1 << 40)
    }

    fn size_bytes(&self) -> Result<u64, KvError> {
        Ok(1 << 40)
    }

    fn set_reserve(&self, _bytes: u64) -> Result<(), KvError> {
        Ok(())
    }
}
