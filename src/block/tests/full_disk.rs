//! A file system that is really full: nothing is lost, and deleting makes room.

use super::{Rig, noise};
use crate::block::BlockError;

const CHUNK: usize = 128 << 10;

/// A file system of its own; gone with the guard.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new(bytes: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let flags = rustix::mount::MountFlags::empty();
        let size = std::ffi::CString::new(format!("size={bytes}")).unwrap();
        rustix::mount::mount("coffer-test", dir.path(), "tmpfs", flags, size.as_c_str())
            .expect("mounting a tmpfs needs root");
        Self(dir)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let detach = rustix::mount::UnmountFlags::DETACH;
        let _ = rustix::mount::unmount(self.0.path(), detach);
    }
}

#[test]
fn a_full_store_keeps_all_and_takes_deletes() {
    let disk = SmallDisk::new(192 << 20);
    let mut rig = Rig::in_dir(disk.0.path());
    rig.pack_bytes = 8 << 20;
    let v = rig.open();
    let mut ids = Vec::new();
    // As long as there is room, everything is taken.
    while v.blocks.free_bytes().unwrap() > 1 << 20 {
        ids.push(v.put(&noise(ids.len() as u64, CHUNK)));
        if ids.len().is_multiple_of(16) {
            v.commit();
        }
    }
    assert!(ids.len() > 800, "{} chunks", ids.len());
    // What is stored all the same stays in memory.
    let more: Vec<_> = (0..400)
        .map(|n| v.blocks.store(&noise(10_000 + n, CHUNK)).unwrap())
        .collect();
    let full = v.land();
    assert!(matches!(
        full,
        Err(BlockError::Store { no_space: true, .. })
    ));
    // What had been written without a sync is cut off again.
    assert!(v.blocks.free_bytes().unwrap() < 12 << 20);
    for (n, s) in (0..).zip(&more) {
        assert_eq!(v.read(&s.id(), CHUNK), noise(10_000 + n, CHUNK));
    }
    drop(more);
    v.commit();
    v.audit();
    // A restart on the full file system, then everything but a few goes.
    v.close();
    let v = rig.open();
    let (kept, gone): (Vec<_>, Vec<_>) = (0..).zip(&ids).partition(|(n, _)| n % 50 == 0);
    gone.iter().for_each(|(_, id)| v.release(id));
    v.clean();
    v.audit();
    assert!(v.blocks.free_bytes().unwrap() > 100 << 20);
    for (n, id) in kept {
        assert_eq!(v.read(id, CHUNK), noise(n, CHUNK));
    }
    v.put(&noise(20_000, CHUNK));
    v.commit();
    v.close();
}
