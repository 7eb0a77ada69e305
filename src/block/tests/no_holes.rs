//! A file system that cannot punch holes: copying is all that gives space back.

use super::{Rig, noise};
use crate::base::PackNo;
use crate::base::sync::Arc;
use crate::kv::files::PackFiles;
use crate::kv::memory::MemoryKv;
use crate::kv::{KvError, Packs};

const CHUNK: usize = 128 << 10;

struct NoHoles(PackFiles);

impl Packs for NoHoles {
    fn create(&self, pack: PackNo) -> Result<(), KvError> {
        self.0.create(pack)
    }

    fn write_at(&self, pack: PackNo, offset: u64, data: &[u8]) -> Result<(), KvError> {
        self.0.write_at(pack, offset, data)
    }

    fn sync(&self, pack: PackNo) -> Result<(), KvError> {
        self.0.sync(pack)
    }

    fn read_at(&self, pack: PackNo, offset: u64, out: &mut [u8]) -> Result<(), KvError> {
        self.0.read_at(pack, offset, out)
    }

    fn punch(&self, _pack: PackNo, _offset: u64, _len: u64) -> Result<bool, KvError> {
        Ok(false)
    }

    fn truncate(&self, pack: PackNo, len: u64) -> Result<(), KvError> {
        self.0.truncate(pack, len)
    }

    fn remove(&self, pack: PackNo) -> Result<(), KvError> {
        self.0.remove(pack)
    }

    fn list(&self) -> Result<Vec<(PackNo, u64)>, KvError> {
        self.0.list()
    }

    fn free_bytes(&self) -> Result<u64, KvError> {
        self.0.free_bytes()
    }

    fn size_bytes(&self) -> Result<u64, KvError> {
        self.0.size_bytes()
    }

    fn set_reserve(&self, bytes: u64) -> Result<(), KvError> {
        self.0.set_reserve(bytes)
    }
}

#[test]
fn packs_that_are_half_dead_are_copied_forward() {
    let dir = tempfile::tempdir().unwrap();
    let packs = PackFiles::open(dir.path(), false).unwrap();
    let packs: Arc<dyn Packs> = Arc::new(NoHoles(packs));
    let kv = Arc::new(MemoryKv::default());
    let shared = Arc::clone(&packs);
    let mut rig = Rig::new(move || (kv.clone(), Arc::clone(&shared)));
    rig.pack_bytes = 1 << 20;
    let v = rig.open();
    let ids: Vec<_> = (0..28).map(|n| v.put(&noise(n, CHUNK))).collect();
    // Of the first packs three blocks of seven live, of the others all.
    let dead = |n: u64| n < 14 && n % 7 > 2;
    for (_, id) in (0..).zip(&ids).filter(|(n, _)| dead(*n)) {
        v.release(id);
    }
    v.clean();
    v.audit();
    let files: Vec<u32> = packs.list().unwrap().iter().map(|f| f.0.0).collect();
    assert!(!files.contains(&1) && !files.contains(&2), "{files:?}");
    assert!(files.contains(&3), "{files:?}");
    for (n, id) in (0..).zip(&ids).filter(|(n, _)| !dead(*n)) {
        assert_eq!(v.read(id, CHUNK), noise(n, CHUNK));
    }
    v.close();
}
