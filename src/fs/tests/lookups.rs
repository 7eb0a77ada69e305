//! The table of lookup counts.

use std::collections::HashMap;

use crate::base::Ino;
use crate::fs::lookups::Lookups;

/// A small generator of numbers that look random (xorshift).
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[test]
fn counts_are_exact() {
    let lookups = Lookups::new();
    let mut model: HashMap<Ino, u64> = HashMap::new();
    let mut state = 42;
    for _ in 0..200_000 {
        let ino = Ino(1 + next(&mut state) % 3000);
        if next(&mut state).is_multiple_of(2) {
            lookups.add(ino);
            *model.entry(ino).or_default() += 1;
        } else {
            let take = 1 + next(&mut state) % 2;
            let left = model.get(&ino).copied().unwrap_or(0).saturating_sub(take);
            assert_eq!(lookups.forget(ino, take), left == 0, "{ino}");
            match left {
                0 => drop(model.remove(&ino)),
                n => drop(model.insert(ino, n)),
            }
        }
    }
    for n in 1..=3000 {
        assert_eq!(lookups.holds(Ino(n)), model.contains_key(&Ino(n)), "{n}");
    }
}

#[test]
fn an_inode_costs_at_most_24_bytes() {
    let lookups = Lookups::new();
    let mut held = 0;
    for n in 0..100_000 {
        lookups.add(Ino(1 + n * 3));
        held += 1;
        if held > 5000 {
            assert!(
                lookups.bytes() <= 24 * held,
                "{} for {held}",
                lookups.bytes()
            );
        }
    }
    for n in 0..99_000 {
        lookups.forget(Ino(1 + n * 3), 1);
    }
    assert!(
        lookups.bytes() <= 64 * 24 * 16 + 1000 * 24,
        "{}",
        lookups.bytes()
    );
}
