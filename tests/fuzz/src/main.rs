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

/// A decoder under test.
struct Target {
    name: &'static str,
    /// Decodes, checks, and returns true if the input was accepted.
    run: fn(&[u8]) -> bool,
    /// First inputs, all of them accepted.
    seeds: fn() -> Vec<Vec<u8>>,
    /// Bytes it may hold at once beside its input, plus [`PER_BYTE`] for each byte of that.
    fixed_bytes: usize,
}

/// A decoded record is larger than its bytes: an entry of 18 bytes becomes one of 48 and a name, in a
/// vector that doubles.
const PER_BYTE: usize = 16;

/// Enough for any record that is not a list.
const SMALL: usize = 16 << 10;

/// Enough for a header with its slots, and for copies of what is signed in it.
const HEADER: usize = 512 << 10;

fn targets() -> Vec<Target> {
    let target = |name, run, seeds, fixed_bytes| Target {
        name,
        run,
        seeds,
        fixed_bytes,
    };
    vec![
        target("header", sealed::header, sealed::header_seeds, HEADER),
        target("slot", sealed::slot, sealed::header_seeds, HEADER),
        target("recovery", sealed::recovery, sealed::recovery_seeds, SMALL),
        target("keyring", sealed::keyring, sealed::keyring_seeds, HEADER),
        target("envelope", sealed::envelope, sealed::envelope_seeds, SMALL),
        target("frame", sealed::frame, sealed::frame_seeds, SMALL),
        target("padding", plain::padding, plain::padding_seeds, SMALL),
        target("codec", plain::codec, plain::codec_seeds, plain::CODEC),
        target("key", plain::key, plain::key_seeds, SMALL),
        target("inode", records::inode, records::inode_seeds, SMALL),
        target("dirent", records::dirent, records::dirent_seeds, SMALL),
        target("extents", records::extents, records::extents_seeds, SMALL),
        target("xattr", records::xattr, records::xattr_seeds, SMALL),
        target("page", records::page, records::page_seeds, SMALL),
        target(
            "blockref",
            records::blockref,
            records::blockref_seeds,
            SMALL,
        ),
        target("account", records::account, records::account_seeds, SMALL),
        target("list", records::list, records::list_seeds, SMALL),
        target("root", records::root, records::root_seeds, SMALL),
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
    for (i, seed) in (target.seeds)().iter().enumerate() {
        assert!((target.run)(seed), "seed {i} of {name} is not accepted");
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
    (target.run)(input);
    MEMORY.set_limit(usize::MAX).expect("no limit");
});
