//! Sets of byte ranges of a pack.

use std::collections::BTreeMap;

use crate::format::punch::Range;

/// What a hole is punched in units of, in bytes.
pub(super) const PUNCH_UNIT: u32 = 4096;

/// Ranges that neither overlap nor touch, ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RangeSet(BTreeMap<u32, u32>);

impl RangeSet {
    /// Adds a range; what it overlaps or touches becomes one with it.
    pub(super) fn insert(&mut self, range: Range) {
        let (mut start, mut end) = (range.offset, range.end());
        let touching: Vec<u32> = self
            .0
            .range(..=end)
            .rev()
            .take_while(|(_, e)| **e >= start)
            .map(|(s, _)| *s)
            .collect();
        for s in touching {
            let e = self.0.remove(&s).expect("found just now");
            start = start.min(s);
            end = end.max(e);
        }
        self.0.insert(start, end);
    }

    /// Returns the ranges.
    pub(super) fn iter(&self) -> impl Iterator<Item = Range> + '_ {
        self.0.iter().map(|(start, end)| Range {
            offset: *start,
            len: end - start,
        })
    }

    /// Returns the number of ranges.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns what is not in the set below `end`.
    pub(super) fn complement(&self, end: u32) -> Self {
        let mut out = Self::default();
        let mut at = 0;
        for r in self.iter().filter(|r| r.offset < end) {
            if r.offset > at {
                out.0.insert(at, r.offset);
            }
            at = r.end();
        }
        if at < end {
            out.0.insert(at, end);
        }
        out
    }

    /// Parts the set into the whole units inside its ranges, and the edges that remain.
    pub(super) fn whole_units(&self) -> (Self, Self) {
        let (mut whole, mut edges) = (Self::default(), Self::default());
        for (&start, &end) in &self.0 {
            let first = start.next_multiple_of(PUNCH_UNIT);
            let last = end / PUNCH_UNIT * PUNCH_UNIT;
            if first >= last {
                edges.0.insert(start, end);
                continue;
            }
            whole.0.insert(first, last);
            if start < first {
                edges.0.insert(start, first);
            }
            if last < end {
                edges.0.insert(last, end);
            }
        }
        (whole, edges)
    }

    /// Returns the bytes of all ranges.
    pub(super) fn bytes(&self) -> u32 {
        self.iter().map(|r| r.len).sum()
    }
}

impl FromIterator<Range> for RangeSet {
    fn from_iter<I: IntoIterator<Item = Range>>(ranges: I) -> Self {
        let mut set = Self::default();
        for r in ranges {
            set.insert(r);
        }
        set
    }
}
