//! What the core does with single events; what must hold whatever happens is looked at in [`crate::simulate`].

use std::time::Duration;

use super::*;
use crate::digest::Digest;
use crate::time::StampSource;

/// 150 ms from the camera to the ejector.
pub(super) fn rules() -> Rules {
    let ms = Duration::from_millis;
    Rules::timed(ms(150), ms(30), ms(20))
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
    Sighting { ticket: Ticket(ticket), frame: ticket, captured: at_ms(ms), stamp, origin, class }
}

/// When parts are to be rejected, in milliseconds.
fn fires(actions: &[Action]) -> Vec<(u64, u64)> {
    let fire = |action: &Action| match action {
        Action::Fire(order) => Some((order.part.0, order.at.as_nanos() / 1_000_000)),
        _ => None,
    };
    actions.iter().filter_map(fire).collect()
}

fn fates(actions: &[Action]) -> Vec<&'static str> {
    let fate = |action: &Action| match action {
        Action::Record(record) => Some(record.fate.as_str()),
        _ => None,
    };
    actions.iter().filter_map(fate).collect()
}

fn raised(actions: &[Action]) -> Vec<Alarm> {
    let alarm = |action: &Action| match action {
        Action::RaiseAlarm(alarm, _) => Some(*alarm),
        _ => None,
    };
    actions.iter().filter_map(alarm).collect()
}

fn stops(actions: &[Action]) -> bool {
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
fn a_part_of_unknown_time_is_not_rejected_at_a_guess() {
    let mut core = LineCore::new(rules());
    let mut actions = Vec::new();
    let at = Monotonic::from_nanos(1_000_000_000);
    let (stamp, origin, class) = (StampSource::Doubtful, "belt".into(), "washer".into());
    let sighting = Sighting { ticket: Ticket(0), frame: 0, captured: at, stamp, origin, class };
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
            let sighting = Sighting { ticket, frame, captured: at, stamp, origin, class };
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
    let fault = || Happening::Fault(Device::Output, "unplugged".into());
    for second in [0, 5, 14] {
        at(second, fault(), &mut actions);
        at(second + 1, Happening::Recovered(Device::Output), &mut actions);
    }
    let raised = actions.iter().filter(|action| matches!(action, Action::RaiseAlarm(..))).count();
    let cleared = |actions: &[Action]| actions.contains(&Action::ClearAlarm(Alarm::Faulty(Device::Output)));
    assert!(raised == 1 && !cleared(&actions), "{actions:?}");
    at(26, Happening::Tick, &mut actions);
    assert!(cleared(&actions) && actions.contains(&Action::Health(Device::Output, Ok(()))), "{actions:?}");
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

mod eye {
    use super::*;

    /// 1 mm in 1 ms; the camera is 100 mm behind the eye and the ejector 150 mm behind the camera.
    fn rules() -> Rules {
        let eye = PhotoEye {
            to_camera: Length::from_mm(100.0),
            window: Length::from_mm(40.0),
            pitch: Length::from_mm(30.0),
            longest: Length::from_mm(200.0),
        };
        Rules { find: Find::PhotoEye(eye), ..super::rules() }
    }

    #[test]
    fn the_first_frame_that_fits_is_the_parts() {
        let mut bench = Bench::new(rules());
        bench.tell(1000, Happening::Eye(true));
        assert_eq!(bench.frame(1, 1090), [Action::Forget(Ticket(1))], "the part is not there yet");
        assert_eq!(bench.frame(2, 1120), [Action::Inspect(Ticket(2))]);
        assert_eq!(bench.frame(3, 1130), [Action::Forget(Ticket(3))], "the part has its frame");
        let rejected = bench.judged(2, 1150, true);
        assert_eq!(fires(&rejected), [(0, 1250)], "by where the part is, not by when its frame was taken");
    }

    #[test]
    fn a_frame_that_came_before_its_edge_was_told_of_is_kept_for_it() {
        let eye = PhotoEye {
            to_camera: Length::default(),
            ..match rules().find {
                Find::PhotoEye(eye) => eye,
                Find::EveryFrame => unreachable!(),
            }
        };
        let mut bench = Bench::new(Rules { find: Find::PhotoEye(eye), ..rules() });
        assert_eq!(bench.frame(1, 1005), []);
        let late = bench.tell(1000, Happening::Eye(true));
        assert_eq!(late, [Action::Inspect(Ticket(1))]);
        assert_eq!(bench.frame(2, 1060), []);
        assert_eq!(bench.tell(1085, Happening::Tick), [Action::Forget(Ticket(2))]);
    }

    #[test]
    fn a_part_that_no_frame_shows_is_rejected() {
        let mut bench = Bench::new(rules());
        bench.tell(1000, Happening::Eye(true));
        let passed_by = bench.frame(1, 1141);
        assert_eq!((fires(&passed_by), raised(&passed_by)), (vec![(0, 1250)], vec![Alarm::Uninspected]));
        bench.tell(2000, Happening::Eye(true));
        assert_eq!(bench.core.next_wakeup(), Some(at_ms(2245)));
        assert_eq!(fires(&bench.tell(2245, Happening::Tick)), [(1, 2250)]);
    }

    #[test]
    fn edges_that_are_closer_than_parts_are_holes_in_one() {
        let mut bench = Bench::new(rules());
        for ms in [1000, 1010, 1029, 1031] {
            bench.tell(ms, Happening::Eye(true));
            bench.tell(ms + 1, Happening::Eye(false));
        }
        assert_eq!(fates(&bench.tell(1400, Happening::Halt)).len(), 2, "one at 1000 and one at 1031 ms");
    }

    #[test]
    fn an_eye_that_stays_dark_stops_the_line() {
        let mut bench = Bench::new(rules());
        bench.tell(1000, Happening::Eye(true));
        let blocked = bench.frame(1, 1201);
        assert!(raised(&blocked).contains(&Alarm::Faulty(Device::PhotoEye)) && stops(&blocked), "{blocked:?}");
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
            bench.tell(1105, Happening::Eye(true));
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
            bench.tell(1230, Happening::Eye(true));
            let found = bench.tell(1260, Happening::Eye(true));
            assert!(raised(&found).contains(&Alarm::Faulty(Device::Encoder)), "{found:?}");
            assert_eq!(fates(&found), ["unaccounted"; 3], "nobody knows where the parts are");
            assert!(raised(&found).contains(&Alarm::MissedReject));
            moves(&mut bench, 2000, 2050, 300);
            bench.tell(2055, Happening::Eye(true));
            moves(&mut bench, 2060, 2160, 360);
            assert_eq!(bench.frame(9, 2160), [Action::Inspect(Ticket(9))], "it moves again, and is believed again");
        }

        #[test]
        fn an_encoder_that_is_gone_leaves_no_part_to_chance() {
            let mut bench = bench();
            let gone = bench.tell(1220, Happening::Fault(Device::Encoder, "unplugged".into()));
            assert_eq!(fates(&gone), ["unaccounted"]);
            assert_eq!(fates(&bench.tell(1240, Happening::Eye(true))), ["unaccounted"]);
        }
    }
}

mod ejector {
    use super::*;

    #[test]
    fn it_is_told_earlier_by_what_it_needs_to_act() {
        let ejector = Ejector { delay: Duration::from_millis(12), ..rules().ejector };
        let mut bench = Bench::new(Rules { ejector, ..rules() });
        bench.frame(0, 1000);
        assert_eq!(fires(&bench.judged(0, 1050, true)), [(0, 1138)]);
    }

    #[test]
    fn what_it_cannot_do_in_time_is_unaccounted() {
        let ejector = Ejector { most_per_second: Some(2), ..rules().ejector };
        let mut bench = Bench::new(Rules { ejector, late: Consequence::StopLine, ..rules() });
        for k in 0..3 {
            bench.frame(k, 1000 + 10 * k);
        }
        assert_eq!(fires(&bench.judged(0, 1050, true)).len() + fires(&bench.judged(1, 1050, true)).len(), 2);
        let third = bench.judged(2, 1050, true);
        assert_eq!((fates(&third), stops(&third)), (vec!["unaccounted"], true));
    }

    fn confirming() -> Rules {
        let ms = Duration::from_millis;
        let confirm = Confirm { from: ms(20), until: ms(100), missing: Consequence::StopLine };
        Rules { confirm: Some(confirm), ..rules() }
    }

    #[test]
    fn a_reject_that_the_sensor_saw_is_one() {
        let mut bench = Bench::new(confirming());
        bench.frame(0, 1000);
        bench.judged(0, 1050, true);
        assert_eq!(fates(&bench.tell(1150, Happening::Fired(PartId(0), Ok(at_ms(1150))))), [] as [&str; 0]);
        assert_eq!(fates(&bench.tell(1160, Happening::Confirmed)), [] as [&str; 0], "nothing falls so fast");
        assert_eq!(fates(&bench.tell(1200, Happening::Confirmed)), ["rejected"]);
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
