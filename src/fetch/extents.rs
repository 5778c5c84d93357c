//! Which bytes of a file are there: sorted ranges that neither overlap nor touch.

/// Ranges `[first, end)`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Extents(Vec<(u64, u64)>);

impl Extents {
    /// The ranges of a sidecar; none where they are not sorted, overlap or are empty.
    pub(super) fn from_ranges(ranges: &[(u64, u64)]) -> Option<Self> {
        let sound = ranges.iter().all(|(first, end)| first < end) && ranges.windows(2).all(|two| two[0].1 < two[1].0);
        sound.then(|| Self(ranges.to_vec()))
    }

    pub(super) fn ranges(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// Adds a range, whatever of it was there already.
    pub(super) fn add(&mut self, first: u64, end: u64) {
        if first >= end {
            return;
        }
        let (mut first, mut end) = (first, end);
        self.0.retain(|&(have_first, have_end)| {
            let apart = have_end < first || end < have_first;
            if !apart {
                first = first.min(have_first);
                end = end.max(have_end);
            }
            apart
        });
        let at = self.0.partition_point(|have| have.0 < first);
        self.0.insert(at, (first, end));
    }

    /// The end of what is there without a gap from the start on.
    pub(super) fn prefix(&self) -> u64 {
        self.0.first().filter(|range| range.0 == 0).map_or(0, |range| range.1)
    }

    /// How many bytes are there.
    pub(super) fn total(&self) -> u64 {
        self.0.iter().map(|(first, end)| end - first).sum()
    }

    /// Forgets what is at or after `length`.
    pub(super) fn clip(&mut self, length: u64) {
        self.0.retain(|range| range.0 < length);
        if let Some(last) = self.0.last_mut() {
            last.1 = last.1.min(length);
        }
    }

    /// What is missing up to `length`, in pieces that end at multiples of `segment`.
    pub(super) fn missing(&self, length: u64, segment: u64) -> Vec<(u64, u64)> {
        let mut pieces = Vec::new();
        let mut at = 0;
        let ends = self.0.iter().copied().chain([(length, length)]);
        for (first, end) in ends {
            while at < first.min(length) {
                let next = ((at / segment + 1) * segment).min(first).min(length);
                pieces.push((at, next));
                at = next;
            }
            at = at.max(end);
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The same as a set of bytes.
        #[test]
        fn ranges_are_a_set_of_bytes(
            added in proptest::collection::vec((0u64..64, 0u64..64), 0..12),
            length in 0u64..64,
            segment in 1u64..20,
        ) {
            let mut extents = Extents::default();
            let mut bytes = std::collections::BTreeSet::new();
            for (first, end) in added {
                extents.add(first, end);
                bytes.extend(first..end);
            }
            prop_assert_eq!(Extents::from_ranges(extents.ranges()), Some(extents.clone()));
            prop_assert_eq!(extents.total(), bytes.len() as u64);
            prop_assert_eq!(extents.prefix(), (0..200).find(|at| !bytes.contains(at)).unwrap_or(0));
            let pieces = extents.missing(length, segment);
            let missing: Vec<u64> = pieces.iter().flat_map(|&(first, end)| first..end).collect();
            let expected: Vec<u64> = (0..length).filter(|at| !bytes.contains(at)).collect();
            prop_assert_eq!(missing, expected);
            prop_assert!(pieces.iter().all(|(first, end)| first / segment == (end - 1) / segment));
            extents.clip(length);
            let clipped: Vec<u64> = extents.ranges().iter().flat_map(|&(first, end)| first..end).collect();
            prop_assert_eq!(clipped, bytes.into_iter().filter(|at| *at < length).collect::<Vec<_>>());
        }
    }
}
