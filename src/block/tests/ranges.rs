//! Range sets against a map of single bytes.

use super::Draw;
use crate::block::ranges::{PUNCH_UNIT, RangeSet};
use crate::format::punch::Range;

const END: u32 = 5 * PUNCH_UNIT;

fn bits(set: &RangeSet) -> Vec<bool> {
    let mut out = vec![false; END as usize];
    let mut last = None;
    for r in set.iter() {
        assert!(r.len > 0);
        assert!(last < Some(r.offset), "ranges neither overlap nor touch");
        last = Some(r.end());
        out[r.offset as usize..r.end() as usize].fill(true);
    }
    out
}

#[test]
fn sets_behave_as_sets_of_bytes() {
    for seed in 0..300 {
        let mut draw = Draw(seed);
        let (mut set, mut model) = (RangeSet::default(), vec![false; END as usize]);
        for _ in 0..draw.below(12) {
            // Often on a border, so that ranges touch.
            let unit = [1, 7, PUNCH_UNIT as usize / 2][draw.below(3)];
            let at = draw.below(END as usize / unit) * unit;
            let len = (1 + draw.below(4)) * unit;
            let len = len.min(END as usize - at);
            set.insert(Range {
                offset: u32::try_from(at).unwrap(),
                len: u32::try_from(len).unwrap(),
            });
            model[at..at + len].fill(true);
        }
        assert_eq!(bits(&set), model, "seed {seed}");
        assert_eq!(set.bytes() as usize, model.iter().filter(|b| **b).count());
        let other: Vec<bool> = model.iter().map(|b| !b).collect();
        assert_eq!(bits(&set.complement(END)), other, "seed {seed}");
        let (whole, edges) = set.whole_units();
        for (unit, bytes) in model.chunks(PUNCH_UNIT as usize).enumerate() {
            let all = bytes.iter().all(|b| *b);
            let at = unit * PUNCH_UNIT as usize;
            let in_whole = &bits(&whole)[at..at + bytes.len()];
            assert!(in_whole.iter().all(|b| *b == all), "seed {seed}");
            let rest: Vec<bool> = bytes.iter().map(|b| *b && !all).collect();
            assert_eq!(bits(&edges)[at..at + bytes.len()], rest, "seed {seed}");
        }
    }
}
