use super::super::tests::{Bench, at_ms, fates, fires, raised, rules as timed, stops};
use super::super::*;
use super::*;
use crate::digest::Digest;
use crate::picture::{Fault, Statistics};

/// 1 mm in 1 ms through a gate of 200 mm, whose middle is 300 mm before the ejector; a part's own picture is 100 mm long.
const GATE: f64 = 200.0;
const CROP: f64 = 100.0;

fn mm(mm: f64) -> Length {
    Length::from_mm(mm)
}

fn free_run() -> FreeRun {
    let (window, shortest, longest) = (mm(10.0), mm(5.0), mm(80.0));
    FreeRun { window, shortest, longest, combine: Combine::Max, frames: 1, most_frames: 3 }
}

fn rules(change: impl Fn(&mut FreeRun)) -> Rules {
    let mut rules = timed();
    let mut free_run = free_run();
    change(&mut free_run);
    rules.lanes[0].find = Find::FreeRun(free_run);
    rules.lanes[0].ejector.distance = mm(300.0);
    rules
}

/// A camera over a belt with parts on it, and the core that is told what it sees.
struct Gate {
    bench: Bench,
    /// Where each part's leading edge enters the gate, by the place of the belt, and how long it is.
    parts: Vec<(f64, f64)>,
    tickets: u64,
    frames: u64,
    /// Views that are to be inspected.
    chosen: Vec<(u64, Ticket)>,
    seen: Vec<Action>,
}

impl Gate {
    fn with(parts: &[(f64, f64)], change: impl Fn(&mut FreeRun)) -> Self {
        let bench = Bench::new(rules(change));
        Gate { bench, parts: parts.to_vec(), tickets: 0, frames: 0, chosen: Vec::new(), seen: Vec::new() }
    }

    fn new(parts: &[(f64, f64)]) -> Self {
        Self::with(parts, |_| {})
    }

    /// What a gate shows when the belt is at `belt`; stretches that touch are one.
    fn showing(&mut self, belt: f64) -> Showing {
        let mut spans = Vec::<(f64, f64)>::new();
        for (enters, length) in self.parts.iter().copied() {
            let (from, to) = ((belt - enters - length).max(0.0), (belt - enters).min(GATE));
            match spans.last_mut() {
                Some(last) if last.0 <= to && to > 0.0 => last.0 = from,
                _ if to > 0.0 && from < GATE => spans.push((from, to)),
                _ => {}
            }
        }
        let span = |(from, to): (f64, f64)| {
            let (enters, leaves) = (from <= 0.0, to >= GATE);
            let middle = (from + to) / 2.0;
            let fits = to - from <= CROP && middle >= CROP / 2.0 && middle + CROP / 2.0 <= GATE;
            let is_whole = !enters && !leaves && fits;
            self.tickets += 1;
            Span { from: mm(from), to: mm(to), enters, leaves, view: is_whole.then_some(Ticket(self.tickets)) }
        };
        let spans = spans.into_iter().map(span).collect();
        Showing { length: mm(GATE), cell: mm(0.0), spans }
    }

    fn sighting(&mut self, ms: u64) -> Sighting {
        self.frames += 1;
        let (stamp, origin, class) = (StampSource::EndOfFrame, "belt".into(), "washer".into());
        let ticket = Ticket(1_000_000 + self.frames);
        Sighting { ticket, lane: Lane(0), frame: self.frames, captured: at_ms(ms), stamp, origin, class }
    }

    /// A frame at `ms`, when the belt shows what it brings up to `belt`.
    fn frame_of(&mut self, ms: u64, belt: f64) {
        let (sighting, showing) = (self.sighting(ms), self.showing(belt));
        let told = self.bench.tell(ms, Happening::Showed(sighting, showing));
        self.take(ms, told);
    }

    fn frame(&mut self, ms: u64) {
        self.frame_of(ms, ms as f64);
    }

    fn take(&mut self, ms: u64, told: Vec<Action>) {
        let chosen = told.iter().filter_map(|action| match action {
            Action::Inspect(ticket) => Some((ms, *ticket)),
            _ => None,
        });
        self.chosen.extend(chosen);
        self.seen.extend(told);
    }

    /// A frame every 20 ms.
    fn frames(&mut self, ms: std::ops::Range<u64>) {
        ms.step_by(20).for_each(|ms| self.frame(ms));
    }

    fn judge(&mut self, ticket: Ticket, ms: u64, score: f32) {
        let (calibration, evidence) = (Digest::zero(), Evidence::default());
        let judgement = Judgement { score, threshold: 1.0, rejects: score > 1.0, calibration, evidence };
        let told = self.bench.tell(ms, Happening::Inspected(ticket, Ok((judgement, Latency::default()))));
        self.take(ms, told);
    }

    /// Judges what was chosen, each by its score.
    fn judged(&mut self, ms: u64, scores: &[f32]) {
        let chosen = std::mem::take(&mut self.chosen);
        assert_eq!(chosen.len(), scores.len(), "{chosen:?}");
        chosen.iter().zip(scores).for_each(|((_, ticket), score)| self.judge(*ticket, ms, *score));
    }

    fn tick(&mut self, ms: u64) {
        let told = self.bench.tell(ms, Happening::Tick);
        self.take(ms, told);
    }

    /// How parts ended that are rejected: the ejector acts on all that were ordered.
    fn fired(&mut self) {
        let orders = self.seen.iter().filter_map(|action| match action {
            Action::Fire(order) => Some((order.part, order.at)),
            _ => None,
        });
        for (part, at) in orders.collect::<Vec<_>>() {
            let told = self.bench.tell(at.as_nanos() / 1_000_000, Happening::Fired(part, Ok(at)));
            self.seen.extend(told);
        }
    }

    /// Whether the ejector acts while the middle of that part is before it: 100 mm behind the border of the gate is its middle.
    fn hits(&self, (enters, length): (f64, f64)) -> bool {
        let (middle, dwell) = (enters + length / 2.0 + GATE / 2.0 + 300.0, 30.0);
        fires(&self.seen).iter().any(|(_, ms)| (*ms as f64..*ms as f64 + dwell).contains(&middle))
    }

    fn records(&self) -> Vec<PartRecord> {
        let record = |action: &Action| match action {
            Action::Record(record) => Some((**record).clone()),
            _ => None,
        };
        self.seen.iter().filter_map(record).collect()
    }

    fn verdicts(&mut self) -> Vec<(u64, &'static str, Option<String>)> {
        self.fired();
        let told = |record: PartRecord| match record.verdict {
            Verdict::Unknown(why) => (record.part.0, why.as_str(), why.detail().map(str::to_owned)),
            verdict => (record.part.0, verdict.as_str(), None),
        };
        let mut verdicts = self.records().into_iter().map(told).collect::<Vec<_>>();
        verdicts.sort();
        verdicts
    }

    /// The words of all verdicts, and that nothing is left without one.
    fn words(&mut self) -> Vec<&'static str> {
        let words = self.verdicts().into_iter().map(|(_, word, _)| word).collect();
        assert!(self.bench.core.is_idle(), "parts are left open");
        words
    }
}

/// It enters at 1000 mm and is 60 mm long: its middle is in that of the gate at 1130 mm, and before the ejector at 1430 mm.
const PART: (f64, f64) = (1000.0, 60.0);

#[test]
fn a_part_is_inspected_where_it_is_nearest_to_the_middle_and_decided_once() {
    let mut gate = Gate::new(&[PART]);
    gate.frames(900..1400);
    let chosen = gate.chosen.iter().map(|(ms, _)| *ms).collect::<Vec<_>>();
    assert_eq!(chosen, [1100, 1120, 1140], "30 mm before the middle at the earliest");
    gate.judged(1400, &[0.5, 0.7, 0.6]);
    assert_eq!(fates(&gate.seen), ["passed"]);
    let [record] = &gate.records()[..] else { panic!("one part has one record") };
    let views = record.views.iter().map(|view| (view.captured, view.offset.as_mm(), view.outcome.clone()));
    let view = |ms, offset, score| (at_ms(ms), offset, Some(Ok(score)));
    assert_eq!(views.collect::<Vec<_>>(), [view(1100, -30.0, 0.5), view(1120, -10.0, 0.7), view(1140, 10.0, 0.6)],);
    let judgement = record.judgement.as_ref().unwrap();
    assert_eq!((judgement.score, record.ticket, record.captured), (0.7, Some(record.views[1].ticket), at_ms(1120)));
    assert_eq!(record.seen, Some(at_ms(1020)));
    assert_eq!((record.planned, raised(&gate.seen)), (at_ms(1430), vec![]));
}

#[test]
fn any_bad_frame_makes_it_bad_and_it_is_rejected_where_it_is() {
    for scores in [[1.5, 0.5, 0.5], [0.5, 1.5, 0.5], [0.5, 0.5, 1.5]] {
        let mut gate = Gate::new(&[PART]);
        gate.frames(900..1180);
        gate.judged(1180, &scores);
        gate.tick(1200);
        gate.frames(1200..1400);
        assert_eq!(fires(&gate.seen), [(0, 1430)], "{scores:?}");
        assert_eq!(gate.words(), ["reject"]);
    }
}

#[test]
fn their_mean_can_count_instead() {
    for (scores, word) in [([1.5, 0.7, 0.5], "pass"), ([1.5, 1.0, 0.6], "reject"), ([f32::NAN, 0.1, 0.1], "reject")] {
        let mut gate = Gate::with(&[PART], |rules| rules.combine = Combine::Mean);
        gate.frames(900..1180);
        gate.judged(1180, &scores);
        gate.frames(1180..1400);
        assert_eq!(gate.words(), [word], "{scores:?}");
        let record = &gate.records()[0];
        let score = record.judgement.as_ref().unwrap().score;
        let mean = scores.iter().sum::<f32>() / 3.0;
        assert!((score - mean).abs() < 1e-6 || mean.is_nan() && score.is_nan(), "{score}");
        assert_eq!(record.ticket, Some(record.views[0].ticket), "the worst frame is shown");
    }
}

#[test]
fn too_few_judged_frames_are_no_verdict() {
    let mut gate = Gate::with(&[PART], |rules| rules.frames = 2);
    gate.frames(900..1180);
    let chosen = std::mem::take(&mut gate.chosen);
    gate.judge(chosen[0].1, 1180, 0.5);
    for (_, ticket) in &chosen[1..] {
        let told = gate.bench.tell(1190, Happening::Inspected(*ticket, Err("the network failed".into())));
        gate.take(1190, told);
    }
    gate.frames(1180..1240);
    assert_eq!(gate.words(), ["faulted"]);

    let mut late = Gate::with(&[PART], |rules| rules.frames = 2);
    late.frames(900..1240);
    let chosen = std::mem::take(&mut late.chosen);
    late.judge(chosen[1].1, 1300, 0.5);
    assert_eq!(late.bench.core.next_wakeup(), Some(at_ms(1425)));
    late.tick(1425);
    assert_eq!(fires(&late.seen), [(0, 1430)]);
    let is_forgotten = |ticket| late.seen.contains(&Action::Forget(ticket));
    let forgotten = chosen.iter().map(|(_, ticket)| is_forgotten(*ticket)).collect::<Vec<_>>();
    assert_eq!(forgotten, [true, false, true], "once it is decided, what nobody needs any more is not inspected");
    assert_eq!(late.words(), ["late"]);
}

#[test]
fn a_part_of_which_one_frame_tells_nothing_does_not_pass() {
    for (score, word) in [(0.5, "faulted"), (1.5, "reject")] {
        let mut gate = Gate::new(&[PART]);
        gate.frames(900..1180);
        let chosen = std::mem::take(&mut gate.chosen);
        chosen[1..].iter().for_each(|(_, ticket)| gate.judge(*ticket, 1180, score));
        let told = gate.bench.tell(1190, Happening::Inspected(chosen[0].1, Err("it looks like a nut".into())));
        gate.take(1190, told);
        gate.frames(1180..1240);
        assert_eq!(gate.words(), [word]);
    }
}

#[test]
fn a_part_tells_what_its_shown_picture_was_refused_for_and_each_frame_its_own() {
    let statistics = Statistics { brightness: 9.0, saturated: 0.0, sharpness: 0.1, red: 0.3, blue: 0.3 };
    let dark = PictureFault { fault: Fault::TooDark(9.0, 20.0), statistics, calibration: Some(Digest::zero()) };
    for all_dark in [true, false] {
        let mut gate = Gate::new(&[PART]);
        gate.frames(900..1180);
        let chosen = std::mem::take(&mut gate.chosen);
        let refused = if all_dark { chosen.len() } else { 1 };
        for (_, ticket) in &chosen[..refused] {
            let outcome = Err(Uninspected { why: "too dark".into(), picture: Some(dark) });
            let told = gate.bench.tell(1180, Happening::Inspected(*ticket, outcome));
            gate.take(1180, told);
        }
        chosen[refused..].iter().for_each(|(_, ticket)| gate.judge(*ticket, 1190, 0.5));
        gate.frames(1180..1240);
        assert_eq!(gate.words(), ["faulted"]);
        let record = &gate.records()[0];
        assert_eq!(record.picture_fault, all_dark.then_some(dark), "of the frame that the record shows");
        let first = record.views[0].outcome.clone().unwrap().unwrap_err();
        assert_eq!(first.picture, Some(dark));
    }
}

#[test]
fn frames_that_cannot_be_read_from_the_first_one_on_do_not_hide_the_belt() {
    let mut gate = Gate::new(&[PART]);
    for ms in (900..1100).step_by(20) {
        let sighting = gate.sighting(ms);
        let told = gate.bench.tell(ms, Happening::Broken(sighting, "it is damaged".into()));
        gate.take(ms, told);
    }
    assert!(raised(&gate.seen).contains(&Alarm::MissedReject));
}

#[test]
fn a_frame_that_cannot_be_read_hides_no_more_of_the_belt_than_the_gate_is_long() {
    for (broken, is_told) in [(1000..1040, false), (1000..1060, true), (900..1000, true)] {
        // Parts are 70 to 80 mm long: in a gate of 200 mm, 60 mm may go by between two frames.
        let mut gate = Gate::with(&[], |rules| rules.shortest = mm(70.0));
        for ms in (900..1100).step_by(20) {
            if !broken.contains(&ms) {
                gate.frame(ms);
                continue;
            }
            let broken = Happening::Broken(gate.sighting(ms), "it is damaged".into());
            let told = gate.bench.tell(ms, broken);
            gate.take(ms, told);
        }
        assert_eq!(raised(&gate.seen).contains(&Alarm::MissedReject), is_told, "{broken:?}: {:?}", gate.seen);
    }
}

#[test]
fn several_parts_travel_through_at_once() {
    let parts = [(1000.0, 40.0), (1070.0, 60.0), (1150.0, 30.0), (1200.0, 50.0)];
    let mut gate = Gate::new(&parts);
    for ms in (900..1500).step_by(10) {
        gate.frame(ms);
        gate.chosen.drain(..).collect::<Vec<_>>().into_iter().for_each(|(_, ticket)| {
            // What shows the third part is bad.
            let view = |record: &PartRecord| record.views.iter().any(|view| view.ticket == ticket);
            let part = gate.bench.core.open.iter().find(|(_, open)| view(&open.record)).map(|(part, _)| part);
            gate.judge(ticket, ms + 1, if part == Some(PartId(2)) { 2.0 } else { 0.1 });
        });
    }
    assert_eq!(gate.words(), ["pass", "pass", "reject", "pass"]);
    assert_eq!(fires(&gate.seen), [(2, 1565)], "1150 + 15 + 100 + 300 mm");
    assert!(gate.records().iter().all(|record| record.views.len() == 3), "each has frames of its own");
}

#[test]
fn a_part_that_appears_or_vanishes_in_the_middle_is_rejected_where_it_was_seen() {
    let mut appears = Gate::new(&[]);
    appears.frames(900..1080);
    appears.parts = vec![PART];
    appears.frames(1080..1200);
    appears.judged(1200, &[0.1]);
    appears.frames(1200..1300);
    assert_eq!(fires(&appears.seen), [(0, 1430)]);
    assert!(appears.verdicts()[0].2.as_ref().unwrap().contains("appeared in the middle"), "{:?}", appears.verdicts());

    let mut vanishes = Gate::new(&[PART]);
    vanishes.frames(900..1100);
    vanishes.parts.clear();
    vanishes.frames(1100..1460);
    assert_eq!((fires(&vanishes.seen), raised(&vanishes.seen)), (vec![(0, 1430)], vec![Alarm::Uninspected]));
    assert!(vanishes.verdicts()[0].2.as_ref().unwrap().contains("not seen where the belt says"));
}

#[test]
fn parts_that_touch_for_a_while_are_all_rejected() {
    // The second one catches up with the first one, and both go on as one.
    let mut gate = Gate::new(&[(1000.0, 40.0), (1060.0, 40.0)]);
    gate.frames(900..1120);
    gate.parts[1].0 = 1040.0;
    gate.frames(1120..1520);
    gate.chosen.clear();
    gate.tick(1500);
    assert!(gate.words().iter().all(|word| *word == "unfollowed"), "{:?}", gate.verdicts());
    assert!(gate.parts.iter().all(|part| gate.hits(*part)), "{:?}", fires(&gate.seen));

    // They came as one and part.
    let mut gate = Gate::new(&[(1000.0, 30.0), (1030.0, 30.0)]);
    gate.frames(900..1090);
    gate.parts[1].0 = 1045.0;
    gate.frames(1090..1520);
    gate.chosen.clear();
    gate.tick(1500);
    assert!(gate.words().iter().all(|word| *word == "unfollowed"), "{:?}", gate.verdicts());
    assert!(gate.parts.iter().all(|part| gate.hits(*part)), "{:?}", fires(&gate.seen));
}

#[test]
fn a_part_that_was_hidden_before_its_end_was_seen_is_hit_however_short_it_is() {
    // The second one is pushed against the first one while it enters; of it, no frame ever shows the end.
    for length in [16.0, 25.0, 40.0, 60.0] {
        let mut gate = Gate::new(&[(1000.0, 40.0), (1045.0, length)]);
        gate.frames(900..1070);
        gate.parts[1].0 = 1040.0;
        gate.frames(1080..1520);
        gate.chosen.clear();
        gate.tick(1600);
        assert!(gate.parts.iter().all(|part| gate.hits(*part)), "{length} mm: {:?}", fires(&gate.seen));
        assert!(gate.words().iter().all(|word| *word == "unfollowed"), "{:?}", gate.verdicts());
        let last = fires(&gate.seen).iter().map(|(_, ms)| *ms).max().unwrap();
        assert!(last <= 1480 + length as u64, "what comes behind it is left alone: {:?}", fires(&gate.seen));
    }
}

#[test]
fn a_part_whose_end_no_frame_showed_is_hit_however_short_it_is() {
    for length in [12.0, 25.0, 70.0] {
        // No frame comes any more once it has begun to enter.
        let enters = (1050.0, length);
        let mut gate = Gate::new(&[enters]);
        gate.frames(900..1070);
        gate.tick(1200);
        (1200..1600).step_by(5).for_each(|ms| gate.tick(ms));
        assert!(gate.hits(enters), "{length} mm: {:?}", fires(&gate.seen));
        assert!(gate.words().iter().all(|word| *word == "lost"), "{:?}", gate.verdicts());

        // The first frame shows it while it leaves.
        let leaves = (1030.0 - length, length);
        let mut gate = Gate::new(&[leaves]);
        gate.frames(1220..1400);
        assert!(gate.hits(leaves), "{length} mm: {:?}", fires(&gate.seen));
        assert!(gate.words().iter().all(|word| *word == "lost"), "{:?}", gate.verdicts());
    }
}

/// A part of which a frame shows 50 mm, in a gate that lies but 220 mm before the ejector: no act may come too late, nor be more than one part.
#[test]
fn one_lost_part_has_one_record_and_is_ejected_in_time_wherever_it_may_end() {
    let near = |skipped| Rules { skipped, ..rules(|_| {}) };
    for is_leaving in [true, false] {
        for length in [50.0, 60.0, 80.0] {
            for skipped in [SkippedPolicy::Reject, SkippedPolicy::Count] {
                let part = match is_leaving {
                    // The first frame comes at 1220 mm, and shows its last 50 mm.
                    true => (1070.0 - length, length),
                    // The last one came at 1060 mm, and showed its first 50 mm.
                    false => (1010.0, length),
                };
                let mut gate = Gate::new(&[part]);
                let mut rules = near(skipped);
                rules.lanes[0].ejector.distance = mm(220.0);
                rules.limits = Limits { in_a_row: Some(2), ..Limits::default() };
                gate.bench = Bench::new(rules);
                match is_leaving {
                    true => gate.frames(1220..1700),
                    false => gate.frames(900..1061),
                }
                (1061..1700).step_by(if is_leaving { 1000 } else { 1 }).for_each(|ms| gate.tick(ms));
                let case = format!("leaves {is_leaving}, {length} mm, {skipped:?}");
                let word = gate.words();
                assert_eq!(word, ["lost"], "{case}: {:?}", gate.verdicts());
                assert_eq!(raised(&gate.seen), [Alarm::Uninspected], "{case}");
                let is_counted = skipped == SkippedPolicy::Count;
                assert_eq!(fates(&gate.seen), [if is_counted { "unaccounted" } else { "rejected" }], "{case}");
                let fires = fires(&gate.seen);
                assert_eq!(fires.is_empty(), is_counted, "{case}: {fires:?}");
                let (middle, dwell) = (part.0 + length / 2.0 + GATE / 2.0 + 220.0, 30.0);
                let is_hit = fires.iter().any(|(_, ms)| (*ms as f64..=*ms as f64 + dwell).contains(&middle));
                assert_eq!(is_hit, !is_counted, "{case}: {fires:?}, its middle {middle}");
                assert_eq!(gate.bench.core.counters().parts, 1, "{case}");
            }
        }
    }
}

#[test]
fn a_part_whose_end_no_frame_showed_may_need_several_acts_and_has_one_record() {
    let orders = |gate: &Gate| {
        let order = |action: &Action| match action {
            Action::Fire(order) => Some(order.clone()),
            _ => None,
        };
        gate.seen.iter().filter_map(order).collect::<Vec<_>>()
    };
    // The ejector acts on 10 mm of the belt at once.
    let of_short_pulses = || {
        let mut rules = rules(|_| {});
        rules.lanes[0].ejector.dwell = std::time::Duration::from_millis(10);
        rules
    };
    let lost = || {
        let mut gate = Gate::new(&[(1045.0, 70.0)]);
        gate.bench = Bench::new(of_short_pulses());
        gate.frames(900..1061);
        (1061..1500).for_each(|ms| gate.tick(ms));
        gate
    };
    let mut gate = lost();
    let given = orders(&gate);
    assert!(given.len() > 2 && given.iter().all(|order| order.part == PartId(0)), "{given:?}");
    assert!(given.windows(2).all(|pair| pair[0].at < pair[1].at && pair[1].at <= pair[0].at + pair[0].pulse));
    assert!(gate.records().is_empty(), "its fate is open until the last one is reported");
    assert_eq!((gate.words(), fates(&gate.seen)), (vec!["lost"], vec!["rejected"]));
    assert_eq!(gate.records()[0].fired, Some(given[0].at));

    // One that failed makes it unaccounted, whatever the others did, and none of those is left out.
    for failed in 0..given.len() {
        let mut gate = lost();
        for (k, order) in given.iter().enumerate() {
            let result = if k == failed { Err("no port".to_owned()) } else { Ok(order.at) };
            let told = gate.bench.tell(1500 + k as u64, Happening::Fired(order.part, result));
            gate.take(1500, told);
        }
        assert_eq!((fates(&gate.seen), orders(&gate).len()), (vec!["unaccounted"], given.len()), "{failed}");
        assert!(raised(&gate.seen).contains(&Alarm::MissedReject));
    }

    // So does one that comes too late: its record tells when that one was due, though others could still be done.
    let mut late = Gate::new(&[(1045.0, 70.0)]);
    late.bench = Bench::new(of_short_pulses());
    late.frames(900..1061);
    let first = given[0].at.as_nanos() / 1_000_000;
    late.tick(first + 21);
    assert!((1..given.len()).contains(&orders(&late).len()), "{:?}", orders(&late));
    late.fired();
    assert_eq!((fates(&late.seen), raised(&late.seen).contains(&Alarm::MissedReject)), (vec!["unaccounted"], true));
    assert_eq!(late.records()[0].planned, given[0].at);

    // A report that got lost does too, once it was waited for long enough.
    let mut gate = lost();
    for order in &given[1..] {
        let told = gate.bench.tell(1500, Happening::Fired(order.part, Ok(order.at)));
        gate.take(1500, told);
    }
    assert_eq!(fates(&gate.seen), [] as [&str; 0]);
    gate.tick(3000);
    assert_eq!(fates(&gate.seen), ["unaccounted"]);
}

#[test]
fn one_lost_part_is_one_piece_of_a_challenge() {
    let mut gate = Gate::new(&[(1045.0, 70.0), (1300.0, 60.0)]);
    let challenge = Challenge { pieces: 2, lane: None, within: std::time::Duration::from_secs(60), by: "Anna".into() };
    gate.bench.tell(800, Happening::Challenged(challenge));
    gate.frames(900..1070);
    gate.frames(1240..1520);
    let chosen = std::mem::take(&mut gate.chosen);
    chosen.iter().for_each(|(_, ticket)| gate.judge(*ticket, 1520, 2.0));
    gate.frames(1520..1800);
    gate.fired();
    let pieces = gate.records().into_iter().map(|record| (record.part.0, record.challenge)).collect::<Vec<_>>();
    assert_eq!(pieces, [(0, true), (1, true)]);
}

#[test]
fn what_was_rejected_wherever_it_may_lie_is_not_rejected_again() {
    // No frame comes while it is decided about; then it is not where it should be.
    let mut gate = Gate::new(&[(1045.0, 60.0)]);
    gate.bench = Bench::new({
        let mut rules = rules(|_| {});
        rules.lanes[0].ejector.distance = mm(20.0);
        rules
    });
    gate.frames(900..1090);
    (1090..1180).for_each(|ms| gate.tick(ms));
    gate.fired();
    assert_eq!(gate.records().len(), 1, "{:?}", gate.seen);
    gate.parts.clear();
    gate.frames(1180..1500);
    assert_eq!(gate.words(), ["lost"], "{:?}", gate.verdicts());
}

#[test]
fn a_lost_part_reaches_no_farther_than_its_neighbour() {
    let track = |lead: Option<f64>, trail: Option<f64>, lo: f64, hi: f64, part: u64| Track {
        part: PartId(part),
        now: Edges { lead: lead.map(mm), trail: trail.map(mm) },
        first: Edges::default(),
        between: Edges::default(),
        within: Edges::default(),
        lo: mm(lo),
        hi: mm(hi),
        since: mm(0.0),
        viewed: None,
        is_astray: false,
        is_touching: false,
        is_several: false,
        doubt: None,
        decided: None,
    };
    let mut tracks = [track(Some(100.0), None, 100.0, 120.0, 0), track(Some(130.0), Some(180.0), 130.0, 180.0, 1)];
    bound(&mut tracks);
    let rules = free_run();
    assert_eq!(tracks[0].stretch(&rules), (mm(100.0), mm(130.0)));
    let middles = tracks[0].middles(&rules);
    assert_eq!((middles.first, middles.last), (mm(110.0), mm(115.0)));
    assert_eq!(tracks[1].stretch(&rules), (mm(130.0), mm(180.0)));
}

#[test]
fn what_is_longer_than_a_part_is_rejected_over_all_of_its_length() {
    // They touch wherever they may.
    for parts in [vec![60.0, 60.0], vec![40.0, 40.0, 40.0], vec![20.0; 6], vec![75.0, 6.0], vec![6.0, 75.0], vec![81.0]]
    {
        let enters = |k: usize| 1000.0 + parts[..k].iter().sum::<f64>();
        let mut gate = Gate::new(&parts.iter().enumerate().map(|(k, length)| (enters(k), *length)).collect::<Vec<_>>());
        gate.frames(900..1460);
        let missed = gate.parts.iter().filter(|part| !gate.hits(**part)).collect::<Vec<_>>();
        assert!(missed.is_empty(), "{missed:?} by {:?}", fires(&gate.seen));
        assert!(gate.words().iter().all(|word| *word == "unfollowed"));
    }
    let mut longest = Gate::new(&[(1000.0, 80.0)]);
    longest.frames(900..1180);
    longest.judged(1180, &[0.1, 0.1, 0.1]);
    longest.frames(1180..1300);
    assert_eq!(longest.words(), ["pass"]);
}

/// Edges are seen to so much only: what is longer than a part by less is so in some of its frames.
#[test]
fn what_one_frame_showed_to_be_longer_than_a_part_is_rejected_over_all_of_its_length() {
    for (first, second) in [(50.0, 30.5), (30.5, 50.0)] {
        let mut gate = Gate::new(&[(1000.0, first), (1000.0 + first, second)]);
        gate.frames(900..1120);
        gate.parts[1].1 -= 1.0;
        gate.frames(1120..1460);
        let missed = gate.parts.iter().filter(|part| !gate.hits(**part)).collect::<Vec<_>>();
        assert!(missed.is_empty(), "{missed:?} by {:?}", fires(&gate.seen));
        assert_eq!(gate.words(), ["unfollowed"]);
    }
}

/// Of what is doubted the middle alone is hit, where it seems to be one part: a frame that shows it longer comes after that.
#[test]
fn what_was_hit_in_its_middle_is_hit_all_over_once_it_shows_to_be_longer_than_a_part() {
    let mut gate = Gate::new(&[]);
    gate.frames(900..1120);
    gate.parts = vec![(1000.0, 50.0), (1050.0, 29.6)];
    gate.frames(1120..1200);
    gate.parts[1].1 += 0.8;
    gate.frames(1200..1460);
    let missed = gate.parts.iter().filter(|part| !gate.hits(**part)).collect::<Vec<_>>();
    assert!(missed.is_empty(), "{missed:?} by {:?}", fires(&gate.seen));
}

#[test]
fn what_attaches_itself_to_a_part_is_rejected_with_it() {
    for at in [1110, 1130, 1170] {
        let mut gate = Gate::new(&[PART]);
        gate.frames(900..at);
        gate.judged(at, &[0.1; 3][..gate.chosen.len()]);
        gate.parts.push((1060.0, 15.0));
        gate.frames(at.next_multiple_of(20)..1520);
        gate.chosen.clear();
        assert!(gate.hits((1060.0, 15.0)), "at {at}: {:?}", fires(&gate.seen));
        assert_eq!(gate.verdicts()[0].1, if at == 1170 { "pass" } else { "unfollowed" });
        assert!(gate.words()[1..].iter().all(|word| *word == "unfollowed"), "{:?}", gate.verdicts());
    }
}

#[test]
fn a_doubt_that_comes_too_late_for_the_ejector_is_told() {
    let mut gate = Gate::with(&[PART], |_| {});
    gate.bench = Bench::new({
        let mut rules = rules(|_| {});
        rules.lanes[0].ejector.distance = mm(20.0);
        rules
    });
    gate.frames(900..1145);
    let chosen = std::mem::take(&mut gate.chosen);
    chosen.iter().for_each(|(_, ticket)| gate.judge(*ticket, 1141, 0.1));
    assert_eq!(fates(&gate.seen), ["passed"]);
    gate.frames(1160..1180);
    gate.parts[0].1 = 75.0;
    gate.frames(1180..1200);
    assert!(raised(&gate.seen).contains(&Alarm::MissedReject), "{:?}", gate.seen);
}

#[test]
fn a_part_that_is_shorter_than_the_window_does_not_appear_or_vanish_unnoticed() {
    let short = (1000.0, 12.0);
    let mut appears = Gate::new(&[]);
    appears.frames(900..1080);
    appears.parts = vec![short];
    appears.frames(1080..1300);
    appears.chosen.clear();
    assert_eq!((appears.hits(short), appears.words()), (true, vec!["unfollowed"]));

    let mut vanishes = Gate::new(&[short]);
    vanishes.frames(900..1080);
    vanishes.parts.clear();
    vanishes.frames(1080..1300);
    assert_eq!((vanishes.hits(short), vanishes.words()), (true, vec!["unfollowed"]));

    let mut travels = Gate::new(&[short]);
    travels.frames(900..1160);
    travels.judged(1160, &[0.1, 0.1, 0.1]);
    travels.frames(1160..1300);
    assert_eq!(travels.words(), ["pass"], "at the borders it may be hidden");
}

#[test]
fn a_gate_that_is_full_stops_the_line() {
    let mut gate = Gate::new(&[(1000.0, 500.0)]);
    gate.frames(900..1240);
    assert!(raised(&gate.seen).contains(&Alarm::Faulty(Device::Gate(None))) && stops(&gate.seen));
    let stops = gate.seen.iter().filter(|action| matches!(action, Action::StopLine(_))).count();
    assert_eq!(stops, 1, "once");
}

#[test]
fn a_part_that_no_frame_showed_whole_is_rejected_and_one_that_none_showed_is_told_of() {
    let mut gate = Gate::new(&[PART]);
    gate.frames(900..1060);
    gate.frames(1200..1440);
    assert_eq!((fires(&gate.seen), gate.words()), (vec![(0, 1430)], vec!["lost"]));

    let mut unseen = Gate::new(&[PART]);
    unseen.frames(900..1000);
    unseen.frame(1170);
    assert_eq!(
        raised(&unseen.seen),
        [],
        "190 mm: 5 mm at either end are too short to be seen, but no part is as short"
    );
    let mut unseen = Gate::new(&[PART]);
    unseen.frames(900..1000);
    unseen.frame(1171);
    assert_eq!(raised(&unseen.seen), [Alarm::MissedReject], "a part may lie at either end");
    let mut unseen = Gate::new(&[PART]);
    unseen.frames(900..1000);
    unseen.frame(1262);
    assert_eq!(raised(&unseen.seen), [Alarm::MissedReject]);
    for ms in (1300..2000).step_by(20) {
        let broken = Happening::Broken(unseen.sighting(ms), "cut off".into());
        let told = unseen.bench.tell(ms, broken);
        unseen.seen.extend(told);
    }
    let Some(Action::RaiseAlarm(_, why)) = unseen.seen.iter().find(|action| matches!(action, Action::RaiseAlarm(..)))
    else {
        panic!("no alarm")
    };
    assert!(why.contains("went by without a frame"), "{why}");
}

#[test]
fn a_belt_of_another_speed_than_is_configured_stops_the_line() {
    let mut gate = Gate::new(&[(1000.0, 50.0), (1100.0, 50.0)]);
    gate.frames(900..1140);
    // It stands with two parts in view, and the clock goes on.
    (1140..2000).step_by(20).for_each(|ms| gate.frame_of(ms, 1120.0));
    assert!(raised(&gate.seen).contains(&Alarm::Faulty(Device::Gate(None))) && stops(&gate.seen), "{:?}", gate.seen);
    // The second one has not come in: it is hit wherever it may end, and has one record.
    (2000..2200).for_each(|ms| gate.tick(ms));
    let acts =
        fires(&gate.seen).into_iter().filter(|(part, _)| *part == 1).map(|(_, ms)| ms as f64).collect::<Vec<_>>();
    for length in [20.0, 50.0, 80.0] {
        let middle = 1100.0 + length / 2.0 + 400.0;
        assert!(acts.iter().any(|ms| (*ms..*ms + 30.0).contains(&middle)), "{length} mm: {acts:?}");
    }
    let verdicts = gate.verdicts();
    assert_eq!(verdicts.iter().filter(|(part, ..)| *part == 1).count(), 1);
    assert!(verdicts.iter().all(|(_, word, _)| *word != "pass"));
}

mod encoder {
    use super::*;

    /// The belt at `mm` at `ms`, told by an encoder.
    fn moves(gate: &mut Gate, ms: u64, place: f64) {
        let told = gate.bench.tell(ms, Happening::Moved(mm(place)));
        gate.take(ms, told);
    }

    fn with_encoder(parts: &[(f64, f64)]) -> Gate {
        let mut gate = Gate::new(parts);
        gate.bench = Bench::new(Rules { drive: Drive::Encoder, ..rules(|_| {}) });
        gate
    }

    /// 1 mm in 1 ms from `belt` on, with a frame every 20 ms.
    fn runs(gate: &mut Gate, ms: std::ops::Range<u64>, belt: f64) -> f64 {
        let from = ms.start;
        for now in ms.clone().step_by(10) {
            let place = belt + (now - from) as f64;
            moves(gate, now, place);
            if (now - from).is_multiple_of(20) {
                gate.frame_of(now, place);
            }
        }
        belt + (ms.end - from) as f64
    }

    #[test]
    fn a_part_waits_in_view_while_the_belt_stands_and_is_decided_once() {
        let mut gate = with_encoder(&[PART]);
        let belt = runs(&mut gate, 10_000..10_230, 900.0);
        for ms in (10_230..40_000).step_by(20) {
            gate.frame_of(ms, belt - 10.0);
        }
        assert!(gate.chosen.len() <= 3, "it is not inspected for as long as it stands: {}", gate.chosen.len());
        assert_eq!(gate.records().len(), 0);
        moves(&mut gate, 40_000, belt - 10.0);
        runs(&mut gate, 40_010..40_200, belt);
        let chosen = gate.chosen.len();
        assert_eq!(chosen, 3);
        gate.judged(40_200, &[0.1, 0.1, 1.2]);
        runs(&mut gate, 40_200..40_520, belt + 190.0);
        assert_eq!(gate.words(), ["reject"], "{:?}", gate.seen);
        let [(0, at)] = fires(&gate.seen)[..] else { panic!("{:?}", fires(&gate.seen)) };
        // Its middle is before the ejector when the belt is at 1430 mm.
        let due = 40_200 + (1430 - (belt + 190.0) as u64);
        assert!(at.abs_diff(due) <= 2, "{at}, due at {due}");
    }

    /// A belt that stops between two counts is taken to have gone on for one more: its frame shows edges elsewhere, by less than the window.
    #[test]
    fn what_one_frame_showed_to_be_a_part_is_not_longer_where_the_belt_stops_while_it_leaves() {
        let leaving = |parts: &[(f64, f64)]| {
            let mut gate = with_encoder(parts);
            let belt = runs(&mut gate, 10_000..10_350, 900.0);
            let chosen = gate.chosen.len();
            gate.judged(10_350, &vec![0.1; chosen]);
            moves(&mut gate, 10_350, belt);
            gate.frame_of(10_355, belt);
            runs(&mut gate, 12_000..12_350, belt);
            gate.words()
        };
        assert_eq!(leaving(&[(1000.0, 79.5)]), ["pass"], "it was decided, and is the same one");
        assert_eq!(leaving(&[(1000.0, 70.0)]), ["pass"]);
        // What each frame shows to be longer is excused by nothing.
        assert_eq!(leaving(&[(1000.0, 70.0), (1070.0, 11.0)]), ["unfollowed"]);
    }

    #[test]
    fn a_belt_that_goes_back_makes_no_second_part_of_one() {
        let mut gate = with_encoder(&[PART]);
        let belt = runs(&mut gate, 10_000..10_300, 900.0);
        gate.judged(10_300, &[0.1, 0.1, 0.1]);
        for (k, ms) in (10_300..10_600).step_by(20).enumerate() {
            let place = belt - 10.0 * k as f64;
            moves(&mut gate, ms, place);
            gate.frame_of(ms, place);
        }
        runs(&mut gate, 10_600..11_200, belt - 140.0);
        assert_eq!(gate.words(), ["pass"], "it was decided, and is the same one");
        assert_eq!(gate.chosen.len(), 0, "nor is it inspected again");
    }

    #[test]
    fn an_encoder_that_counts_nothing_is_not_believed() {
        let mut gate = with_encoder(&[(1000.0, 40.0), (1060.0, 40.0), (1120.0, 40.0)]);
        let belt = runs(&mut gate, 10_000..10_200, 900.0);
        for (k, ms) in (10_200..10_400).step_by(20).enumerate() {
            gate.frame_of(ms, belt + 20.0 * k as f64);
        }
        assert!(raised(&gate.seen).contains(&Alarm::Faulty(Device::Encoder)), "{:?}", gate.seen);
        assert!(raised(&gate.seen).contains(&Alarm::MissedReject));
        assert!(gate.records().iter().all(|record| record.fate != Fate::Passed));
        assert!(gate.records().len() <= 6, "nor does each frame bring new parts: {}", gate.records().len());
    }

    #[test]
    fn an_encoder_that_counts_nothing_is_not_believed_where_parts_are_short_either() {
        let parts = (0..200).map(|k| (1000.0 + 50.0 * f64::from(k), 12.0)).collect::<Vec<_>>();
        let mut gate = with_encoder(&parts);
        let belt = runs(&mut gate, 10_000..10_200, 900.0);
        for (k, ms) in (10_200..10_400).step_by(20).enumerate() {
            gate.frame_of(ms, belt + 25.0 * k as f64);
            assert!(gate.bench.core.lanes[0].procession.tracks.len() < 16, "not each frame's are new ones");
        }
        assert!(raised(&gate.seen).contains(&Alarm::Faulty(Device::Encoder)), "{:?}", gate.seen);
        assert!(gate.records().iter().all(|record| record.fate != Fate::Passed));
    }

    #[test]
    fn an_encoder_that_is_gone_leaves_no_part_to_chance() {
        let mut gate = with_encoder(&[PART]);
        runs(&mut gate, 10_000..10_200, 900.0);
        let gone = gate.bench.tell(10_210, Happening::Fault(Device::Encoder, "unplugged".into()));
        assert_eq!(fates(&gone), ["unaccounted"]);
        gate.frame_of(10_220, 1120.0);
        assert!(gate.bench.core.is_idle(), "nobody knows where it would be");

        // One that comes only then has no record; somebody is told that it goes by.
        let mut unseen = with_encoder(&[PART]);
        runs(&mut unseen, 10_000..10_040, 900.0);
        let gone = unseen.bench.tell(10_050, Happening::Fault(Device::Encoder, "unplugged".into()));
        unseen.frame_of(10_060, 950.0);
        assert!(!raised(&[gone, unseen.seen.clone()].concat()).contains(&Alarm::MissedReject));
        unseen.frame_of(10_080, 1120.0);
        assert!(raised(&unseen.seen).contains(&Alarm::MissedReject));
    }
}
