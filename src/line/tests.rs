//! What the core does with single events; what must hold whatever happens is looked at in [`crate::simulate`].

use std::time::Duration;

use super::*;
use crate::digest::Digest;
use crate::picture::{Fault, Statistics};
use crate::time::StampSource;

/// 150 ms from the camera to the ejector.
pub(super) fn rules() -> Rules {
    let ms = Duration::from_millis;
    Rules::timed(ms(150), ms(30), ms(20))
}

/// The same rules with something else in every lane.
fn with(rules: Rules, change: impl Fn(&mut LaneRules)) -> Rules {
    let mut rules = rules;
    rules.lanes.iter_mut().for_each(change);
    rules
}

pub(super) fn at_ms(ms: u64) -> Monotonic {
    Monotonic::from_nanos(ms * 1_000_000)
}

/// A core, what it did, and a shorter way to tell it things.
pub(super) struct Bench {
    pub(super) core: LineCore,
    actions: Vec<Action>,
}

impl Bench {
    pub(super) fn new(rules: Rules) -> Self {
        Bench { core: LineCore::new(rules), actions: Vec::new() }
    }

    /// Tells what happened at `ms`, and gives what followed.
    pub(super) fn tell(&mut self, ms: u64, what: Happening) -> Vec<Action> {
        self.actions.clear();
        self.core.handle(Event { at: at_ms(ms), what }, &mut self.actions);
        self.actions.clone()
    }

    pub(super) fn frame(&mut self, ticket: u64, ms: u64) -> Vec<Action> {
        self.tell(ms, Happening::Captured(sighting(ticket, ms)))
    }

    pub(super) fn judged(&mut self, ticket: u64, ms: u64, rejects: bool) -> Vec<Action> {
        let judgement = Judgement {
            score: 0.0,
            threshold: 1.0,
            rejects,
            calibration: Digest::zero(),
            evidence: Evidence::default(),
        };
        self.tell(ms, Happening::Inspected(Ticket(ticket), Ok((judgement, Latency::default()))))
    }
}

fn sighting(ticket: u64, ms: u64) -> Sighting {
    let (stamp, origin, class) = (StampSource::EndOfFrame, "belt".into(), "washer".into());
    let (lane, frame) = (Lane(0), ticket);
    Sighting { ticket: Ticket(ticket), lane, frame, captured: at_ms(ms), stamp, origin, class }
}

/// When parts are to be rejected, in milliseconds.
pub(super) fn fires(actions: &[Action]) -> Vec<(u64, u64)> {
    let fire = |action: &Action| match action {
        Action::Fire(order) => Some((order.part.0, order.at.as_nanos() / 1_000_000)),
        _ => None,
    };
    actions.iter().filter_map(fire).collect()
}

pub(super) fn fates(actions: &[Action]) -> Vec<&'static str> {
    let fate = |action: &Action| match action {
        Action::Record(record) => Some(record.fate.as_str()),
        _ => None,
    };
    actions.iter().filter_map(fate).collect()
}

pub(super) fn raised(actions: &[Action]) -> Vec<Alarm> {
    let alarm = |action: &Action| match action {
        Action::RaiseAlarm(alarm, _) => Some(*alarm),
        _ => None,
    };
    actions.iter().filter_map(alarm).collect()
}

pub(super) fn stops(actions: &[Action]) -> bool {
    actions.iter().any(|action| matches!(action, Action::StopLine(_)))
}

/// A frame that is captured and arrives at `ms`.
fn captured(core: &mut LineCore, frame: u64, ms: u64, actions: &mut Vec<Action>) {
    let sighting = Sighting { frame, ..sighting(ms, ms) };
    core.handle(Event { at: at_ms(ms), what: Happening::Captured(sighting) }, actions);
}

#[test]
fn a_part_passes_only_by_a_verdict_that_left_time_to_arm_the_ejector() {
    // Captured at 1000 ms, at the ejector at 1150 ms.
    for (verdict_ms, passes) in [(1144, true), (1146, false)] {
        let mut core = LineCore::new(rules());
        let mut actions = Vec::new();
        captured(&mut core, 0, 1000, &mut actions);
        let judgement = Judgement {
            score: 0.0,
            threshold: 1.0,
            rejects: false,
            calibration: Digest::zero(),
            evidence: Evidence::default(),
        };
        let what = Happening::Inspected(Ticket(1000), Ok((judgement, Latency::default())));
        // No tick came in between: the rule does not depend on when somebody looked at the clock.
        core.handle(Event { at: Monotonic::from_nanos(verdict_ms * 1_000_000), what }, &mut actions);
        let fires = actions.iter().any(|action| matches!(action, Action::Fire(_)));
        assert_eq!((fires, core.is_idle()), (!passes, passes), "at {verdict_ms} ms: {actions:?}");
    }
}

#[test]
fn what_refused_a_picture_is_on_record_also_where_it_came_too_late() {
    let statistics = Statistics { brightness: 9.0, saturated: 0.0, sharpness: 0.1, red: 0.3, blue: 0.3 };
    let dark = PictureFault { fault: Fault::TooDark(9.0, 20.0), statistics, calibration: Some(Digest::zero()) };
    for (verdict_ms, reason) in [(1100, "faulted"), (1146, "late")] {
        let mut bench = Bench::new(rules());
        bench.frame(0, 1000);
        let mut told = bench.tell(verdict_ms - 1, Happening::Tick);
        let outcome = Err(Uninspected { why: dark.fault.to_string(), picture: Some(dark) });
        told.extend(bench.tell(verdict_ms, Happening::Inspected(Ticket(0), outcome)));
        told.extend(bench.tell(1150, Happening::Fired(PartId(0), Ok(at_ms(1150)))));
        let record = told.iter().find_map(|action| match action {
            Action::Record(record) => Some(record),
            _ => None,
        });
        let record = record.unwrap_or_else(|| panic!("{told:?}"));
        let why = match &record.verdict {
            Verdict::Unknown(why) => why.as_str(),
            _ => "",
        };
        assert_eq!((why, record.picture_fault), (reason, Some(dark)));
    }
}

#[test]
fn a_part_of_unknown_time_is_not_rejected_at_a_guess() {
    let mut core = LineCore::new(rules());
    let mut actions = Vec::new();
    let at = Monotonic::from_nanos(1_000_000_000);
    let (stamp, origin, class) = (StampSource::Doubtful, "belt".into(), "washer".into());
    let sighting = Sighting { ticket: Ticket(0), lane: Lane(0), frame: 0, captured: at, stamp, origin, class };
    core.handle(Event { at, what: Happening::Broken(sighting, "its stamp lies in the future".into()) }, &mut actions);
    let alarms = |alarm| actions.iter().any(|a| matches!(a, Action::RaiseAlarm(raised, _) if *raised == alarm));
    assert!(alarms(Alarm::MissedReject) && alarms(Alarm::Uninspected));
    assert!(!actions.iter().any(|action| matches!(action, Action::Fire(_))), "another part would be hit");
    assert_eq!(core.counters().unaccounted, 1);
}

#[test]
fn parts_that_were_lost_beside_one_of_unknown_time_are_not_rejected_at_a_guess_either() {
    for doubtful in [0, 3] {
        let mut core = LineCore::new(rules());
        let mut actions = Vec::new();
        for frame in [0, 3] {
            let at = Monotonic::from_nanos(1_000_000_000 + frame * 20_000_000);
            let stamp = if frame == doubtful { StampSource::Doubtful } else { StampSource::EndOfFrame };
            let (ticket, origin, class) = (Ticket(frame), "belt".into(), "washer".into());
            let sighting = Sighting { ticket, lane: Lane(0), frame, captured: at, stamp, origin, class };
            core.handle(Event { at, what: Happening::Captured(sighting) }, &mut actions);
        }
        assert!(!actions.iter().any(|action| matches!(action, Action::Fire(_))), "{actions:?}");
        assert_eq!(core.counters().lost, 2);
    }
}

#[test]
fn a_device_that_works_now_and_then_is_one_alarm() {
    let mut core = LineCore::new(rules());
    let mut actions = Vec::new();
    let mut at = |second: u64, what, actions: &mut Vec<Action>| {
        core.handle(Event { at: Monotonic::from_nanos(second * 1_000_000_000), what }, actions);
    };
    let fault = || Happening::Fault(Device::Output(None), "unplugged".into());
    for second in [0, 5, 14] {
        at(second, fault(), &mut actions);
        at(second + 1, Happening::Recovered(Device::Output(None)), &mut actions);
    }
    let raised = actions.iter().filter(|action| matches!(action, Action::RaiseAlarm(..))).count();
    let cleared = |actions: &[Action]| actions.contains(&Action::ClearAlarm(Alarm::Faulty(Device::Output(None))));
    assert!(raised == 1 && !cleared(&actions), "{actions:?}");
    at(26, Happening::Tick, &mut actions);
    assert!(cleared(&actions) && actions.contains(&Action::Health(Device::Output(None), Ok(()))), "{actions:?}");
}

#[test]
fn a_gap_is_filled_with_parts_between_their_neighbours() {
    let mut core = LineCore::new(rules());
    let mut actions = Vec::new();
    captured(&mut core, 5, 1000, &mut actions);
    captured(&mut core, 8, 1090, &mut actions);
    let fires = actions
        .iter()
        .filter_map(|action| match action {
            Action::Fire(order) => Some((order.part.0, order.at.as_nanos() / 1_000_000)),
            _ => None,
        })
        .collect::<Vec<_>>();
    assert_eq!(fires, [(1, 1180), (2, 1210)], "captured at 1030 and 1060 ms, travel 150 ms");

    actions.clear();
    captured(&mut core, 2, 1100, &mut actions);
    assert!(
        matches!(actions.as_slice(), [Action::Note(_), Action::Inspect(_)]),
        "a camera that counts anew lost nothing: {actions:?}"
    );

    actions.clear();
    captured(&mut core, 20_000, 60_000, &mut actions);
    let alarmed = actions.iter().any(|action| matches!(action, Action::RaiseAlarm(Alarm::MissedReject, _)));
    let stopped = actions.iter().any(|action| matches!(action, Action::StopLine(why) if why.contains("19997 frames")));
    assert!(alarmed && stopped, "so many parts do not go on unseen: {actions:?}");
}

/// The eye of all lanes, 100 mm before the camera.
fn photo_eye() -> PhotoEye {
    PhotoEye {
        own: false,
        to_camera: Length::from_mm(100.0),
        window: Length::from_mm(40.0),
        pitch: Length::from_mm(30.0),
        longest: Length::from_mm(200.0),
    }
}

mod eye {
    use super::*;

    /// 1 mm in 1 ms; the camera is 100 mm behind the eye and the ejector 150 mm behind the camera.
    fn rules() -> Rules {
        with(super::rules(), |lane| lane.find = Find::PhotoEye(photo_eye()))
    }

    #[test]
    fn the_first_frame_that_fits_is_the_parts() {
        let mut bench = Bench::new(rules());
        bench.tell(1000, Happening::Eye(None, true));
        assert_eq!(bench.frame(1, 1090), [Action::Forget(Ticket(1))], "the part is not there yet");
        assert_eq!(bench.frame(2, 1120), [Action::Inspect(Ticket(2))]);
        assert_eq!(bench.frame(3, 1130), [Action::Forget(Ticket(3))], "the part has its frame");
        let rejected = bench.judged(2, 1150, true);
        assert_eq!(fires(&rejected), [(0, 1250)], "by where the part is, not by when its frame was taken");
    }

    #[test]
    fn a_frame_that_came_before_its_edge_was_told_of_is_kept_for_it() {
        let mut bench = Bench::new(with(rules(), |lane| match &mut lane.find {
            Find::PhotoEye(eye) => eye.to_camera = Length::default(),
            Find::EveryFrame | Find::FreeRun(_) => unreachable!(),
        }));
        assert_eq!(bench.frame(1, 1005), []);
        let late = bench.tell(1000, Happening::Eye(None, true));
        assert_eq!(late, [Action::Inspect(Ticket(1))]);
        assert_eq!(bench.frame(2, 1060), []);
        assert_eq!(bench.tell(1085, Happening::Tick), [Action::Forget(Ticket(2))]);
    }

    #[test]
    fn a_part_that_no_frame_shows_is_rejected() {
        let mut bench = Bench::new(rules());
        bench.tell(1000, Happening::Eye(None, true));
        let passed_by = bench.frame(1, 1141);
        assert_eq!((fires(&passed_by), raised(&passed_by)), (vec![(0, 1250)], vec![Alarm::Uninspected]));
        bench.tell(2000, Happening::Eye(None, true));
        assert_eq!(bench.core.next_wakeup(), Some(at_ms(2245)));
        assert_eq!(fires(&bench.tell(2245, Happening::Tick)), [(1, 2250)]);
    }

    #[test]
    fn edges_that_are_closer_than_parts_are_holes_in_one() {
        let mut bench = Bench::new(rules());
        for ms in [1000, 1010, 1029, 1031] {
            bench.tell(ms, Happening::Eye(None, true));
            bench.tell(ms + 1, Happening::Eye(None, false));
        }
        assert_eq!(fates(&bench.tell(1400, Happening::Halt)).len(), 2, "one at 1000 and one at 1031 ms");
    }

    /// Of the part before the eye most has gone by: parts are 30 mm apart, and the next one comes 10 mm later.
    #[test]
    fn a_part_behind_one_that_was_before_the_eye_when_the_run_began_is_no_hole_in_it() {
        let mut bench = Bench::new(rules());
        bench.tell(1000, Happening::FoundDark(None));
        bench.tell(1005, Happening::Eye(None, false));
        bench.tell(1010, Happening::Eye(None, true));
        bench.tell(1020, Happening::Eye(None, true));
        assert_eq!(fates(&bench.tell(1400, Happening::Halt)).len(), 2, "that one, and one at 1010 ms with a hole");

        let mut bench = Bench::new(rules());
        bench.tell(1000, Happening::Eye(None, true));
        bench.tell(1010, Happening::FoundDark(None));
        bench.tell(1020, Happening::Eye(None, true));
        assert_eq!(fates(&bench.tell(1400, Happening::Halt)).len(), 1, "edges were lost in the midst of it");
    }

    #[test]
    fn an_eye_that_is_dark_when_the_run_begins_and_stays_so_stops_the_line() {
        let mut bench = Bench::new(rules());
        bench.tell(1000, Happening::FoundDark(None));
        assert!(!stops(&bench.frame(1, 1201)) && stops(&bench.frame(2, 1221)));
    }

    #[test]
    fn an_eye_that_stays_dark_stops_the_line() {
        let mut bench = Bench::new(rules());
        bench.tell(1000, Happening::Eye(None, true));
        assert!(!stops(&bench.frame(1, 1201)), "the edge at which it became light may be on its way");
        let blocked = bench.frame(2, 1221);
        assert!(raised(&blocked).contains(&Alarm::Faulty(Device::PhotoEye(None))) && stops(&blocked), "{blocked:?}");
    }

    /// The program stood still (SIGSTOP) while parts went by: their edges are told late, one by one, among other events of now.
    #[test]
    fn an_eye_whose_edges_are_told_late_is_not_blocked() {
        let mut bench = Bench::new(rules());
        bench.tell(1000, Happening::Eye(None, true));
        let mut told = bench.tell(5000, Happening::Tick);
        told.extend(bench.tell(1020, Happening::Eye(None, false)));
        told.extend((5000..5100).step_by(10).flat_map(|ms| bench.tell(ms, Happening::Tick)));
        assert!(!stops(&told), "{told:?}");
    }

    mod encoder {
        use super::*;

        /// A belt that moved 1 mm in 1 ms, told every 10 ms, from `from` to `until` ms, beginning at `mm`.
        fn moves(bench: &mut Bench, from: u64, until: u64, mm: u64) -> Vec<Action> {
            let told = (from..=until)
                .step_by(10)
                .flat_map(|ms| bench.tell(ms, Happening::Moved(Length::from_mm((mm + ms - from) as f64))));
            told.collect()
        }

        fn bench() -> Bench {
            let mut bench = Bench::new(Rules { drive: Drive::Encoder, ..rules() });
            moves(&mut bench, 1000, 1100, 0);
            bench.tell(1105, Happening::Eye(None, true));
            moves(&mut bench, 1110, 1210, 110);
            assert_eq!(bench.frame(1, 1210), [Action::Inspect(Ticket(1))]);
            bench
        }

        #[test]
        fn a_reject_waits_for_a_belt_that_stands_still() {
            let mut bench = bench();
            // The part was before the eye at 105 mm: it is before the ejector at 355 mm.
            moves(&mut bench, 1220, 1300, 220);
            assert_eq!(fires(&bench.judged(1, 1300, true)), [], "it is still 55 mm away");
            assert_eq!(bench.tell(9000, Happening::Tick), []);
            assert_eq!(bench.core.next_wakeup(), None, "nothing but the belt can change that");
            let fired = moves(&mut bench, 9000, 9050, 300);
            assert_eq!(fires(&fired), [(0, 9055)]);
        }

        #[test]
        fn a_verdict_is_not_late_while_the_belt_stands_still() {
            let mut bench = bench();
            bench.tell(1300, Happening::Tick);
            assert_eq!(fates(&bench.judged(1, 60_000, false)), ["passed"]);
        }

        #[test]
        fn two_parts_in_one_place_say_that_the_encoder_stands_still() {
            let mut bench = bench();
            bench.tell(1230, Happening::Eye(None, true));
            let found = bench.tell(1260, Happening::Eye(None, true));
            assert!(raised(&found).contains(&Alarm::Faulty(Device::Encoder)), "{found:?}");
            assert_eq!(fates(&found), ["unaccounted"; 3], "nobody knows where the parts are");
            assert!(raised(&found).contains(&Alarm::MissedReject));
            moves(&mut bench, 2000, 2050, 300);
            bench.tell(2055, Happening::Eye(None, true));
            moves(&mut bench, 2060, 2160, 360);
            assert_eq!(bench.frame(9, 2160), [Action::Inspect(Ticket(9))], "it moves again, and is believed again");
        }

        /// What comes next may be a hole in the part; two of them do not lie in one place.
        #[test]
        fn an_encoder_that_stops_to_count_behind_an_edge_hides_no_further_parts() {
            let mut bench = bench();
            bench.tell(1211, Happening::Eye(None, true));
            moves(&mut bench, 1220, 1225, 220);
            assert_eq!(raised(&bench.tell(1300, Happening::Eye(None, true))), []);
            let found = bench.tell(1400, Happening::Eye(None, true));
            assert!(raised(&found).contains(&Alarm::Faulty(Device::Encoder)), "{found:?}");
            assert_eq!(fates(&found), ["unaccounted"; 3], "nobody knows where the parts are");
        }

        #[test]
        fn teeth_that_lie_near_each_other_are_one_part() {
            let mut bench = bench();
            bench.tell(1211, Happening::Eye(None, true));
            moves(&mut bench, 1220, 1226, 220);
            assert_eq!(raised(&bench.tell(1226, Happening::Eye(None, true))), []);
            // 2 mm on, of 30 that are the least from part to part.
            moves(&mut bench, 1227, 1228, 227);
            let found = bench.tell(1228, Happening::Eye(None, true));
            assert!(raised(&found).is_empty() && fates(&found).is_empty(), "{found:?}");
        }

        #[test]
        fn an_encoder_that_is_gone_leaves_no_part_to_chance() {
            let mut bench = bench();
            let gone = bench.tell(1220, Happening::Fault(Device::Encoder, "unplugged".into()));
            assert_eq!(fates(&gone), ["unaccounted"]);
            assert_eq!(fates(&bench.tell(1240, Happening::Eye(None, true))), ["unaccounted"]);
        }
    }
}

mod ejector {
    use super::*;

    #[test]
    fn it_is_told_earlier_by_what_it_needs_to_act() {
        let mut bench = Bench::new(with(rules(), |lane| lane.ejector.delay = Duration::from_millis(12)));
        bench.frame(0, 1000);
        assert_eq!(fires(&bench.judged(0, 1050, true)), [(0, 1138)]);
    }

    #[test]
    fn what_it_cannot_do_in_time_is_unaccounted() {
        let rules = Rules { late: Consequence::StopLine, ..rules() };
        let mut bench = Bench::new(with(rules, |lane| lane.ejector.most_per_second = Some(2)));
        for k in 0..3 {
            bench.frame(k, 1000 + 40 * k);
        }
        assert_eq!(fires(&bench.judged(0, 1090, true)).len() + fires(&bench.judged(1, 1090, true)).len(), 2);
        let third = bench.judged(2, 1090, true);
        assert_eq!((fates(&third), stops(&third)), (vec!["unaccounted"], true));
    }

    /// The pulses of 30 ms, at the moments given in the order in which their parts are found bad, that an ejector makes which can act twice in
    /// a second.
    fn made_of(moments: &[u64], change: impl Fn(&mut Ejector)) -> Vec<u64> {
        let mut bench = Bench::new(with(rules(), |lane| {
            lane.ejector.most_per_second = Some(2);
            change(&mut lane.ejector);
        }));
        let mut in_time = moments.to_vec();
        in_time.sort_unstable();
        for (frame, ms) in in_time.iter().enumerate() {
            bench.frame(frame as u64, *ms);
        }
        let frame = |ms: &u64| in_time.iter().position(|other| other == ms).unwrap() as u64;
        let judged = moments.iter().flat_map(|ms| bench.judged(frame(ms), 1090, true)).collect::<Vec<_>>();
        fires(&judged).into_iter().map(|(_, at)| at - 150).collect()
    }

    #[test]
    fn a_pulse_that_merges_with_another_is_no_further_act() {
        let unchanged = |_: &mut Ejector| {};
        assert_eq!(made_of(&[1000, 1029, 1058, 1087], unchanged), [1000, 1029, 1058, 1087], "one long pulse");
        assert_eq!(made_of(&[1000, 1030, 1060], unchanged), [1000, 1030], "each begins when the one before has ended");
        let with_gap = |ejector: &mut Ejector| ejector.gap = Duration::from_millis(11);
        assert_eq!(made_of(&[1000, 1040, 1080], with_gap), [1000, 1040, 1080]);
        assert_eq!(made_of(&[1000, 1050, 1087], unchanged), [1000, 1050]);
        assert_eq!(made_of(&[1000, 1050, 1025, 1087], unchanged).len(), 4, "the third makes one of the first two");
        let by_message = |ejector: &mut Ejector| ejector.pulses_merge = false;
        assert_eq!(made_of(&[1000, 1010, 1020], by_message), [1000, 1010]);
    }

    fn confirming() -> Rules {
        let ms = Duration::from_millis;
        let confirm = Confirm { from: ms(20), until: ms(100), missing: Consequence::StopLine };
        with(rules(), |lane| lane.confirm = Some(confirm))
    }

    #[test]
    fn a_reject_that_the_sensor_saw_is_one() {
        let mut bench = Bench::new(confirming());
        bench.frame(0, 1000);
        bench.judged(0, 1050, true);
        assert_eq!(fates(&bench.tell(1150, Happening::Fired(PartId(0), Ok(at_ms(1150))))), [] as [&str; 0]);
        assert_eq!(fates(&bench.tell(1160, Happening::Confirmed(Lane(0)))), [] as [&str; 0], "nothing falls so fast");
        assert_eq!(fates(&bench.tell(1200, Happening::Confirmed(Lane(0)))), ["rejected"]);
    }

    #[test]
    fn a_reject_that_the_sensor_did_not_see_is_none() {
        let mut bench = Bench::new(confirming());
        bench.frame(0, 1000);
        bench.judged(0, 1050, true);
        bench.tell(1150, Happening::Fired(PartId(0), Ok(at_ms(1150))));
        let wakeup = bench.core.next_wakeup().unwrap().as_nanos() / 1_000_000;
        let missing = bench.tell(wakeup, Happening::Tick);
        assert_eq!((fates(&missing), raised(&missing)), (vec!["unaccounted"], vec![Alarm::Unconfirmed]));
        assert!(stops(&missing));
    }

    #[test]
    fn a_full_bin_is_an_alarm_until_it_is_empty() {
        let mut bench = Bench::new(Rules { bin_full: Consequence::StopLine, ..rules() });
        let full = bench.tell(1000, Happening::Bin(true));
        assert!(raised(&full) == [Alarm::BinFull] && stops(&full));
        assert_eq!(bench.tell(2000, Happening::Bin(true)), [], "once is enough");
        bench.tell(3000, Happening::Bin(false));
        assert_eq!(bench.tell(14_000, Happening::Tick), [Action::ClearAlarm(Alarm::BinFull)]);
    }
}

mod lanes {
    use super::*;

    /// Two lanes: 150 ms from the camera to the ejector in the left one, 250 ms in the right one.
    fn rules() -> Rules {
        let mut rules = super::rules();
        let left = LaneRules { name: Some("left".into()), ..rules.lanes.remove(0) };
        let mut right = LaneRules { name: Some("right".into()), ..left.clone() };
        right.ejector.distance = Length::from_mm(250.0);
        Rules { lanes: vec![left, right], ..rules }
    }

    /// What one frame of the camera shows of both lanes; the tickets count from twice its number.
    fn frame(bench: &mut Bench, frame: u64, ms: u64) -> Vec<Action> {
        let sees = |lane: u64| Sighting { lane: Lane(lane as usize), frame, ..sighting(2 * frame + lane, ms) };
        [0, 1].into_iter().flat_map(|lane| bench.tell(ms, Happening::Captured(sees(lane)))).collect()
    }

    fn orders(actions: &[Action]) -> Vec<(u64, usize, u64)> {
        let order = |action: &Action| match action {
            Action::Fire(order) => Some((order.part.0, order.lane.0, order.at.as_nanos() / 1_000_000)),
            _ => None,
        };
        actions.iter().filter_map(order).collect()
    }

    fn records(actions: &[Action]) -> Vec<(u64, String, &'static str)> {
        let record = |action: &Action| match action {
            Action::Record(record) => Some((record.part.0, record.lane.as_deref()?.to_owned(), record.fate.as_str())),
            _ => None,
        };
        actions.iter().filter_map(record).collect()
    }

    #[test]
    fn a_frame_is_a_part_of_each_lane_and_a_bad_one_fires_its_own_ejector_alone() {
        let mut bench = Bench::new(rules());
        assert_eq!(frame(&mut bench, 0, 1000), [Action::Inspect(Ticket(0)), Action::Inspect(Ticket(1))]);
        let good = bench.judged(0, 1040, false);
        assert_eq!((records(&good), orders(&good)), (vec![(0, "left".into(), "passed")], vec![]));
        let bad = bench.judged(1, 1050, true);
        assert_eq!(orders(&bad), [(1, 1, 1250)], "as far as the right lane's ejector is away");
        let fired = bench.tell(1250, Happening::Fired(PartId(1), Ok(at_ms(1250))));
        assert_eq!(records(&fired), [(1, "right".into(), "rejected")]);
        assert!(bench.core.is_idle());
    }

    #[test]
    fn a_frame_that_never_arrived_is_a_part_of_each_lane() {
        let mut bench = Bench::new(rules());
        frame(&mut bench, 0, 1000);
        let after = frame(&mut bench, 2, 1100);
        assert_eq!(orders(&after), [(2, 0, 1200), (4, 1, 1300)], "captured at 1050 ms");
    }

    #[test]
    fn each_lane_is_due_in_its_own_time() {
        let mut rules = rules();
        rules.lanes[1].ejector.delay = Duration::from_millis(60);
        let mut bench = Bench::new(rules);
        frame(&mut bench, 0, 1000);
        assert_eq!(bench.core.next_wakeup(), Some(at_ms(1145)));
        assert_eq!(orders(&bench.tell(1145, Happening::Tick)), [(0, 0, 1150)]);
        bench.tell(1150, Happening::Fired(PartId(0), Ok(at_ms(1150))));
        assert_eq!(bench.core.next_wakeup(), Some(at_ms(1185)));
        assert_eq!(orders(&bench.tell(1185, Happening::Tick)), [(1, 1, 1190)]);
    }

    #[test]
    fn a_sensor_in_one_chute_confirms_nothing_in_another() {
        let ms = Duration::from_millis;
        let confirm = Confirm { from: ms(20), until: ms(100), missing: Consequence::Count };
        let mut rules = with(rules(), |lane| lane.confirm = Some(confirm));
        rules.lanes[1].ejector.distance = Length::from_mm(150.0);
        let mut bench = Bench::new(rules);
        frame(&mut bench, 0, 1000);
        bench.judged(0, 1050, true);
        bench.judged(1, 1050, true);
        for part in [0, 1] {
            bench.tell(1150, Happening::Fired(PartId(part), Ok(at_ms(1150))));
        }
        assert_eq!(records(&bench.tell(1200, Happening::Confirmed(Lane(1)))), [(1, "right".into(), "rejected")]);
        assert!(matches!(bench.tell(1205, Happening::Confirmed(Lane(1)))[..], [Action::Note(_)]));
        assert_eq!(records(&bench.tell(2000, Happening::Tick)), [(0, "left".into(), "unaccounted")]);
    }

    #[test]
    fn rejects_in_a_row_are_counted_in_each_lane() {
        let limits = Limits { in_a_row: Some(2), ..Limits::default() };
        let mut bench = Bench::new(Rules { limits, ..rules() });
        let mut told = Vec::new();
        for k in 0..2 {
            frame(&mut bench, k, 1000 + 400 * k);
            // The right lane's parts alone are bad: never two in a row on the belt.
            told.extend(bench.judged(2 * k, 1010 + 400 * k, false));
            told.extend(bench.judged(2 * k + 1, 1020 + 400 * k, true));
            let fired = at_ms(1250 + 400 * k);
            told.extend(bench.tell(1250 + 400 * k, Happening::Fired(PartId(2 * k + 1), Ok(fired))));
        }
        let why = told.iter().find_map(|action| match action {
            Action::RaiseAlarm(Alarm::ManyRejects, why) => Some(why),
            _ => None,
        });
        assert!(why.is_some_and(|why| why.starts_with("lane right: 2 parts in a row")), "{told:?}");
    }

    #[test]
    fn a_common_eye_finds_a_part_in_each_lane_and_an_own_one_in_its_lane_alone() {
        let mut bench = Bench::new(with(rules(), |lane| lane.find = Find::PhotoEye(photo_eye())));
        bench.tell(1000, Happening::Eye(None, true));
        assert_eq!(frame(&mut bench, 1, 1110), [Action::Inspect(Ticket(2)), Action::Inspect(Ticket(3))]);
        let end = bench.tell(1120, Happening::Halt);
        assert_eq!(records(&end).iter().map(|(_, lane, _)| &**lane).collect::<Vec<_>>(), ["left", "right"]);

        let own = PhotoEye { own: true, ..photo_eye() };
        let mut bench = Bench::new(with(rules(), |lane| lane.find = Find::PhotoEye(own)));
        bench.tell(1000, Happening::Eye(Some(Lane(1)), true));
        assert_eq!(frame(&mut bench, 1, 1110), [Action::Forget(Ticket(2)), Action::Inspect(Ticket(3))]);
        bench.tell(1201, Happening::Tick);
        let blocked = bench.tell(1221, Happening::Tick);
        assert!(raised(&blocked).contains(&Alarm::Faulty(Device::PhotoEye(Some(Lane(1))))), "{blocked:?}");
    }

    #[test]
    fn a_challenge_of_one_lane_takes_no_part_of_another() {
        let mut bench = Bench::new(rules());
        let challenge = |lane: &str| {
            let (within, by) = (Duration::from_secs(60), "Anna".to_owned());
            Happening::Challenged(Challenge { pieces: 1, lane: Some(lane.into()), within, by })
        };
        let refused = bench.tell(900, challenge("middle"));
        let [Action::Challenge(ChallengeNews::Refused(_, why))] = &refused[..] else { panic!("{refused:?}") };
        assert_eq!(why, "there is no lane 'middle', only: left, right");
        bench.tell(900, challenge("right"));
        frame(&mut bench, 0, 1000);
        bench.judged(0, 1010, false);
        bench.judged(1, 1020, true);
        let told = bench.tell(1250, Happening::Fired(PartId(1), Ok(at_ms(1250))));
        let ended = told.iter().find_map(|action| match action {
            Action::Challenge(ChallengeNews::Ended(_, outcome)) => Some(outcome),
            _ => None,
        });
        assert_eq!(ended.map(|outcome| &outcome.caught[..]), Some(&[PartId(1)][..]), "{told:?}");
    }

    #[test]
    fn devices_of_a_lane_are_told_by_its_number() {
        let alarm = Alarm::Faulty(Device::Output(Some(Lane(1))));
        assert_eq!(alarm.to_string(), "lane-2-output-fault");
        assert_eq!(Alarm::Faulty(Device::Output(None)).to_string(), "output-fault");
    }
}
