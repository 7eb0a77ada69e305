//! The bytes of the records: fixed for ever, and nothing else is accepted.

use crate::base::{ContentId, Epoch, PackNo};
use crate::format::account::PackAccount;
use crate::format::blockref::{BlockRef, Encoding, Place, Shape};
use crate::format::punch::{Range, decode_ids, decode_ranges, encode_ids, encode_ranges};

fn block() -> BlockRef {
    let mut shape = Shape::new(40_000, 14).unwrap();
    shape.set(0, Encoding::Raw, 16_384 + 40);
    shape.set(1, Encoding::Lz4, 1000);
    shape.set(2, Encoding::Zstd, 41);
    BlockRef {
        refs: 0x0102,
        place: Place {
            epoch: Epoch(3),
            pack: PackNo(4),
            offset: 0x0500,
        },
        shape,
    }
}

#[test]
fn a_block_reference_has_these_bytes() {
    let bytes = block().encode();
    let mut expected = vec![2, 1, 0, 0, 0, 0, 0, 0];
    expected.extend([3, 0, 0, 0, 4, 0, 0, 0, 0, 5, 0, 0]);
    expected.extend([0x40, 0x9c, 0, 0, 14]);
    expected.extend([0x28, 0x40, 0, 0, 0xe8, 3, 0, 0x40, 41, 0, 0, 0x80]);
    assert_eq!(bytes, expected);
    assert_eq!(BlockRef::decode(&bytes), Ok(block()));
    let frames: Vec<_> = block().shape.frames().collect();
    assert_eq!(frames[2].raw_at, 32_768);
    assert_eq!(frames[2].raw_len, 40_000 - 32_768);
    assert_eq!(frames[2].sealed_at, 16_424 + 1000);
    assert_eq!(block().shape.sealed_len(), 16_424 + 1041);
}

#[test]
fn a_block_reference_that_none_writes_is_malformed() {
    let good = block().encode();
    let with = |at: usize, bytes: &[u8]| {
        let mut b = good.clone();
        b[at..at + bytes.len()].copy_from_slice(bytes);
        b
    };
    let bad = [
        with(0, &[0; 8]),                    // no references
        with(20, &[0; 4]),                   // no plaintext
        with(20, &[0xff, 0xff, 0xff, 0xff]), // more than 8 frames
        with(24, &[10]),                     // frames too short
        with(24, &[18]),                     // frames too long
        with(25, &[0x27]),                   // a raw frame of another length
        with(29, &[0, 0x80]),                // lz4 that is longer than the plaintext
        with(33, &[40]),                     // nothing sealed
        with(36, &[0xc0]),                   // an unknown encoding
        good[..good.len() - 1].to_vec(),
        [&good[..], &[0]].concat(),
        Vec::new(),
    ];
    for (n, b) in bad.iter().enumerate() {
        assert!(BlockRef::decode(b).is_err(), "case {n}");
    }
}

#[test]
fn a_pack_account_has_these_bytes() {
    let account = PackAccount {
        written: 0x0102_0304,
        live: 5,
        punched: 6,
        epoch: Epoch(7),
        lists: 8,
        next_punch: 9,
        sealed: true,
    };
    let bytes = account.encode();
    let mut expected = vec![4, 3, 2, 1];
    for n in 5..=9 {
        expected.extend([n, 0, 0, 0]);
    }
    expected.push(1);
    assert_eq!(bytes, expected);
    assert_eq!(PackAccount::decode(&bytes), Ok(account));
    let mut more = bytes.clone();
    more[7] = 2; // more alive than written
    assert!(PackAccount::decode(&more).is_err());
    let mut flag = bytes.clone();
    flag[24] = 2;
    assert!(PackAccount::decode(&flag).is_err());
    assert!(PackAccount::decode(&bytes[..24]).is_err());
}

#[test]
fn lists_have_these_bytes() {
    let ranges = [1_u32, 0x0203].map(|n| Range { offset: n, len: n });
    let bytes = encode_ranges(&ranges);
    let expected = [1, 0, 0, 0, 1, 0, 0, 0, 3, 2, 0, 0, 3, 2, 0, 0];
    assert_eq!(bytes, expected);
    assert_eq!(decode_ranges(&bytes).unwrap(), ranges);
    assert!(decode_ranges(&bytes[..15]).is_err());
    assert!(decode_ranges(&[1, 0, 0, 0, 0, 0, 0, 0]).is_err(), "empty");
    assert!(decode_ranges(&[0xff; 8]).is_err(), "beyond any pack");
    let ids = [ContentId([1; 32]), ContentId([2; 32])];
    assert_eq!(encode_ids(&ids), [[1; 32], [2; 32]].concat());
    assert_eq!(decode_ids(&encode_ids(&ids)).unwrap(), ids);
    assert!(decode_ids(&[0; 33]).is_err());
}
