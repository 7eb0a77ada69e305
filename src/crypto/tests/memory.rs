//! What stays in memory: in a process of its own, a volume is unlocked and used, and then every
//! readable byte of the process is searched for every key that was there.

use std::collections::HashSet;
use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::Counting;
use crate::base::VolumeId;
use crate::base::sync::Arc;
use crate::crypto::derive::{purpose_key, slot_keys, stretch};
use crate::crypto::secret::Secret;
use crate::crypto::{Keyring, Keyset, SecretBytes, SlotKeys, TierKey, on_key_thread};
use crate::format::envelope::{NONCE_BYTES, TAG_BYTES};
use crate::format::header::{Argon2Cost, Role, Slot, SlotKind, WRAPPED_BYTES};
use crate::format::record::Kind;

/// The passphrase is made at run time: the program file must not hold it.
fn passphrase() -> Vec<u8> {
    (b'a'..=black_box(b'z')).rev().collect()
}

const VOLUME: VolumeId = VolumeId([7; 16]);
const COST: Argon2Cost = Argon2Cost::new(1024, 1, 4);
const SALT: [u8; 32] = [5; 32];

/// Names the file of hidden needles to the searching process.
const NEEDLES: &str = "COFFER_TEST_NEEDLES";

/// Asks the searching process to leave a needle behind: its number.
const LEAK: &str = "COFFER_TEST_LEAK";

/// The searching process must not hold what it searches for: needles are hidden by it.
const MASK: u8 = 0x5a;

const NEEDLE_BYTES: usize = 16;

fn slot() -> Slot {
    Slot {
        id: 1,
        kind: SlotKind::Passphrase,
        role: Role::Admin,
        created: 0,
        label: String::new(),
        cost: Some(COST),
        salt: SALT,
        hint: String::new(),
        commit: [0; 32],
        nonce: [0; NONCE_BYTES],
        wrapped: [0; WRAPPED_BYTES],
        tag: [0; TAG_BYTES],
    }
}

/// Makes the keys of a volume and opens them again with the passphrase, as init and mount do.
fn make_and_unlock(secret: &SecretBytes) -> Keyset {
    on_key_thread(|| {
        let rng = Arc::new(Counting::new());
        let admin = TierKey::random_admin(VOLUME, &*rng).unwrap();
        let public = admin.admin_public().unwrap();
        let mut slot = slot();
        let keys = SlotKeys::derive(secret, &slot, VOLUME).unwrap().unwrap();
        keys.wrap(&admin, &public, &mut slot, &*rng).unwrap();
        let keyring = Keyring::random("", admin.root_public().unwrap(), 0, &*rng).unwrap();
        let sealed = admin.seal_keyring(&keyring, b"aad", &*rng).unwrap();
        admin.sign_header(b"header").unwrap();
        drop((admin, keyring, keys));
        let keys = SlotKeys::derive(secret, &slot, VOLUME).unwrap().unwrap();
        assert!(keys.fit(&slot));
        let (tier, _) = keys.unwrap(&slot).unwrap();
        let keyring = tier.open_keyring(&sealed, b"aad").unwrap();
        Keyset::assemble(&tier, keyring, rng).unwrap()
    })
    .unwrap()
}

/// Returns every key of that volume, by name.
fn keys_of_the_volume() -> Vec<(&'static str, [u8; 32])> {
    let rng = Counting::new();
    let mut all = Vec::new();
    let admin = TierKey::random_admin(VOLUME, &rng).unwrap();
    let tier = |role| admin.lowered(role).unwrap();
    all.push(("admin", *tier(Role::Admin).secret().expose()));
    all.push(("rw", *tier(Role::Rw).secret().expose()));
    all.push(("ro", *tier(Role::Ro).secret().expose()));
    let of_tier = |role, purpose| {
        let key: Secret<32> = purpose_key(tier(role).secret(), purpose, VOLUME).unwrap();
        *key.expose()
    };
    all.push(("header-sign", of_tier(Role::Admin, "header-sign")));
    all.push(("root-sign", of_tier(Role::Rw, "root-sign")));
    all.push(("keyring", of_tier(Role::Ro, "keyring")));
    let stretched = stretch(&passphrase(), &SALT, COST).unwrap();
    all.push(("stretched", *stretched.expose()));
    let slot = slot_keys(stretched.expose(), &SALT, VOLUME).unwrap();
    for (name, key) in ["commit", "wrap", "slot hedge"].iter().zip(&slot) {
        all.push((name, *key.expose()));
    }
    // The same draw as in `make_and_unlock`: the nonce of the slot comes before the keyring.
    let mut nonce = [0; crate::crypto::nonce::RANDOM_BYTES];
    crate::base::Rng::fill(&rng, &mut nonce).unwrap();
    let keyring = Keyring::random("", [0; 32], 0, &rng).unwrap();
    all.push(("id key", *keyring.id_key.expose()));
    all.push(("prf key", *keyring.prf_key.expose()));
    all.push(("mset key", *keyring.mset_key.expose()));
    let epoch = keyring.epochs[0].secret.as_ref().unwrap();
    all.push(("epoch", *epoch.expose()));
    for purpose in ["blk", "meta", "root", "hedge"] {
        let key: Secret<32> = purpose_key(epoch, purpose, VOLUME).unwrap();
        all.push((purpose, *key.expose()));
    }
    all
}

/// Writes both halves of every key, and the passphrase, hidden.
fn write_needles(path: &Path) -> Vec<&'static str> {
    let keys = keys_of_the_volume();
    let distinct: HashSet<_> = keys.iter().map(|(_, k)| k).collect();
    assert_eq!(distinct.len(), keys.len());
    let mut names = vec!["passphrase"];
    let mut hidden: Vec<u8> = passphrase()[..NEEDLE_BYTES].to_vec();
    for (name, key) in &keys {
        names.extend([name, name]);
        hidden.extend_from_slice(key);
    }
    for b in &mut hidden {
        *b ^= MASK;
    }
    std::fs::write(path, hidden).unwrap();
    names
}

/// Runs the searching process and returns the names of the keys it found.
fn search(leak: bool) -> Vec<&'static str> {
    let dir = tempfile::tempdir().unwrap();
    let needles = dir.path().join("needles");
    let names = write_needles(&needles);
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", "crypto::tests::memory::the_searching_process"])
        .args(["--nocapture", "--test-threads=1"])
        .env(NEEDLES, &needles)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    if leak {
        let epoch = names.iter().position(|n| *n == "epoch").unwrap();
        child.env(LEAK, epoch.to_string());
    }
    let mut child = child.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(&passphrase())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("searched"), "{text}");
    text.lines()
        .filter_map(|l| l.strip_prefix("hit "))
        .map(|n| names[n.parse::<usize>().unwrap()])
        .collect()
}

/// Keys that BLAKE3 leaves on the stack of every thread that hashes. They name things and open
/// nothing, and scrubbing the stack would cost more than the hash.
const HASH_KEYS: [&str; 3] = ["id key", "prf key", "mset key"];

#[test]
fn no_key_that_opens_anything_is_left_in_memory() {
    let mut found = search(false);
    found.retain(|name| !HASH_KEYS.contains(name));
    assert_eq!(found, Vec::<&str>::new());
}

#[test]
fn a_key_left_in_memory_is_found() {
    assert!(search(true).contains(&"epoch"));
}

/// Not a test: what the two above run in a process of its own. Without them it does nothing.
#[test]
fn the_searching_process() {
    let Some(path) = std::env::var_os(NEEDLES) else {
        return;
    };
    let needles = std::fs::read(path).unwrap();
    let needles: Vec<&[u8]> = needles.chunks_exact(NEEDLE_BYTES).collect();
    let mut input = File::open("/proc/self/fd/0").unwrap();
    let secret = SecretBytes::read_from(&mut input).unwrap();
    let keys = Arc::new(make_and_unlock(&secret));
    drop(secret);
    let worker = {
        let keys = Arc::clone(&keys);
        std::thread::spawn(move || {
            let sealed = keys.seal(Kind::Inode, b"I", b"plain").unwrap();
            keys.open(Kind::Inode, b"I", &sealed).unwrap();
            let id = keys.content_id(b"chunk");
            keys.open(Kind::Inode, &id.0, &sealed).unwrap_err();
            assert_ne!(keys.digest_term(&id.0, &sealed), [0; 32]);
            keys.sign_root(b"root").unwrap();
        })
    };
    worker.join().unwrap();
    if let Ok(leak) = std::env::var(LEAK) {
        let hidden = needles[leak.parse::<usize>().unwrap()];
        let shown: Vec<u8> = hidden.iter().map(|b| b ^ MASK).collect();
        black_box(shown.leak());
    }
    // In use, keys are in locked memory only; afterwards they are nowhere.
    report(&needles, false);
    drop(keys);
    report(&needles, true);
    println!("searched");
}

fn report(needles: &[&[u8]], locked_too: bool) {
    // The test runner left its line open.
    println!();
    let mut found: Vec<usize> = Vec::new();
    let memory = File::open("/proc/self/mem").unwrap();
    for (start, end) in mappings(locked_too) {
        let mut at = start;
        let mut buffer = vec![0; 1 << 20];
        while at < end {
            let len = buffer.len().min(usize::try_from(end - at).unwrap());
            // Pages of memfd_secret and of devices cannot be read: that is their point.
            let Ok(read) = memory.read_at(&mut buffer[..len], at) else {
                break;
            };
            if read == 0 {
                break;
            }
            find(needles, &buffer[..read], &mut found);
            at += u64::try_from(read).unwrap();
            if read == len && at < end {
                at -= u64::try_from(NEEDLE_BYTES - 1).unwrap();
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    for needle in found {
        println!("hit {needle}");
    }
}

fn find(needles: &[&[u8]], bytes: &[u8], found: &mut Vec<usize>) {
    let mut begins = vec![false; 1 << 16];
    let prefix = |n: &[u8]| usize::from(u16::from_le_bytes([n[0], n[1]]));
    for n in needles {
        begins[prefix(n)] = true;
    }
    for window in bytes.windows(NEEDLE_BYTES) {
        if begins[prefix(&[window[0] ^ MASK, window[1] ^ MASK])] {
            let is = |n: &[u8]| n.iter().zip(window).all(|(a, b)| *a == b ^ MASK);
            found.extend((0..needles.len()).filter(|i| is(needles[*i])));
        }
    }
}

/// Returns the readable mappings, those of locked memory only when asked.
fn mappings(locked_too: bool) -> Vec<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mut all = Vec::new();
    let mut range = None;
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let first = words.next().unwrap_or_default();
        if first == "VmFlags:" {
            let flags: Vec<&str> = words.collect();
            let wanted = flags.contains(&"rd") && (locked_too || !flags.contains(&"lo"));
            all.extend(range.take().filter(|_| wanted));
        } else if let Some((a, b)) = first.split_once('-') {
            let number = |s| u64::from_str_radix(s, 16);
            range = number(a).ok().zip(number(b).ok());
        }
    }
    assert!(all.len() > 10, "{text}");
    all
}
