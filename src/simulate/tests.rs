use super::*;
use crate::line::Drive;

fn simulate(seed: u64, hours: u64, with_faults: bool) -> Report {
    let (rules, speed) = drawn(seed);
    run(&Plan { belt_time: Duration::from_secs(3600 * hours), with_faults, ..Plan::new(rules, speed, seed) })
}

#[test]
fn what_must_hold_does_whatever_goes_wrong() {
    let mut all = Report::default();
    for seed in 0..40 {
        all.add(simulate(seed, 2, true));
        assert!(all.violation.is_none(), "{}", all.violation.unwrap());
    }
    let each = all.counters.named();
    let unmet = each.iter().filter(|(_, count)| *count == 0).collect::<Vec<_>>();
    assert!(unmet.is_empty(), "the simulation meets every end: {unmet:?}, {:?}", all.faults);
    assert!(all.restarts > 0 && all.stops > 0 && all.interrupted > 0);
    // Parts that touch, slide and turn are met, too.
    let doubts = [
        "appeared",
        "was not seen",
        "longer than a part",
        "lies elsewhere",
        "edges are not where they were",
        "does not move as the belt does",
    ];
    let unmet = doubts.iter().filter(|doubt| !all.doubts.keys().any(|met| met.contains(**doubt))).collect::<Vec<_>>();
    assert!(unmet.is_empty(), "the simulation meets every doubt: {unmet:?}, {:?}", all.doubts);
    // For most of them all is promised, although nearly every reason not to is met.
    let weaker = all.weaker.values().sum::<u64>();
    assert!(all.weaker.len() >= 4 && weaker * 5 < all.pieces, "{:?} of {}", all.weaker, all.pieces);
}

#[test]
fn without_faults_nothing_is_unaccounted() {
    for seed in 100..120 {
        let report = simulate(seed, 1, false);
        assert!(report.violation.is_none(), "{}", report.violation.unwrap());
        assert!(report.weaker.is_empty(), "{:?}", report.weaker);
        let counters = report.counters;
        let unknown = counters.parts - counters.good - counters.bad;
        assert!(counters.good > 100, "seed {seed}: {counters:?}");
        // Two parts so close that one frame takes the other's place are skipped; what is open at the end is stopped.
        assert!(unknown * 20 < counters.parts, "seed {seed}: {counters:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let (one, other) = (simulate(5, 1, true), simulate(5, 1, true));
    assert_eq!((one.events, one.counters, one.faults), (other.events, other.counters, other.faults));
}

#[test]
fn as_many_parts_come_as_are_asked_for_and_what_is_inspected_too_slowly_shows() {
    let is_plain = |(rules, _): &(Rules, u64)| rules.lanes.len() == 1 && matches!(rules.drive, Drive::Constant(_));
    let (rules, speed) = (0..).map(drawn).find(is_plain).unwrap();
    let an_hour = Plan { belt_time: Duration::from_secs(3600), with_faults: false, ..Plan::new(rules, speed, 1) };
    let at = |parts_per_minute: f64, inspection_ms: (f64, f64)| {
        let pace = Pace { inspection_ms, parts_per_minute: Some(parts_per_minute) };
        let report = run(&Plan { pace, ..an_hour.clone() });
        assert!(report.violation.is_none(), "{}", report.violation.unwrap());
        report
    };
    let parts = 0.5 * most_per_minute(&an_hour).min(240.0);
    let fast = at(parts, (10.0, 20.0));
    let of_all = fast.pieces as f64 / (60.0 * parts);
    assert!((0.9..1.1).contains(&of_all), "{} pieces an hour at {parts} a minute", fast.pieces);
    let slow = at(parts, (90_000.0 / parts, 100_000.0 / parts));
    let named = |report: &Report| report.counters.named().into_iter().collect::<BTreeMap<_, _>>();
    let unjudged = |report: &Report| named(report)["late"] + named(report)["skipped"];
    assert!(unjudged(&fast) * 20 < fast.pieces && unjudged(&slow) * 4 > slow.pieces, "{:?}", named(&slow));
}
