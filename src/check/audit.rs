//! Where decisions and pictures are kept.

use std::path::Path;

use super::Finding;
use super::camera::View;
use super::spread::ms;
use crate::audit::{self, Readiness, Signer};
use crate::config::{AuditConfig, LineConfig, RetentionConfig, Witness};
use crate::line::Consequence;
use crate::print::{bytes, counted};
use crate::runtime::control;

/// What a part's record takes, in bytes.
const RECORD: f64 = 1000.0;
/// A disk with less room than this is nearly full, as the running line says too.
const LITTLE: u64 = 256 << 20;
/// A disk that is full so soon wants a person now.
const SOON: f64 = 7.0;
const DAY: f64 = 86_400.0;

/// Checks the audit of a line whose frames are a part of each of its lanes at most.
pub(super) fn check(line: &LineConfig, view: Option<&View>, tell: &mut impl FnMut(Finding)) {
    let config = &line.audit;
    match control::refuse_beside_another(&config.file).and_then(|()| audit::readiness(config)) {
        Err(error) => tell(Finding::failed("audit", &error)),
        Ok(ready) => {
            tell(log(config, &ready));
            untold(&ready, line.rules.late).into_iter().for_each(&mut *tell);
            doubts(&ready).into_iter().for_each(&mut *tell);
            config.signing.iter().for_each(|signing| tell(signed(&signing.key)));
            lacks(config).into_iter().for_each(&mut *tell);
            kept(config.retention, &ready).into_iter().for_each(&mut *tell);
            tell(room(config, &ready, line.lanes.len(), view.and_then(View::rate)));
        }
    }
    if let Some(witness) = config.signing.as_ref().and_then(|signing| signing.witness.as_ref()) {
        tell(reached(witness));
    }
}

/// Of a run that ended without a word: what the next one does, which nobody was told of yet.
fn untold(ready: &Readiness, late: Consequence) -> Option<Finding> {
    let told = ready.interrupted.as_ref()?;
    let next = match late {
        Consequence::StopLine => {
            "the next run raises missed-reject and stops the line at once (late = \"stop-line\"); the one after it begins as any other"
        }
        Consequence::Count => "the next run raises missed-reject, and goes on",
    };
    Some(Finding::note("run before", told, format!("{next}; a dry run leaves that to the one behind it")))
}

/// What a run would begin with a word of: of the checkpoint's copy, and of pictures.
fn doubts(ready: &Readiness) -> Vec<Finding> {
    let homeless = ready.homeless.as_ref().map(|(told, advice)| {
        let advice = format!(
            "{advice}, before the first run: a run raises audit-fault until then, and where it ends before that the next one is refused, until \
             one ran without checkpoint_copy"
        );
        Finding::problem("checkpoint", told, advice)
    });
    // A run starts all the same: a line that was killed in its first moment looks like that.
    let uncopied = ready.uncopied.as_ref().map(|(told, advice)| Finding::note("checkpoint", told, *advice));
    let of_pictures = [&ready.gone, &ready.startless].into_iter().flatten();
    let of_pictures = of_pictures.map(|(told, advice)| Finding::problem("pictures", told, *advice));
    homeless.into_iter().chain(uncopied).chain(of_pictures).collect()
}

/// Who signs the audit. A key that is not there, or that others may read, is a problem of the audit, as it is for a run.
fn signed(key: &Path) -> Finding {
    match Signer::open(key) {
        Ok(signer) => {
            let signer = signer.verifier().label();
            Finding::ok(
                "signing",
                format!("{signer} signs the audit; no other user may read its key {}", key.display()),
            )
        }
        Err(error) => Finding::failed("signing", &error),
    }
}

/// What nobody will be able to show of the line's decisions, since the configuration does not ask for it.
fn lacks(config: &AuditConfig) -> Vec<Finding> {
    let unsigned = config.signing.is_none().then(|| {
        Finding::note(
            "signing",
            "nobody signs the audit: whoever may write its file can write all of it anew, and nothing would show that",
            "make a key for the line, hgad audit keygen --name factory.example/line-3 --out line-3.key, and name it in [audit]: key = \
             \"line-3.key\"",
        )
    });
    let pictureless = config.pictures.is_none().then(|| {
        Finding::note(
            "pictures",
            "no picture is kept: nobody can show later what a rejected part looked like, nor compute its score again",
            "keep those of rejected parts, and of a share of all for the next calibration, in [audit]: pictures = \"pictures\", sample = \
             0.01, keep_gb = 20",
        )
    });
    unsigned.into_iter().chain(pictureless).collect()
}

/// What a run would continue.
fn log(config: &AuditConfig, ready: &Readiness) -> Finding {
    let lines = match (ready.lines, &ready.unfinished) {
        (0, None) => "a new log".to_owned(),
        (lines, None) if ready.unread == 0 => format!("a whole log of {}", counted(lines, "line")),
        (lines, None) => format!(
            "a log of {}, of which its newest file was read, {}: that is whole (hgad audit verify reads all)",
            counted(lines, "line"),
            counted(lines - ready.unread, "line")
        ),
        (lines, Some(told)) if ready.unread == 0 => format!("a log of {}, and {told}", counted(lines, "whole line")),
        (lines, Some(told)) => format!("a log of {}, and {told}", counted(lines, "line")),
    };
    let amiss = [
        (&ready.strangers, "move away what is not the log's"),
        (&ready.missing, "put back what is missing: hgad audit verify fails until then"),
    ];
    let amiss = amiss.into_iter().filter_map(|(told, advice)| told.as_deref().zip(Some(advice)));
    let (amiss, advice): (Vec<_>, Vec<_>) = amiss.unzip();
    let measured = format!("{}: {lines}; on disk within {} ms", config.file.display(), ms(ready.sync));
    match (amiss.is_empty(), &ready.unfinished) {
        (false, _) => Finding::problem("audit", format!("{measured}; {}", amiss.join("; ")), advice.join("; ")),
        (true, Some(_)) => Finding::note(
            "audit",
            measured,
            "nothing needs to be done, and find out why: a power cut, or a killed program?",
        ),
        (true, None) => Finding::ok("audit", measured),
    }
}

/// For how long the log's closed files are kept, where they are removed.
fn kept(retention: RetentionConfig, ready: &Readiness) -> Option<Finding> {
    let days = retention.days.map(|days| format!("for {} (keep_log_days)", counted(days.into(), "day")));
    let room = retention
        .bytes
        .map(|most| format!("within {} (keep_log_gb), of which {} are taken", bytes(most), bytes(ready.log)));
    let kept = days.into_iter().chain(room).reduce(|days, room| format!("{days}, and {room}"))?;
    let measured = format!("closed files of the log are kept {kept}; then the oldest are removed");
    let is_too_much =
        |most: u64| ready.free.is_some_and(|free| most.saturating_sub(ready.log) > free.saturating_sub(LITTLE));
    if let Some(stopped) = &ready.stopped {
        let advice = "put back or move away what hgad audit verify names: until then the log grows until the disk is full, and then the line stops";
        return Some(Finding::problem("log", format!("{measured}; {stopped}"), advice));
    }
    if retention.bytes.is_some_and(is_too_much) {
        let advice = "the disk has no room for that much: it is full before anything is removed, and then the line stops: lower keep_log_gb, \
                      or make room";
        return Some(Finding::problem("log", measured, advice));
    }
    if retention.bytes.is_some_and(|most| ready.log > most) {
        let advice = "it is more than that: the file that is written, the newest closed one and those that are not compressed yet stay, and come on \
                      top (rotate_mb says how large they become)";
        return Some(Finding::note("log", measured, advice));
    }
    if retention.days.is_some() && !audit::is_synchronised() {
        let advice = "nobody keeps this machine's clock right, and while that is so nothing is removed by age: set up NTP or PTP; keep_log_gb \
                      holds all the same";
        return Some(Finding::note("log", measured, advice));
    }
    Some(Finding::ok("log", measured))
}

/// Whether the machine that keeps checkpoints is there.
fn reached(witness: &Witness) -> Finding {
    match audit::reach(witness) {
        Ok(time) => {
            Finding::ok("witness", format!("{witness} answers after {} ms; it was sent no checkpoint", ms(time)))
        }
        Err(error) => Finding::problem(
            "witness",
            format!("{witness} cannot be reached: {error}"),
            "start it, or mend the address and the network: a run raises audit-fault for as long as it is away",
        ),
    }
}

/// What the log may still take of the disk that pictures are on, where that is known.
fn to_come(config: &AuditConfig, ready: &Readiness) -> u64 {
    let most = config.retention.bytes.filter(|_| ready.shares_disk).unwrap_or_default();
    most.saturating_sub(ready.log)
}

/// Whether the disk has room for what is to be kept.
fn room(config: &AuditConfig, ready: &Readiness, lanes: usize, rate: Option<f64>) -> Finding {
    let Some(free) = ready.free else {
        return Finding::note("disk", "nobody knows how much is free", "watch it by hand");
    };
    let mut measured = format!("{} free", bytes(free));
    if free < LITTLE {
        return Finding::problem("disk", measured, "make room where the audit is, or name another disk");
    }
    if let Some(pictures) = &config.pictures {
        measured.push_str(&format!(", {} of pictures kept", bytes(ready.pictures)));
        match pictures.keep_bytes {
            None if ready.shares_disk => {
                let advice = "the log is on that disk too: once it is full no record is written, and so no picture is removed either, \
                              whatever keep_days says: set keep_gb in [audit]";
                return Finding::note("disk", measured, advice);
            }
            None => {
                let advice = "pictures are kept until the disk is full: set keep_gb in [audit]";
                return Finding::note("disk", measured, advice);
            }
            Some(keep) if keep.saturating_sub(ready.pictures) + to_come(config, ready) > free - LITTLE => {
                let advice = match to_come(config, ready) {
                    0 => format!("there is no room for the {} of keep_gb: make room or lower it", bytes(keep)),
                    _ => format!(
                        "there is no room for the {} of keep_gb and the log's keep_log_gb: make room or lower them",
                        bytes(keep)
                    ),
                };
                return Finding::problem("disk", measured, advice);
            }
            Some(keep) => measured.push_str(&format!(" of {}", bytes(keep))),
        }
    }
    // With both the log takes little more than that, whatever comes; without the one its newest file grows as long as the day is.
    let is_bounded = config.retention.bytes.is_some() && config.rotation.bytes.is_some();
    let Some(rate) = rate.filter(|_| !is_bounded) else { return Finding::ok("disk", measured) };
    let days = (free - LITTLE) as f64 / (rate * lanes as f64 * RECORD * DAY);
    let parts = counted(lanes as u64, "part");
    measured.push_str(&format!("; full of records after {} of {parts} per frame", counted(days.round() as u64, "day")));
    match days < SOON {
        true => Finding::problem(
            "disk",
            measured,
            "take a larger disk, or let the oldest closed files be removed (rotate_daily, keep_log_gb)",
        ),
        false => Finding::ok("disk", measured),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::check::State;
    use crate::config::{PicturesConfig, SigningConfig};

    fn found(free: u64, keep_gb: Option<f64>, lanes: usize, rate: f64) -> Finding {
        found_beside(free, keep_gb, lanes, rate, false)
    }

    fn found_beside(free: u64, keep_gb: Option<f64>, lanes: usize, rate: f64, shares_disk: bool) -> Finding {
        let mut config = AuditConfig::in_file("audit.jsonl".into());
        config.pictures = keep_gb.map(|keep| {
            let keep_bytes = (keep > 0.0).then_some((keep * 1e9) as u64);
            PicturesConfig { keep_bytes, ..PicturesConfig::in_folder("pictures".into()) }
        });
        let ready = Readiness { free: Some(free), pictures: 1_000_000_000, shares_disk, ..new_log() };
        room(&config, &ready, lanes, Some(rate))
    }

    fn new_log() -> Readiness {
        Readiness {
            lines: 0,
            unfinished: None,
            interrupted: None,
            homeless: None,
            sync: Duration::ZERO,
            free: None,
            log: 0,
            strangers: None,
            unread: 0,
            gone: None,
            startless: None,
            uncopied: None,
            missing: None,
            stopped: None,
            pictures: 0,
            shares_disk: false,
        }
    }

    #[test]
    fn a_log_whose_last_line_is_unfinished_is_not_called_whole() {
        let config = AuditConfig::in_file("audit.jsonl".into());
        let told = |lines: u64, unfinished: Option<&str>| {
            log(&config, &Readiness { lines, unfinished: unfinished.map(str::to_owned), ..new_log() })
        };
        assert!(told(0, None).measured.contains("a new log") && told(7, None).state == State::Ok);
        assert!(told(7, None).measured.contains("a whole log of 7 lines"));
        assert!(told(1, None).measured.contains("a whole log of 1 line;"), "{}", told(1, None).measured);
        let torn = told(7, Some("its last line is unfinished: the next run cuts its 40 bytes off"));
        assert_eq!(torn.state.as_str(), "note");
        assert!(torn.measured.contains("7 whole lines, and its last line is unfinished"), "{}", torn.measured);
    }

    #[test]
    fn a_checkpoint_that_was_never_copied_is_a_note_and_pictures_of_unknown_runs_are_a_problem() {
        let said = |told: &str| Some((told.to_owned(), "keep it"));
        let ready = Readiness { uncopied: said("no copy"), startless: said("no start"), ..new_log() };
        let told = doubts(&ready).into_iter().map(|finding| (finding.what, finding.measured, finding.state));
        assert_eq!(
            told.collect::<Vec<_>>(),
            [
                ("checkpoint".to_owned(), "no copy".to_owned(), State::Note("keep it".to_owned())),
                ("pictures".to_owned(), "no start".to_owned(), State::Problem("keep it".to_owned())),
            ]
        );
        assert_eq!(doubts(&new_log()), []);
    }

    #[test]
    fn what_a_line_without_key_or_pictures_cannot_prove_is_a_note_and_says_what_to_do() {
        let bare = AuditConfig::in_file("audit.jsonl".into());
        let found = lacks(&bare);
        let told = found.iter().map(|found| (found.what.as_str(), found.state.as_str())).collect::<Vec<_>>();
        assert_eq!(told, [("signing", "note"), ("pictures", "note")]);
        let advice = |place: usize| found[place].state.advice().unwrap().to_owned();
        assert!(advice(0).contains("hgad audit keygen --name") && advice(1).contains("pictures = \"pictures\""));
        let signing =
            SigningConfig { key: "line.key".into(), former_keys: Vec::new(), checkpoint_copy: None, witness: None };
        let pictures = PicturesConfig::in_folder("pictures".into());
        let whole = AuditConfig { signing: Some(signing), pictures: Some(pictures), ..bare };
        assert!(lacks(&whole).is_empty(), "{:?}", lacks(&whole));
    }

    #[test]
    fn how_long_the_log_is_kept_is_told_and_that_the_disk_has_no_room_for_that() {
        let found = |days: Option<u32>, gigabytes: Option<u64>| {
            let retention = RetentionConfig { days, bytes: gigabytes.map(|gigabytes| gigabytes * 1_000_000_000) };
            let ready = Readiness { free: Some(10_000_000_000), log: 3_000_000_000, ..new_log() };
            kept(retention, &ready)
        };
        assert_eq!(found(None, None), None);
        let told = found(None, Some(4)).unwrap();
        let says = "closed files of the log are kept within 4.00 GB (keep_log_gb), of which 3.00 GB are taken; then the oldest are removed";
        assert_eq!((told.measured.as_str(), &told.state), (says, &State::Ok));
        let more = found(None, Some(2)).unwrap();
        assert!(matches!(&more.state, State::Note(advice) if advice.contains("it is more than that")), "{more:?}");
        let told = found(Some(3650), Some(13)).unwrap();
        assert!(told.measured.contains("kept for 3650 days (keep_log_days), and within 13.0 GB"), "{}", told.measured);
        assert!(
            matches!(&told.state, State::Problem(advice) if advice.contains("the line stops: lower keep_log_gb")),
            "{told:?}"
        );
    }

    #[test]
    fn a_disk_has_room_for_what_is_to_be_kept_or_a_person_is_told() {
        assert_eq!(found(100 << 20, None, 1, 1.0).state.as_str(), "problem");
        let roomy = found(100_000_000_000, Some(20.0), 1, 10.0);
        assert_eq!(roomy.state, State::Ok);
        assert!(roomy.measured.contains("1.00 GB of pictures kept of 20.0 GB; full of records after 115 days"));
        let small = found(100_000_000_000, Some(0.02), 1, 10.0);
        assert!(small.measured.contains("100 GB free, 1.00 GB of pictures kept of 20.0 MB"), "{}", small.measured);
        let laned = found(100_000_000_000, Some(20.0), 4, 10.0);
        assert!(laned.measured.contains("after 29 days of 4 parts per frame"), "{}", laned.measured);
        assert_eq!(found(10_000_000_000, Some(20.0), 1, 10.0).state.as_str(), "problem");
        assert_eq!(found(100_000_000_000, Some(0.0), 1, 10.0).state.as_str(), "note");
        let State::Note(advice) = found_beside(100_000_000_000, Some(0.0), 1, 10.0, true).state else {
            panic!("no note")
        };
        assert!(advice.contains("set keep_gb") && advice.contains("whatever keep_days says"), "{advice}");
        assert!(found_beside(100_000_000_000, Some(20.0), 1, 10.0, true).state == State::Ok, "it is set");
        assert_eq!(found(5_000_000_000, None, 1, 20.0).state.as_str(), "problem", "full after three days");
    }
}
