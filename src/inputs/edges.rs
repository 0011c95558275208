//! From the kernel's edge events to the edges that are told: sequence numbers, debouncing. Without a device, and with no
//! clock but the stamps.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Edge, Edges, Sense};
use crate::time::Monotonic;

/// Finds gaps in the kernel's sequence numbers, which begin with 1 and wrap around. When its buffer is full the kernel drops
/// the oldest edge.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    last: u32,
}

impl Sequence {
    /// How many edges are missing before the one of `number`.
    pub(super) fn missing_before(&mut self, number: u32) -> u64 {
        let missing = number.wrapping_sub(self.last).wrapping_sub(1);
        self.last = number;
        missing.into()
    }
}

/// What the kernel's events of one line mean.
#[derive(Debug)]
pub(super) struct EdgeDecoder {
    edges: Edges,
    debounce: Option<Debounce>,
    sequence: Sequence,
    told: VecDeque<Sense>,
}

impl EdgeDecoder {
    /// `level` is the line's at the start, `debounce` the time for which a level must last; zero is none.
    pub(super) fn new(edges: Edges, debounce: Duration, level: bool) -> Self {
        let debounce = (!debounce.is_zero()).then_some(Debounce { period: debounce, settled: level, burst: None });
        EdgeDecoder { edges, debounce, sequence: Sequence::default(), told: VecDeque::new() }
    }

    /// Takes an event of the kernel, in their order.
    pub(super) fn take(&mut self, edge: Edge, number: u32) {
        let missing = self.sequence.missing_before(number);
        if missing > 0 {
            self.told.push_back(Sense::Lost(missing));
        }
        match &mut self.debounce {
            None => self.tell(edge),
            Some(debounce) => {
                let settled = debounce.settle(edge.at);
                debounce.take(edge);
                settled.into_iter().for_each(|edge| self.tell(edge));
            }
        }
    }

    /// All events until `now` were taken: what has lasted long enough counts.
    pub(super) fn settle(&mut self, now: Monotonic) {
        if let Some(edge) = self.debounce.as_mut().and_then(|debounce| debounce.settle(now)) {
            self.tell(edge);
        }
    }

    /// When [`EdgeDecoder::settle`] will have something to say, if no event comes.
    pub(super) fn settles(&self) -> Option<Monotonic> {
        self.debounce.as_ref().and_then(Debounce::settles)
    }

    pub(super) fn next(&mut self) -> Option<Sense> {
        self.told.pop_front()
    }

    fn tell(&mut self, edge: Edge) {
        if self.edges.include(edge.active) {
            self.told.push_back(Sense::Edge(edge));
        }
    }
}

/// A level counts once it has lasted for `period`; the edge to it is then stamped with the first edge of the burst that led
/// to it.
///
/// The kernel's own debouncing stamps an edge when its period is over, which adds the period and a wait for the next
/// scheduler tick (in the lab 1 to 8 ms) to a stamp that rejects are timed by.
#[derive(Debug)]
struct Debounce {
    period: Duration,
    settled: bool,
    burst: Option<Burst>,
}

#[derive(Debug)]
struct Burst {
    began: Monotonic,
    last: Edge,
}

impl Debounce {
    fn settles(&self) -> Option<Monotonic> {
        self.burst.as_ref().map(|burst| burst.last.at + self.period)
    }

    fn settle(&mut self, now: Monotonic) -> Option<Edge> {
        let burst = self.burst.take_if(|burst| burst.last.at + self.period <= now)?;
        let active = burst.last.active;
        let changed = active != std::mem::replace(&mut self.settled, active);
        changed.then_some(Edge { at: burst.began, active })
    }

    fn take(&mut self, edge: Edge) {
        match &mut self.burst {
            Some(burst) => burst.last = edge,
            // A pulse that was over before the kernel looked at the level.
            None if edge.active == self.settled => {}
            None => self.burst = Some(Burst { began: edge.at, last: edge }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};

    const PERIOD: Duration = Duration::from_millis(5);

    fn edge(ms: u64, active: bool) -> Edge {
        Edge { at: Monotonic::from_nanos(ms * 1_000_000), active }
    }

    fn decode(edges: Edges, debounce: Duration, raw: &[(u64, bool)]) -> Vec<Edge> {
        let mut decoder = EdgeDecoder::new(edges, debounce, false);
        for (number, &(ms, active)) in raw.iter().enumerate() {
            decoder.take(edge(ms, active), number as u32 + 1);
        }
        decoder.settle(Monotonic::from_nanos(u64::MAX / 2));
        let told = std::iter::from_fn(|| decoder.next());
        told.map(|sense| if let Sense::Edge(edge) = sense { edge } else { panic!("{sense:?}") }).collect()
    }

    #[test]
    fn without_debouncing_every_wanted_edge_is_told() {
        let raw = [(1, true), (2, false), (3, true)];
        for (edges, told) in [(Edges::Active, vec![1, 3]), (Edges::Inactive, vec![2]), (Edges::Both, vec![1, 2, 3])] {
            let stamps = decode(edges, Duration::ZERO, &raw).iter().map(|edge| edge.at).collect::<Vec<_>>();
            assert_eq!(stamps, told.iter().map(|&ms| edge(ms, true).at).collect::<Vec<_>>(), "{edges:?}");
        }
    }

    #[test]
    fn a_burst_is_one_edge_with_the_stamp_of_its_first() {
        struct Case {
            why: &'static str,
            raw: &'static [(u64, bool)],
            told: &'static [(u64, bool)],
        }
        let cases = [
            Case { why: "a clean pulse", raw: &[(10, true), (30, false)], told: &[(10, true), (30, false)] },
            Case {
                why: "bouncing contacts",
                raw: &[(10, true), (11, false), (12, true), (30, false), (31, true), (32, false)],
                told: &[(10, true), (30, false)],
            },
            Case { why: "a pulse that is too short", raw: &[(10, true), (14, false)], told: &[] },
            Case {
                why: "a level that lasts exactly the period counts",
                raw: &[(10, true), (15, false)],
                told: &[(10, true), (15, false)],
            },
            Case {
                why: "a pulse that the kernel saw only the end of, then a part",
                raw: &[(10, false), (12, true), (40, false)],
                told: &[(12, true), (40, false)],
            },
            Case {
                why: "restless, then as before",
                raw: &[(10, true), (14, false), (18, true), (22, false)],
                told: &[],
            },
        ];
        for Case { why, raw, told } in cases {
            let told = told.iter().map(|&(ms, active)| edge(ms, active)).collect::<Vec<_>>();
            assert_eq!(decode(Edges::Both, PERIOD, raw), told, "{why}");
        }
    }

    #[test]
    fn debounced_edges_alternate_and_each_level_lasts() {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(5);
        for _ in 0..200 {
            let mut ms = 0;
            let raw: Vec<(u64, bool)> = (0..40)
                .map(|_| {
                    ms += random.random_range(1..12);
                    (ms, random.random())
                })
                .collect();
            let told = decode(Edges::Both, PERIOD, &raw);
            for (index, edge) in told.iter().enumerate() {
                assert_eq!(edge.active, index % 2 == 0, "{raw:?}");
                let lasts = |&(from, active): &(u64, bool)| {
                    let after = raw.iter().find(|(ms, _)| *ms > from);
                    active == edge.active && after.is_none_or(|(ms, _)| ms - from >= 5)
                };
                let next = told.get(index + 1).map_or(u64::MAX, |next| next.at.as_nanos() / 1_000_000);
                let during = raw.iter().filter(|(ms, _)| ms * 1_000_000 >= edge.at.as_nanos() && *ms < next);
                assert!(during.clone().any(lasts), "{edge:?} never lasted: {raw:?}");
                assert_eq!(during.clone().next().map(|(ms, _)| ms * 1_000_000), Some(edge.at.as_nanos()));
            }
        }
    }

    #[test]
    fn what_is_restless_is_awaited_until_it_has_lasted() {
        let mut decoder = EdgeDecoder::new(Edges::Active, PERIOD, false);
        assert_eq!(decoder.settles(), None);
        decoder.take(edge(10, true), 1);
        assert_eq!(decoder.settles(), Some(edge(15, true).at));
        decoder.settle(edge(14, true).at);
        assert_eq!(decoder.next(), None);
        decoder.settle(edge(15, true).at);
        assert_eq!(decoder.next(), Some(Sense::Edge(edge(10, true))));
        assert_eq!((decoder.next(), decoder.settles()), (None, None));
    }

    #[test]
    fn lost_edges_are_told_before_the_next_one_also_when_that_is_not_told() {
        let mut decoder = EdgeDecoder::new(Edges::Active, Duration::ZERO, false);
        decoder.take(edge(1, true), 1);
        decoder.take(edge(2, true), 5);
        decoder.take(edge(3, false), 8);
        let told = std::iter::from_fn(|| decoder.next()).collect::<Vec<_>>();
        let edges = [edge(1, true), edge(2, true)].map(Sense::Edge);
        assert_eq!(told, [edges[0], Sense::Lost(3), edges[1], Sense::Lost(2)]);
    }

    #[test]
    fn sequence_numbers_wrap_around() {
        let mut sequence = Sequence { last: u32::MAX - 1 };
        assert_eq!([u32::MAX, 0, 3].map(|number| sequence.missing_before(number)), [0, 0, 2]);
        assert_eq!(Sequence::default().missing_before(4), 3, "the first edges were lost already");
    }
}
