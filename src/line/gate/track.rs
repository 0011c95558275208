//! A part by the places of its edges, and which span of a frame it is.

use super::super::open::Middles;
use super::super::{FreeRun, Length, PartId, Span};

/// A part in the gate, or just beyond it.
#[derive(Debug, Clone)]
pub(super) struct Track {
    pub(super) part: PartId,
    /// Its edges as they were seen first, where they were.
    pub(super) first: Edges,
    /// And last.
    pub(super) now: Edges,
    /// Those of its neighbours that face it, where they are known and not doubted: it does not reach beyond them.
    pub(super) between: Edges,
    /// Those of what it was one with last: where an edge of its own is not seen, it lies before that.
    pub(super) within: Edges,
    /// The stretch of the belt in which it was seen.
    pub(super) lo: Length,
    pub(super) hi: Length,
    /// Where the belt was when it was seen first.
    pub(super) since: Length,
    /// And when a frame was chosen for it last.
    pub(super) viewed: Option<Length>,
    /// Whether it was found elsewhere than it should be.
    pub(super) is_astray: bool,
    /// Whether it is or was one with something else: its edges are not to be seen.
    pub(super) is_touching: bool,
    /// Whether more than one part may lie where it was seen: something attached itself to it, or parted from it, or a frame showed it longer
    /// than a part is.
    pub(super) is_several: bool,
    /// Why it is not what a part is like.
    pub(super) doubt: Option<&'static str>,
    /// What was decided about, once it is.
    pub(super) decided: Option<Decided>,
}

/// What of a part was known when it was decided about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decided {
    /// The stretch of the belt in which it lay.
    pub(super) lo: Length,
    pub(super) hi: Length,
    /// Of that, what the ejector was told to hit.
    pub(super) ejected: Ejected,
}

/// What the ejector was told to hit of the stretch in which a part may lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ejected {
    /// Nothing, or what was found bad: where that is.
    Itself,
    /// One part, wherever it may lie.
    One,
    /// Whatever lies there.
    All,
}

/// The places of a part's edges, where they are known. The leading one comes first along the belt: it is the lesser.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Edges {
    pub(super) lead: Option<Length>,
    pub(super) trail: Option<Length>,
}

/// A span by its places.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) span: Span,
    pub(super) edges: Edges,
    pub(super) lo: Length,
    pub(super) hi: Length,
}

impl Seen {
    pub(super) fn of(span: Span, belt: Length, length: Length) -> Self {
        let place = |along: Length| belt + half(length) - along;
        let (lo, hi) = (place(span.to), place(span.from));
        let edges = Edges { lead: (!span.leaves).then_some(lo), trail: (!span.enters).then_some(hi) };
        Seen { span, edges, lo, hi }
    }
}

pub(super) fn half(length: Length) -> Length {
    Length::from_nm(length.as_nm() / 2)
}

pub(super) fn apart(a: Length, b: Length) -> Length {
    (a - b).max(b - a)
}

/// Whether both are known and near each other.
pub(super) fn agree(a: Option<Length>, b: Option<Length>, window: Length) -> bool {
    a.zip(b).is_some_and(|(a, b)| apart(a, b) <= window)
}

impl Track {
    /// Whether that is it: by an edge, or since of both another edge is seen, as far from each other as a part may be long.
    pub(super) fn is(&self, seen: &Seen, rules: &FreeRun) -> bool {
        let (now, edges, window) = (self.now, seen.edges, rules.window);
        let is_common = |a: Option<Length>, b: Option<Length>| a.is_some() && b.is_some();
        if is_common(now.lead, edges.lead) || is_common(now.trail, edges.trail) {
            return agree(now.lead, edges.lead, window) || agree(now.trail, edges.trail, window);
        }
        let length = self.hi.max(seen.hi) - self.lo.min(seen.lo);
        self.keeps_its_shape(seen, window) && length <= rules.longest
    }

    pub(super) fn overlaps(&self, seen: &Seen, window: Length) -> bool {
        let common = self.hi.min(seen.hi) - self.lo.max(seen.lo);
        let shorter = (self.hi - self.lo).min(seen.hi - seen.lo);
        common > window.min(half(shorter))
    }

    /// Whether what was seen of it before and what is seen now can be the same thing.
    pub(super) fn keeps_its_shape(&self, seen: &Seen, window: Length) -> bool {
        let lead = match (self.now.lead, seen.edges.lead) {
            (Some(lead), Some(now)) => apart(lead, now) <= window,
            // Cut off by the border, behind which it must lie.
            (Some(lead), None) => lead <= seen.lo + window,
            (None, Some(now)) => now <= self.lo + window,
            (None, None) => true,
        };
        let trail = match (self.now.trail, seen.edges.trail) {
            (Some(trail), Some(now)) => apart(trail, now) <= window,
            (Some(trail), None) => trail + window >= seen.hi,
            (None, Some(now)) => now + window >= self.hi,
            (None, None) => true,
        };
        lead && trail
    }

    /// It is where it was, and more of it may be seen; but not where it touches something: an edge that is seen only then may be that one's.
    pub(super) fn follow(&mut self, seen: &Seen) {
        let learned = |own: Option<Length>, seen: Option<Length>| seen.filter(|_| !self.is_touching || own.is_some());
        let (lead, trail) = (learned(self.now.lead, seen.edges.lead), learned(self.now.trail, seen.edges.trail));
        self.now = Edges { lead: lead.or(self.now.lead), trail: trail.or(self.now.trail) };
        self.first = Edges { lead: self.first.lead.or(lead), trail: self.first.trail.or(trail) };
        self.within = seen.edges;
        self.lo = self.now.lead.unwrap_or_else(|| self.lo.min(seen.lo));
        self.hi = self.now.trail.unwrap_or_else(|| self.hi.max(seen.hi));
    }

    /// What is seen of it is no longer what it was: where it is one with something that is none of the `others`, that belongs to it.
    pub(super) fn widen(&mut self, seen: &Seen, others: &[&Track], window: Length) {
        let is_anothers =
            |lo: Length, hi: Length| others.iter().any(|other| other.lo <= lo + window && other.hi + window >= hi);
        if seen.lo + window < self.lo && !is_anothers(seen.lo, self.lo) {
            (self.lo, self.is_several) = (seen.lo, true);
        }
        if seen.hi > self.hi + window && !is_anothers(self.hi, seen.hi) {
            (self.hi, self.is_several) = (seen.hi, true);
        }
        let is_less = seen.edges.lead.is_some_and(|lead| lead > self.lo + window)
            || seen.edges.trail.is_some_and(|trail| trail + window < self.hi);
        self.is_several |= is_less;
    }

    /// The stretch of the belt in which it lies: where an edge was never seen, as far as a part may reach, but not beyond what it was one
    /// with. What was hidden may have slid meanwhile.
    pub(super) fn stretch(&self, rules: &FreeRun) -> (Length, Length) {
        if self.is_whole() {
            return (self.lo, self.hi);
        }
        let slid = if self.is_touching { rules.window } else { Length::default() };
        let first = self.now.lead.map_or(self.hi - rules.longest, |_| self.lo - slid);
        let last = self.now.trail.map_or(self.lo + rules.longest, |_| self.hi + slid);
        let bounds = |inner: Edges, (first, last): (Length, Length)| {
            (inner.lead.map_or(first, |lead| first.max(lead)), inner.trail.map_or(last, |trail| last.min(trail)))
        };
        let (first, last) = bounds(self.between, bounds(self.within, (first, last)));
        (self.lo.min(first), self.hi.max(last))
    }

    /// Whether it is one part, of which both edges were seen.
    pub(super) fn is_one(&self) -> bool {
        !self.is_several && self.is_whole()
    }

    /// What the ejector is told to hit of it while it is doubted.
    pub(super) fn ejected(&self) -> Ejected {
        if self.is_one() { Ejected::One } else { Ejected::All }
    }

    /// What was not decided about although something is wrong with it: all of it, or what has attached itself to it since.
    pub(super) fn undecided(&self, rules: &FreeRun) -> Vec<(Length, Length)> {
        let (first, last) = self.stretch(rules);
        let (Some(Decided { lo, hi, ejected }), Some(_)) = (self.decided, self.doubt) else { return Vec::new() };
        let is_ejected = match ejected {
            Ejected::Itself => false,
            Ejected::One => !self.is_several,
            Ejected::All => true,
        };
        if !is_ejected {
            return vec![(first, last)];
        }
        let beyond = [(first, lo), (hi, last)];
        beyond.into_iter().filter(|(from, to)| *to - *from > rules.window).collect()
    }

    /// How far each of its edges is from where it was first, on a belt that moves as it is said to.
    pub(super) fn shifts(&self) -> [Option<Length>; 2] {
        let shift = |now: Option<Length>, first: Option<Length>| now.zip(first).map(|(now, first)| now - first);
        [shift(self.now.lead, self.first.lead), shift(self.now.trail, self.first.trail)]
    }

    /// Whether all of it is elsewhere. Where one edge alone is, it turned or was hidden in part.
    pub(super) fn strayed(&self, window: Length) -> bool {
        let shifts = self.shifts().into_iter().flatten().collect::<Vec<_>>();
        let zero = Length::default();
        let all = |sign: fn(Length) -> Length| shifts.iter().all(|shift| sign(*shift) > half(window));
        let is_far = shifts.iter().any(|shift| apart(*shift, zero) > window);
        is_far && (all(|shift| shift) || all(|shift| Length::default() - shift))
    }

    pub(super) fn changed(&self, window: Length) -> bool {
        self.shifts().into_iter().flatten().any(|shift| apart(shift, Length::default()) > window)
    }

    /// Where its middle is; while it has not been seen whole, where that is at the earliest.
    pub(super) fn middle(&self, longest: Length) -> Length {
        match (self.now.lead, self.now.trail) {
            (Some(lead), Some(trail)) => lead + half(trail - lead),
            (Some(lead), None) => lead + half(self.hi - lead),
            (None, Some(trail)) => trail - half(longest.max(trail - self.lo)),
            (None, None) => self.lo + half(self.hi - self.lo),
        }
    }

    /// Where its middle may be, or those of the parts that it may be. Of one part of which one edge was seen, half of what was seen lies
    /// between that edge and its middle at the least, and half the longest part at the most.
    pub(super) fn middles(&self, rules: &FreeRun) -> Middles {
        let (lo, hi) = self.stretch(rules);
        let is_one = match self.doubt {
            Some(_) => self.is_one(),
            None => true,
        };
        let least = (self.hi - self.lo).max(rules.shortest);
        match (self.now.lead, self.now.trail) {
            (Some(_), Some(_)) if is_one => Middles { first: lo + half(hi - lo), last: lo + half(hi - lo), least },
            (Some(lead), None) if is_one => {
                Middles { first: lead + half(least), last: lead + half(least.max(hi - lead)), least }
            }
            (None, Some(trail)) if is_one => {
                Middles { first: trail - half(least.max(trail - lo)), last: trail - half(least), least }
            }
            _ => stretched((lo, hi), rules),
        }
    }

    /// Whether it is longer than a part, by what one frame shows of it, or by edges that different frames showed: those are known to the window
    /// only, since the belt may have been elsewhere by so much in one of them. No part passes that no single frame showed all of.
    pub(super) fn is_too_long(&self, seen: Option<&Seen>, rules: &FreeRun) -> bool {
        let shown = seen.map_or(Length::default(), |seen| seen.hi - seen.lo);
        shown > rules.longest || self.hi - self.lo > rules.longest + rules.window
    }

    pub(super) fn is_whole(&self) -> bool {
        self.now.lead.is_some() && self.now.trail.is_some()
    }
}

/// Tells each part up to where it may reach: to the edges of its neighbours, as far as those were seen and nothing is doubted about them.
pub(super) fn bound(tracks: &mut [Track]) {
    let plain = tracks.iter().filter(|track| track.doubt.is_none());
    let edges = plain.map(|track| (track.part, track.now)).collect::<Vec<_>>();
    for track in tracks {
        let others = || edges.iter().filter(|(part, _)| *part != track.part).map(|(_, edges)| edges);
        let lead = others().filter_map(|edges| edges.trail).filter(|trail| *trail <= track.lo).max();
        let trail = others().filter_map(|edges| edges.lead).filter(|lead| *lead >= track.hi).min();
        track.between = Edges { lead, trail };
    }
}

/// Where the middles of all parts may be that may lie in a stretch of the belt.
pub(super) fn stretched((lo, hi): (Length, Length), rules: &FreeRun) -> Middles {
    let first = lo + half(rules.shortest);
    Middles { first, last: first.max(hi - half(rules.shortest)), least: rules.shortest }
}

/// Whether a span is nothing but parts that touch, are doubted for that already, and are seen nowhere else.
pub(super) fn is_accounted_for(seen: &Seen, tracks: &[Track], links: &[Option<usize>], window: Length) -> bool {
    let touching = |(track, link): &(&Track, &Option<usize>)| track.is_touching && link.is_none();
    let doubted = tracks.iter().zip(links).filter(touching);
    // They are in the order of their places.
    let reached = doubted.fold(seen.lo, |reached, (track, _)| match track.lo - window <= reached {
        true => reached.max(track.hi + window),
        false => reached,
    });
    reached >= seen.hi
}

/// Which span each part is, by its edges: the one that is nearest to it, if it is nearest to that one too.
pub(super) fn link(tracks: &[Track], seen: &[Seen], rules: &FreeRun) -> Vec<Option<usize>> {
    let offset = |track: &Track, seen: &Seen| {
        let of = |a: Option<Length>, b: Option<Length>| a.zip(b).map(|(a, b)| apart(a, b));
        let edges = of(track.now.lead, seen.edges.lead).into_iter().chain(of(track.now.trail, seen.edges.trail));
        track.is(seen, rules).then(|| edges.min().unwrap_or(rules.window))
    };
    let nearest_to = |seen: &Seen| {
        let offsets = tracks.iter().enumerate().filter_map(|(t, track)| Some((offset(track, seen)?, t)));
        offsets.min().map(|(_, t)| t)
    };
    let link = |(t, track): (usize, &Track)| {
        let offsets = seen.iter().enumerate().filter_map(|(k, seen)| Some((offset(track, seen)?, k)));
        offsets.min().map(|(_, k)| k).filter(|k| nearest_to(&seen[*k]) == Some(t))
    };
    tracks.iter().enumerate().map(link).collect()
}
