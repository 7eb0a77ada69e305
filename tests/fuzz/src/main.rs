//! Fuzz targets: every decoder of bytes that a store, a backup or a stranger may have made up.
//!
//! One binary; `COFFER_FUZZ_TARGET` names the decoder, `COFFER_FUZZ_SEEDS` a directory that gets its
//! first inputs. A target returns true when its decoder accepted the input, which then must encode
//! to the same bytes again, or, of sealed bytes, be what the holder of the keys had sealed.
//! Besides, nothing may panic, overflow or take more memory than the target says.

#![no_main]

use std::alloc::System;
use std::env;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use cap::Cap;
use libfuzzer_sys::fuzz_target;

#[allow(dead_code, unused_imports)]
#[path = "../../../src/base/mod.rs"]
mod base;
#[allow(dead_code)]
#[path = "../../../src/block/codec.rs"]
mod codec;
#[allow(dead_code, unused_imports)]
#[path = "../../../src/crypto/mod.rs"]
mod crypto;
#[allow(dead_code)]
#[path = "../../../src/format/mod.rs"]
mod format;

mod plain;
mod records;
mod sealed;

/// What Rust allocates, counted and bounded; more than a target's bound ends the process.
#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// A decoder under test: decodes, checks, and returns true if the input was accepted; and its first
/// inputs, all of them accepted.
type Decoder = (fn(&[u8]) -> bool, fn() -> Vec<Vec<u8>>);

/// What is fuzzed at once.
struct Target {
    name: &'static str,
    /// One decoder, or several small ones: the first byte of an input then says which.
    decoders: Vec<Decoder>,
    /// Bytes it may hold at once beside its input, plus [`PER_BYTE`] for each byte of that.
    fixed_bytes: usize,
}

impl Target {
    fn run(&self, input: &[u8]) -> bool {
        match (&self.decoders[..], input.split_first()) {
            ([(run, _)], _) => run(input),
            (many, Some((which, rest))) => many[usize::from(*which) % many.len()].0(rest),
            (_, None) => false,
        }
    }

    fn seeds(&self) -> Vec<Vec<u8>> {
        match &self.decoders[..] {
            [(_, seeds)] => seeds(),
            many => (0..)
                .zip(many)
                .flat_map(|(which, (_, seeds))| {
                    let choose = move |s: Vec<u8>| [vec![which], s].concat();
                    seeds().into_iter().map(choose)
                })
                .collect(),
        }
    }
}

/// A decoded record is larger than its bytes: an attribute of 6 bytes becomes two vectors, 48 bytes, in
/// a vector that doubles.
const PER_BYTE: usize = 24;

/// Enough for any record that is not a list.
const SMALL: usize = 16 << 10;

/// Enough for a header with its slots, and for copies of what is signed in it.
const HEADER: usize = 512 << 10;

fn targets() -> Vec<Target> {
    let target = |name, decoders: &[Decoder], fixed_bytes| Target {
        name,
        decoders: decoders.to_vec(),
        fixed_bytes,
    };
    use {plain::*, records::*, sealed::*};
    vec![
        target("header", &[(header, header_seeds)], HEADER),
        target("slot", &[(slot, header_seeds)], HEADER),
        target("recovery", &[(recovery, recovery_seeds)], SMALL),
        target("keyring", &[(keyring, keyring_seeds)], HEADER),
        target("envelope", &[(envelope, envelope_seeds)], SMALL),
        target("frame", &[(frame, frame_seeds)], SMALL),
        target("codec", &[(codec, codec_seeds)], CODEC),
        target("key", &[(key, key_seeds), (padding, padding_seeds)], SMALL),
        target("inode", &[(inode, inode_seeds)], SMALL),
        target("dirent", &[(dirent, dirent_seeds)], SMALL),
        target("extents", &[(extents, extents_seeds)], SMALL),
        target("xattr", &[(xattr, xattr_seeds)], SMALL),
        target("page", &[(page, page_seeds)], SMALL),
        target("blockref", &[(blockref, blockref_seeds)], SMALL),
        target(
            "short",
            &[
                (account, account_seeds),
                (orphan, orphan_seeds),
                (settings, settings_seeds),
                (ranges, ranges_seeds),
                (ids, ids_seeds),
            ],
            SMALL,
        ),
        target("root", &[(root, root_seeds)], SMALL),
    ]
}

static TARGET: OnceLock<Target> = OnceLock::new();

/// Finds the target, shows it its seeds and writes them for the fuzzer.
fn start() {
    let name = env::var("COFFER_FUZZ_TARGET").unwrap_or_default();
    let names: Vec<&str> = targets().iter().map(|t| t.name).collect();
    if name == "list-targets" {
        println!("{}", names.join("\n"));
        std::process::exit(0);
    }
    let target = targets().into_iter().find(|t| t.name == name);
    let target = target.unwrap_or_else(|| panic!("COFFER_FUZZ_TARGET is none of {names:?}"));
    let target = TARGET.get_or_init(|| target);
    // What a panic prints needs memory too.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        MEMORY.set_limit(usize::MAX).expect("no limit");
        report(panic);
    }));
    for (i, seed) in target.seeds().iter().enumerate() {
        assert!(target.run(seed), "seed {i} of {name} is not accepted");
        if let Ok(dir) = env::var("COFFER_FUZZ_SEEDS") {
            let file = Path::new(&dir).join(format!("seed-{i}"));
            fs::write(file, seed).expect("the directory for seeds is writable");
        }
    }
}

fuzz_target!(init: start(), |input: &[u8]| {
    let target = TARGET.get().expect("set at the start");
    let bound = target.fixed_bytes + PER_BYTE * input.len();
    MEMORY
        .set_limit(MEMORY.allocated() + bound)
        .expect("the limit is above what is in use");
    target.run(input);
    MEMORY.set_limit(usize::MAX).expect("no limit");
});
