//! Lines to simulate when no configuration is given: each seed draws another one.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::line::{
    Combine, Confirm, Consequence, Drive, Ejector, Find, FreeRun, LaneRules, Length, Limits, PhotoEye, Rules, Share,
    SkippedPolicy,
};

/// The rules of a line, and its belt's speed in nanometres per second.
pub fn drawn(seed: u64) -> (Rules, u64) {
    // Another stream than that of the run with the same seed.
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(1);
    let mm = |random: &mut ChaCha8Rng, least: f64, most: f64| Length::from_mm(random.random_range(least..most));
    let ms = |random: &mut ChaCha8Rng, least: f64, most: f64| {
        Duration::from_secs_f64(random.random_range(least..most) / 1e3)
    };
    let stops = |random: &mut ChaCha8Rng, chance: f64| match random.random_bool(chance) {
        true => Consequence::StopLine,
        false => Consequence::Count,
    };
    let speed = random.random_range(50_000_000..500_000_000);
    let find = match random.random_range(0.0..1.0) {
        0.0..0.4 => Find::PhotoEye(PhotoEye {
            own: false,
            to_camera: mm(&mut random, 0.0, 200.0),
            window: Length::from_nm(speed as i64 / 20),
            pitch: mm(&mut random, 20.0, 60.0),
            longest: Length::from_mm(150.0),
        }),
        0.4..0.7 => Find::FreeRun(free_run(&mut random)),
        _ => Find::EveryFrame,
    };
    let dwell = ms(&mut random, 20.0, 60.0);
    // From half a second to two at full speed, so that most inspections are in time.
    let distance = Length::from_nm((speed as f64 * random.random_range(0.5..2.0)) as i64);
    // Of parts that are found in the picture, the last frame that is inspected lies behind the middle of the gate.
    let distance = match find {
        Find::FreeRun(run) => distance + gate(&run),
        Find::EveryFrame | Find::PhotoEye(_) => distance,
    };
    let ejector = Ejector {
        distance,
        delay: ms(&mut random, 0.0, 20.0),
        dwell,
        gap: ms(&mut random, 0.0, 20.0),
        tolerance: dwell / 2,
        pulses_merge: true,
        most_per_second: random.random_bool(0.2).then(|| random.random_range(5..20)),
    };
    let confirm = random.random_bool(0.4).then(|| Confirm {
        from: Duration::from_millis(20),
        until: Duration::from_millis(400),
        missing: stops(&mut random, 0.2),
    });
    let share = random.random_bool(0.2).then(|| Share { of: 0.5, last: random.random_range(10..50) });
    let in_a_row = random.random_bool(0.3).then(|| random.random_range(5..20));
    let mut rules = Rules {
        lanes: vec![LaneRules { name: None, find, ejector, confirm }],
        drive: if random.random_bool(0.5) { Drive::Encoder } else { Drive::Constant(speed) },
        limits: Limits { in_a_row, share, exceeded: stops(&mut random, 0.3) },
        quiet: Rules::QUIET,
        late: stops(&mut random, 0.2),
        skipped: if random.random_bool(0.8) { SkippedPolicy::Reject } else { SkippedPolicy::Count },
        bin_full: stops(&mut random, 0.3),
    };
    if random.random_bool(LANED) {
        let first = rules.lanes.remove(0);
        let own_eyes = random.random_bool(0.5);
        rules.lanes = (1..=random.random_range(2..=4)).map(|k| lane(k, &first, own_eyes, &mut random)).collect();
    }
    (rules, speed)
}

fn free_run(random: &mut ChaCha8Rng) -> FreeRun {
    let longest = random.random_range(40.0..80.0);
    let frames = random.random_range(1..=2);
    FreeRun {
        // The simulated encoder is coarse.
        window: Length::from_mm(random.random_range(10.0..14.0)),
        shortest: Length::from_mm(longest / 10.0),
        longest: Length::from_mm(longest),
        combine: if random.random_bool(0.7) { Combine::Max } else { Combine::Mean },
        frames,
        most_frames: frames + random.random_range(0..=2),
    }
}

/// How much of the belt the camera shows where parts are found in its picture.
pub(super) fn gate(run: &FreeRun) -> Length {
    Length::from_nm(3 * run.longest.as_nm())
}

/// The share of lines whose belt has lanes.
const LANED: f64 = 0.5;

/// A lane like the first one, with an ejector in another place and a sensor in its chute of its own.
fn lane(number: usize, first: &LaneRules, own_eyes: bool, random: &mut ChaCha8Rng) -> LaneRules {
    let mut lane = LaneRules { name: Some(number.to_string().into()), ..first.clone() };
    let distance = first.ejector.distance.as_nm() as f64 * random.random_range(1.0..1.5);
    lane.ejector.distance = Length::from_nm(distance as i64);
    lane.ejector.delay = Duration::from_secs_f64(random.random_range(0.0..0.02));
    if let Find::PhotoEye(eye) = &mut lane.find {
        eye.own = own_eyes;
    }
    lane.confirm = first.confirm.filter(|_| random.random_bool(0.7));
    lane
}
