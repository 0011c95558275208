//! How close parts come on each lane, how long they are, and what finds them: where the plan does not say it, as the line's rules allow.

use crate::line::{Drive, Find, FreeRun, LaneRules, Length};
use crate::simulate::Plan;
use crate::simulate::belt::{SPREAD, closest_average, spread};

use super::STEP;

/// From where a lane's photo-eye is, if there is one, to where the camera looks.
pub(super) fn to_camera(lane: &LaneRules) -> Length {
    match lane.find {
        Find::PhotoEye(eye) => eye.to_camera,
        Find::EveryFrame | Find::FreeRun(_) => Length::default(),
    }
}

pub(super) fn has_own_eye(lane: &LaneRules) -> bool {
    matches!(lane.find, Find::PhotoEye(eye) if eye.own)
}

pub(super) fn free_run(lane: &LaneRules) -> Option<FreeRun> {
    match lane.find {
        Find::FreeRun(run) => Some(run),
        Find::EveryFrame | Find::PhotoEye(_) => None,
    }
}

pub(super) fn half(length: Length) -> Length {
    Length::from_nm(length.as_nm() / 2)
}

/// How far a lane's parts come apart, on average, if that is said.
fn average(plan: &Plan) -> Option<Length> {
    plan.pace.parts_per_minute.map(|parts| Length::from_nm((plan.speed as f64 * 60.0 / parts) as i64))
}

/// How close a lane's parts come.
pub(super) fn pitch(plan: &Plan, lane: &LaneRules) -> Length {
    match lane.find {
        // A coarse encoder may say that they are closer than they are.
        Find::PhotoEye(eye) if plan.rules.drive == Drive::Encoder => eye.pitch + Length::from_nm(2 * STEP),
        Find::PhotoEye(eye) => eye.pitch,
        Find::EveryFrame => average(plan).map_or(Length::from_nm(plan.speed as i64 / 10), half),
        Find::FreeRun(run) => run.longest,
    }
}

/// Up to how many times that they come apart.
pub(super) fn spread_of(plan: &Plan, lane: &LaneRules) -> f64 {
    let times = average(plan).map(|average| average.as_nm() as f64 / pitch(plan, lane).as_nm() as f64);
    times.map_or(SPREAD, spread)
}

/// How long a lane's parts may be.
pub(super) fn longest(plan: &Plan, lane: &LaneRules) -> Length {
    match lane.find {
        // A coarse encoder may say that one is longer than it is.
        Find::PhotoEye(eye) if plan.rules.drive == Drive::Encoder => {
            (eye.longest - Length::from_nm(2 * STEP)).max(half(half(eye.longest)))
        }
        Find::PhotoEye(eye) => eye.longest,
        Find::EveryFrame => pitch(plan, lane),
        Find::FreeRun(run) => run.longest,
    }
}

/// How many parts of each lane can be laid in a minute of full speed, on average, before there are too many for one of them.
pub fn most_per_minute(plan: &Plan) -> f64 {
    let closest = |lane: &LaneRules| match lane.find {
        Find::EveryFrame => 0.0,
        Find::PhotoEye(_) | Find::FreeRun(_) => pitch(plan, lane).as_nm() as f64 * closest_average(),
    };
    plan.speed as f64 * 60.0 / plan.rules.lanes.iter().map(closest).fold(0.0, f64::max)
}

/// Whether a newer frame of each lane takes the place of one that waits.
pub(super) fn give_way(lanes: &[LaneRules]) -> Vec<bool> {
    lanes.iter().map(|lane| free_run(lane).is_none()).collect()
}
