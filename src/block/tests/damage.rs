//! What is damaged is told, and nothing else suffers.

use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{Rig, Volume, noise, prose};
use crate::base::ContentId;
use crate::block::{BlockError, Compression};
use crate::format::blockref::BlockRef;
use crate::format::key::Key;

const CHUNK: usize = 128 << 10;
const FRAME: usize = CHUNK / 8;

fn flip(dir: &Path, block: &BlockRef, at: u64) {
    let name = format!("packs/{:08x}", block.place.pack.0);
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(dir.join(name))
        .unwrap();
    let mut byte = [0];
    let at = u64::from(block.place.offset) + at;
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

fn code(v: &Volume, id: &ContentId, offset: usize, len: usize) -> &'static str {
    let offset = u32::try_from(offset).unwrap();
    match v.blocks.read(id, offset, &mut vec![0; len]) {
        Ok(()) => "",
        Err(BlockError::Damaged { code, id: told }) => {
            assert_eq!(told, *id);
            code
        }
        Err(e) => panic!("{e}"),
    }
}

#[test]
fn a_flipped_bit_is_found_in_its_frame() {
    for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
        let dir = tempfile::tempdir().unwrap();
        let mut rig = Rig::in_dir(dir.path());
        rig.settings.compression = compression;
        let v = rig.open();
        let id = v.put(&prose(1, CHUNK));
        v.commit();
        let block = v.record(&id).unwrap();
        let third = block.shape.frames().nth(3).unwrap();
        flip(
            dir.path(),
            &block,
            u64::from(third.sealed_at + third.sealed_len / 2),
        );
        assert_eq!(code(&v, &id, 0, CHUNK), "C-AEAD");
        assert_eq!(code(&v, &id, 3 * FRAME + 5, 10), "C-AEAD");
        assert_eq!(code(&v, &id, 0, 3 * FRAME), "");
        assert_eq!(code(&v, &id, 4 * FRAME, 4 * FRAME), "");
        v.close();
    }
}

#[test]
fn every_byte_of_a_block_is_authentic() {
    let dir = tempfile::tempdir().unwrap();
    let v = Rig::in_dir(dir.path()).open();
    let id = v.put(&noise(1, 300));
    v.commit();
    let block = v.record(&id).unwrap();
    for at in 0..u64::from(block.shape.sealed_len()) {
        flip(dir.path(), &block, at);
        assert_eq!(code(&v, &id, 0, 300), "C-AEAD", "byte {at}");
        flip(dir.path(), &block, at);
        assert_eq!(code(&v, &id, 0, 300), "");
    }
    v.close();
}

#[test]
fn a_block_is_no_other_block() {
    let dir = tempfile::tempdir().unwrap();
    let v = Rig::in_dir(dir.path()).open();
    let (a, b) = (v.put(&noise(1, CHUNK)), v.put(&noise(2, CHUNK)));
    // As the holder of the record keys could do it: only the seal of the frames tells.
    let mut record = v.record(&a).unwrap();
    record.place = v.record(&b).unwrap().place;
    v.txn.begin().unwrap().put(Key::block(&a), record.encode());
    assert_eq!(code(&v, &a, 0, CHUNK), "C-AEAD");
    // A record beyond the end of its pack.
    record.place.offset = 60 << 20;
    v.txn.begin().unwrap().put(Key::block(&a), record.encode());
    assert_eq!(code(&v, &a, 0, CHUNK), "C-MISSING");
    v.txn.begin().unwrap().put(Key::block(&a), vec![1; 57]);
    assert_eq!(code(&v, &a, 0, CHUNK), "C-DECODE");
    v.blocks.close().unwrap();
    v.txn.close().unwrap();
}

#[test]
fn damage_is_not_spread_by_copying() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::in_dir(dir.path());
    rig.pack_bytes = 1 << 20;
    let v = rig.open();
    let ids: Vec<_> = (0..12).map(|n| v.put(&noise(n, CHUNK))).collect();
    v.commit();
    let block = v.record(&ids[0]).unwrap();
    flip(dir.path(), &block, 1000);
    ids[1..7].iter().for_each(|id| v.release(id));
    super::until(|| v.txn.is_verified());
    let clean = |_| {
        v.commit();
        v.blocks.shared.clean()
    };
    let results: Vec<_> = (0..5).map(clean).collect();
    assert!(
        results
            .iter()
            .any(|r| matches!(r, Err(BlockError::Damaged { code: "C-AEAD", .. })))
    );
    assert!(results[4].is_ok(), "it is not tried again and again");
    assert_eq!(v.record(&ids[0]).unwrap().place, block.place);
    assert_eq!(code(&v, &ids[0], 0, CHUNK), "C-AEAD");
    assert_eq!(code(&v, &ids[0], CHUNK / 2, CHUNK / 2), "");
    v.audit();
    v.close();
}

#[test]
fn a_pack_shows_no_borders() {
    let dir = tempfile::tempdir().unwrap();
    let v = Rig::in_dir(dir.path()).open();
    let id = v.put(&[1; 10]);
    let len = usize::try_from(v.record(&id).unwrap().shape.sealed_len()).unwrap();
    let bytes = std::fs::read(dir.path().join("packs/00000001")).unwrap();
    assert_eq!(bytes.len(), 4096);
    let zeros = bytes[len..].iter().filter(|b| **b == 0).count();
    assert!(zeros < 100, "the gap after the last block is random");
    v.close();
}
