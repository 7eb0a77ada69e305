//! Imports go down only, each outside crate has its owner, and nothing unsealed can reach the store.

use super::holds;
use super::source::{Source, top};

/// The layers from the lowest rank up; layers of one rank do not know each other.
const RANKS: &[&[&str]] = &[
    &["base"],
    &["format"],
    &["crypto", "kv"],
    &["sealed"],
    &["txn"],
    &["meta", "block", "keys"],
    &["fs"],
    &["fuse", "maint"],
    &["volume"],
    &["cli"],
];

/// The only layers that may name the key-value store.
const SEES_THE_STORE: &[&str] = &["kv", "sealed", "txn", "volume"];

/// Outside crates and the layers that may name them; `*` is every layer.
const OWNERS: &[(&str, &[&str])] = &[
    ("rocksdb", &["kv"]),
    ("self_cell", &["kv"]),
    ("fuser", &["fuse"]),
    ("aes", &["crypto"]),
    ("aes_gcm", &["crypto"]),
    ("aws_lc_rs", &["crypto"]),
    ("argon2", &["crypto"]),
    ("blake3", &["crypto"]),
    ("ed25519_dalek", &["crypto"]),
    ("hkdf", &["crypto"]),
    ("hmac", &["crypto"]),
    ("sha2", &["crypto"]),
    ("subtle", &["crypto"]),
    ("zeroize", &["base", "crypto"]),
    ("lz4_flex", &["block"]),
    ("zstd", &["block"]),
    ("crossbeam_channel", &["*"]),
    ("getrandom", &["base"]),
    ("libc", &["*"]),
    ("parking_lot", &["base"]),
    ("rustix", &["*"]),
    ("thiserror", &["*"]),
    ("clap", &["cli"]),
    ("clap_complete", &["cli"]),
    ("clap_mangen", &["cli"]),
    ("indicatif", &["cli"]),
    ("rpassword", &["cli"]),
    ("serde", &["maint", "volume", "cli"]),
    ("serde_json", &["volume", "cli"]),
    ("signal_hook", &["volume", "cli"]),
    ("jiff", &["volume", "cli"]),
];

fn rank(layer: &str) -> Option<usize> {
    RANKS.iter().position(|r| r.contains(&layer))
}

/// Returns the words that follow `prefix` in code, also those in braces: `crate::{a, b::C}`.
fn named_after(code: &str, prefix: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        let rest = &code[at + prefix.len()..];
        match rest.strip_prefix('{') {
            None => names.extend(first_word(rest)),
            Some(group) => {
                let mut depth = 0_usize;
                let mut start = 0;
                for (i, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => {
                            names.extend(first_word(&group[start..i]));
                            break;
                        }
                        '}' => depth -= 1,
                        ',' if depth == 0 => {
                            names.extend(first_word(&group[start..i]));
                            start = i + 1;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    names
}

fn first_word(s: &str) -> Option<String> {
    let word: String = s
        .trim_start()
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect();
    (!word.is_empty()).then_some(word)
}

fn imports_go_down(s: &Source) -> Vec<String> {
    let Some(layer) = s.layer().filter(|_| s.is_rust()) else {
        return Vec::new();
    };
    let Some(own) = rank(layer) else {
        return vec![format!("the layer {layer} has no rank in {}", file!())];
    };
    named_after(&s.code, "crate::")
        .into_iter()
        .filter(|l| l != layer && rank(l).is_some_and(|r| r >= own))
        .map(|l| format!("{layer} imports {l}, which is not below it"))
        .collect()
}

fn store_is_seen_by_few(s: &Source) -> Vec<String> {
    let allowed = s.layer().is_none_or(|l| SEES_THE_STORE.contains(&l)) || s.is_test();
    if allowed || !named_after(&s.code, "crate::").contains(&"kv".to_owned()) {
        return Vec::new();
    }
    vec!["only sealed, txn and volume may name kv".to_owned()]
}

fn crates_have_owners(s: &Source) -> Vec<String> {
    let Some(layer) = s.layer().filter(|_| s.is_rust() && !s.is_test()) else {
        return Vec::new();
    };
    let names = |krate: &str| {
        s.code.match_indices(&format!("{krate}::")).any(|(at, _)| {
            let before = s.code[..at].chars().next_back();
            !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
        })
    };
    OWNERS
        .iter()
        .filter(|(_, owners)| !owners.contains(&"*") && !owners.contains(&layer))
        .filter(|(krate, _)| names(krate))
        .map(|(krate, owners)| format!("{krate} belongs to {}", owners.join(" and ")))
        .collect()
}

fn every_crate_is_listed(s: &Source) -> Vec<String> {
    if s.path != "Cargo.toml" {
        return Vec::new();
    }
    s.text
        .lines()
        .skip_while(|l| *l != "[dependencies]")
        .skip(1)
        .take_while(|l| !l.starts_with('['))
        .filter_map(|l| l.split_once(" = "))
        .map(|(name, _)| name.replace('-', "_"))
        .filter(|name| OWNERS.iter().all(|(krate, _)| krate != name))
        .map(|name| format!("{name} has no owner in {}", file!()))
        .collect()
}

#[test]
fn layers_import_downward_only() {
    holds(
        imports_go_down,
        ("src/kv/mod.rs", "use crate::{base::Ino, fs::Fs};"),
    );
    holds(
        imports_go_down,
        ("src/block/mod.rs", "fn f(k: crate::keys::Slot) {}"),
    );
}

#[test]
fn nothing_unsealed_reaches_the_store() {
    holds(
        store_is_seen_by_few,
        ("src/fs/mod.rs", "use crate::kv::Kv;"),
    );
}

#[test]
fn outside_crates_stay_in_their_layer() {
    holds(
        crates_have_owners,
        ("src/fs/mod.rs", "fn f(r: &fuser::Request) {}"),
    );
    holds(
        every_crate_is_listed,
        ("Cargo.toml", "[dependencies]\nanyhow = \"1\"\n[lints]"),
    );
}

#[test]
fn every_layer_of_the_library_has_a_rank() {
    let lib = std::fs::read_to_string(top().join("src/lib.rs")).expect("the library has a root");
    let unknown: Vec<&str> = lib
        .lines()
        .filter_map(|l| l.strip_prefix("pub mod ")?.strip_suffix(';'))
        .filter(|l| rank(l).is_none())
        .collect();
    assert!(unknown.is_empty(), "no rank: {unknown:?}");
}
