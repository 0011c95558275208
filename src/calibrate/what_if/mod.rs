//! What a calibration would have done to parts whose decisions are on record.
//!
//! A recorded score counts where the same model and the same constants gave it. Other parts are scored again from their stored
//! pictures. Rejected parts keep theirs, of passed ones only a share does: what that share says of all is told with an interval.

mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::Timestamp;

use super::Portrait;
use super::defects::clopper_pearson;
use super::file::Calibration;
use super::from_audit::ONE_IN;
use crate::audit::{Entry, PictureEntry, Query, Range, Samples, Stored, Vouched, read_picture};
use crate::bundle::Bundle;
use crate::digest::Digest;
use crate::inspect::overlay::{Paint, beside};
use crate::inspect::{Inspector, batch};
use crate::picture::Statistics;
use crate::{Error, Result, print};

/// So many parts whose verdicts change are listed.
const LISTED: usize = 500;
/// And of so many the pictures are shown.
const SHOWN: usize = 12;

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The calibration that is asked about.
    pub calibration: &'a Calibration,
    /// Calibrations that were in use then, with the digests of their files.
    pub was: &'a [(Digest, Calibration)],
    /// The calibration's bundle, to score stored pictures again; without it recorded scores alone are used.
    pub bundle: Option<&'a Bundle>,
    /// The newest file of the audit.
    pub log: &'a Path,
    /// What a check of the audit says of its records.
    pub vouched: &'a Vouched,
    /// The pictures' folder.
    pub pictures: &'a Path,
    /// The time of the parts.
    pub range: Range,
    /// The name of their lane; `None` for all parts of the class.
    pub lane: Option<&'a str>,
}

impl Question<'_> {
    /// Of which parts is asked.
    fn told(&self) -> String {
        let lane = self.lane.map_or_else(String::new, |lane| format!(" in lane {lane}"));
        let moment = |word: &str, at: Option<Timestamp>| at.map_or_else(String::new, |at| format!(" {word} {at:.0}"));
        let (from, to) = (moment("from", self.range.from), moment("to", self.range.to));
        format!("parts of {}{lane} in {}{from}{to}", self.calibration.class, self.log.display())
    }

    /// The calibration that is asked about.
    fn calibration_told(&self) -> String {
        let own = self.was.iter().find(|(_, was)| was == self.calibration);
        let digest = own.map_or_else(String::new, |(digest, _)| format!("{}, ", digest.short()));
        let foreign = self.calibration.foreign_threshold().map_or_else(String::new, |told| format!(", and {told}"));
        format!("one ({digest}threshold {}{foreign})", self.calibration.threshold)
    }

    /// The calibration of the file `digest` that judged parts with `threshold` and the model `bundle`.
    fn then(&self, digest: Digest, threshold: f32, bundle: Option<Digest>) -> Then {
        let known = self.was.iter().find(|(known, _)| *known == digest);
        let other = match known {
            Some((_, was)) => was.other_scores(self.calibration),
            None if bundle.is_some_and(|bundle| bundle != self.calibration.bundle) => {
                Some("is of another model".into())
            }
            None => Some("is not given (--was), so nobody knows whether more than the threshold differs".into()),
        };
        Then { digest, threshold, other }
    }

    /// Why recorded scores do not count of calibrations that are said to have been in use; the parts were judged by those of `judged`.
    fn unused(&self, judged: &BTreeSet<Digest>) -> Vec<String> {
        let others = self.was.iter().filter(|(_, was)| was != self.calibration);
        let unused = others.filter_map(|(digest, was)| {
            let why = was.other_scores(self.calibration).or_else(|| {
                let known = judged.iter().map(Digest::short).map(|digest| digest.to_string()).collect::<Vec<_>>();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                (!judged.contains(digest)).then(|| {
                    format!("judged no part of that time; those that did: {known} (the first digits of sha256sum)")
                })
            })?;
            Some(format!("no recorded score of the calibration {} counts: it {why}", digest.short()))
        });
        unused.collect()
    }
}

/// What would have become of the parts.
#[derive(Debug, Clone, Default)]
pub struct WhatIf {
    /// The product.
    pub class: String,
    /// The calibration's threshold.
    pub threshold: f32,
    /// Of which parts was asked, in words.
    pub asked: String,
    /// The calibration that is asked about, in words.
    pub calibration: String,
    /// When the first and the last of them with a verdict were captured, as their records say it.
    pub span: Option<(String, String)>,
    /// The calibrations that judged them.
    pub then: Vec<Then>,
    /// Parts whose verdict is known: `[rejected then][rejected now]`.
    pub counts: [[u64; 2]; 2],
    /// Parts that had a verdict and of which nothing can be said: `[rejected then]`.
    pub untold: [u64; 2],
    /// Parts without a verdict. They count as bad, whatever the calibration is.
    pub unjudged: u64,
    /// Parts that are known from their recorded scores.
    pub recorded: u64,
    /// Parts that are known from their stored pictures.
    pub pictured: u64,
    /// Those of them that passed then: `[rejected now]`.
    pub pictured_passes: [u64; 2],
    /// Pictures that were removed since, or cannot be read.
    pub gone: u64,
    /// Parts of which nothing can be said since the mean of several frames judged them: one of these is kept.
    pub of_means: u64,
    /// Parts that were judged by the worst of several frames, which is the one that is kept: another may be worse now.
    pub of_several: u64,
    /// Pictures that are not the ones that were written.
    pub exchanged: u64,
    /// Pictures that this program's decoder reads otherwise than the one that judged them: they are scored as it reads them.
    pub redecoded: u64,
    /// Of the passed parts without a comparable score: those that were kept by chance, and so stand for all of them, and how many
    /// of these are rejected now.
    pub sample: (u64, u64),
    /// Of the passed parts that were kept by chance, those whose pictures are gone.
    pub sample_gone: u64,
    /// The first of the parts whose verdict changes, in the order of the records.
    pub changed: Vec<Changed>,
    /// How many more there are.
    pub more: u64,
    /// Scores of the known parts under the calibration: `[rejected then]`.
    pub scores: [Vec<f32>; 2],
    /// Pictures of some of the parts whose verdict changes, beside their anomaly maps where there was a model.
    pub portraits: Vec<Portrait>,
}

/// A calibration that judged parts.
#[derive(Debug, Clone, PartialEq)]
pub struct Then {
    /// Of its file.
    pub digest: Digest,
    /// Its threshold.
    pub threshold: f32,
    /// Why its scores are not those of the calibration that is asked about, or why nobody knows it, in words that go on after `it`; `None`
    /// where they are.
    pub other: Option<String>,
}

/// A part whose verdict changes.
#[derive(Debug, Clone)]
pub struct Changed {
    /// `RUN/PART`, or the number of its record where the run is not known.
    pub id: String,
    /// When it was captured.
    pub time: String,
    /// Its score then; `None` where it was not a number.
    pub was: Option<f32>,
    /// Its score under the calibration.
    pub score: f32,
    /// Whether it is rejected now; it was not then.
    pub rejected: bool,
    /// Why it is rejected, where that is not its score.
    pub why: Option<String>,
    picture: Option<PictureEntry>,
}

/// A part that had a verdict.
struct Case {
    seq: u64,
    id: String,
    time: String,
    score: Option<f32>,
    rejected: bool,
    /// Whether it was drawn by chance, before it was judged.
    sampled: bool,
    picture: Option<PictureEntry>,
}

/// What becomes of a part.
struct Now {
    score: f32,
    rejected: bool,
    why: Option<String>,
}

/// Answers the question.
///
/// # Errors
///
/// The audit or a picture cannot be read, the network fails, the bundle is not the calibration's, or nothing is known of any part.
pub fn ask(question: &Question) -> Result<WhatIf> {
    let calibration = question.calibration;
    question.bundle.map_or(Ok(()), |bundle| calibration.check_bundle(bundle))?;
    let same = question.was.iter().filter(|(_, was)| was.same_scores(calibration)).map(|(digest, _)| *digest);
    let same = same.collect::<BTreeSet<_>>();
    let (class, threshold) = (calibration.class.clone(), calibration.threshold);
    let lane = question.lane.map(str::to_owned);
    let (range, unvouched) = (question.range, question.vouched.unvouched.clone());
    let query = Query { class: Some(class.clone()), lane, range, unvouched, ..Query::of_kind("part") };
    let mut answer = WhatIf { class, threshold, ..WhatIf::default() };
    let mut known = BTreeMap::new();
    let (mut stored, mut judged) = (Vec::new(), BTreeMap::new());
    query.each_part(question.log, |entry, run| {
        if entry.is_known_bad() {
            return Ok(());
        }
        let Some(case) = Case::of(entry, run, &question.vouched.samples)? else {
            answer.unjudged += 1;
            return Ok(());
        };
        judged.extend(entry.calibration.zip(entry.threshold.zip(Some(entry.bundle))));
        let span = answer.span.get_or_insert_with(|| (case.time.clone(), case.time.clone()));
        *span =
            (case.time.clone().min(std::mem::take(&mut span.0)), case.time.clone().max(std::mem::take(&mut span.1)));
        let is_comparable = entry.bundle == Some(calibration.bundle)
            && entry.calibration.is_some_and(|calibration| same.contains(&calibration));
        if is_comparable {
            // A score that is not a number is not written down.
            let score = entry.score.unwrap_or(f32::NAN);
            answer.recorded += 1;
            answer.count(&mut known, case, Now { score, rejected: calibration.rejects(score), why: None });
        } else if question.bundle.is_some() && case.file().is_some() && entry.is_score_of_several() {
            // Of its frames the worst alone is kept: what their mean would be nobody knows.
            answer.of_means += 1;
            answer.sample_gone += u64::from(case.is_sampled_pass());
            answer.untold[usize::from(case.rejected)] += 1;
        } else if question.bundle.is_some() && case.file().is_some() {
            answer.of_several += u64::from(entry.frames.as_ref().is_some_and(|frames| frames.len() > 1));
            stored.push(case);
        } else {
            answer.sample_gone += u64::from(question.bundle.is_some() && case.is_sampled_pass());
            answer.untold[usize::from(case.rejected)] += 1;
        }
        Ok(())
    })?;
    question.unused(&judged.keys().copied().collect()).iter().for_each(|why| log::warn!("{why}"));
    if let Some(bundle) = question.bundle {
        let again = again(question, bundle, &stored)?;
        for (case, again) in stored.into_iter().zip(again) {
            answer.count_again(&mut known, case, again);
        }
    }
    answer.finish(known).map_err(|error| match query.unknown_names(question.log).unwrap_or_default().first() {
        Some(unknown) => Error::usage(unknown.clone()).advise("name one of them, or another time"),
        None => error,
    })?;
    answer.asked = question.told();
    answer.calibration = question.calibration_told();
    answer.then =
        judged.into_iter().map(|(digest, (threshold, bundle))| question.then(digest, threshold, bundle)).collect();
    answer.portraits = portraits(question, &answer.changed)?;
    Ok(answer)
}

/// What came of a stored picture.
enum Again {
    /// Whether this program's decoder reads it otherwise than the one that judged it.
    Scored(Now, bool),
    Gone,
    Exchanged,
}

/// Scores stored pictures again.
fn again(question: &Question, bundle: &Bundle, stored: &[Case]) -> Result<Vec<Again>> {
    let calibration = question.calibration;
    let class = bundle.manifest.class_index(&calibration.class)?;
    batch::for_each(bundle, "stored pictures", stored, |inspector, _, case| {
        let Some(picture) = &case.picture else { return Ok(Again::Gone) };
        let stored = read_picture(question.pictures, picture)?;
        if let Stored::Changed(why) = &stored {
            log::warn!("{}: {why}", case.id);
            return Ok(Again::Exchanged);
        }
        let redecoded = matches!(stored, Stored::Redecoded { .. });
        let Some(image) = stored.image() else { return Ok(Again::Gone) };
        if let Err(error) = calibration.check_frame(image.dimensions()) {
            let now = Now { score: f32::NAN, rejected: true, why: Some(error.line()) };
            return Ok(Again::Scored(now, redecoded));
        }
        let inspection = inspector.inspect(&image, class, &calibration.reference)?;
        let fault = calibration
            .picture
            .and_then(|limits| limits.fault(&Statistics::of(&image, calibration.reference.mask.as_ref())));
        let other = inspection.resembles.map(|other| format!("it looks like '{}'", bundle.manifest.classes[other]));
        let why = fault.map(|fault| fault.to_string()).or(other);
        let rejected = why.is_some() || calibration.rejects(inspection.score);
        Ok(Again::Scored(Now { score: inspection.score, rejected, why }, redecoded))
    })
}

/// Pictures of parts whose verdict changes, beside their anomaly maps where there is a model.
fn portraits(question: &Question, changed: &[Changed]) -> Result<Vec<Portrait>> {
    let model = question.bundle.map(|bundle| {
        Ok::<_, Error>((Inspector::new(bundle)?, bundle.manifest.class_index(&question.calibration.class)?))
    });
    let mut model = model.transpose()?;
    let mut portraits = Vec::new();
    for part in changed {
        let Some(picture) = part.picture.as_ref().filter(|_| portraits.len() < SHOWN) else { continue };
        let Some(image) = read_picture(question.pictures, picture)?.image() else { continue };
        let picture = match &mut model {
            None => image,
            Some((inspector, class)) => {
                let map = inspector.inspect(&image, *class, &question.calibration.reference)?.map;
                let paint = Paint { full: 2.0 * question.calibration.threshold, rejected: Some(part.rejected) };
                beside(&image, &map, paint)
            }
        };
        portraits.push(Portrait { file: part.id.clone(), score: part.score, picture });
    }
    Ok(portraits)
}

impl Case {
    /// `None` for a part without a verdict.
    fn of(entry: &Entry, run: Option<&str>, samples: &Samples) -> Result<Option<Self>> {
        let rejected = match entry.verdict.as_deref() {
            Some("pass") => false,
            Some("reject") => true,
            _ => return Ok(None),
        };
        let sampled =
            entry.picture.as_ref().map(|picture| samples.holds(entry.seq, entry.part, picture)).transpose()?;
        let sampled = sampled.flatten() == Some(true);
        let run = run.or_else(|| entry.picture.as_ref()?.run());
        let id = match (run, entry.part) {
            (Some(run), Some(part)) => format!("{run}/{part}"),
            _ => format!("record {}", entry.seq),
        };
        let (time, picture) = (entry.time.clone(), entry.picture.clone());
        Ok(Some(Case { seq: entry.seq, id, time, score: entry.score, rejected, sampled, picture }))
    }

    fn file(&self) -> Option<&str> {
        self.picture.as_ref()?.file.as_deref()
    }

    fn is_sampled_pass(&self) -> bool {
        !self.rejected && self.sampled
    }
}

impl WhatIf {
    /// Of what changes the first parts are kept in `changed`, by the numbers of their records, and the rest is counted.
    fn count(&mut self, changed: &mut BTreeMap<u64, Changed>, case: Case, now: Now) {
        self.counts[usize::from(case.rejected)][usize::from(now.rejected)] += 1;
        self.scores[usize::from(case.rejected)].push(now.score);
        if case.rejected != now.rejected {
            let Case { seq, id, time, score: was, picture, .. } = case;
            let Now { score, rejected, why } = now;
            changed.insert(seq, Changed { id, time, was, score, rejected, why, picture });
            if changed.len() > LISTED {
                changed.pop_last();
                self.more += 1;
            }
        }
    }

    fn count_again(&mut self, changed: &mut BTreeMap<u64, Changed>, case: Case, again: Again) {
        let now = match again {
            Again::Scored(now, redecoded) => {
                self.redecoded += u64::from(redecoded);
                now
            }
            missing => {
                self.gone += u64::from(matches!(missing, Again::Gone));
                self.exchanged += u64::from(matches!(missing, Again::Exchanged));
                self.sample_gone += u64::from(case.is_sampled_pass());
                self.untold[usize::from(case.rejected)] += 1;
                return;
            }
        };
        self.pictured += 1;
        if !case.rejected {
            self.pictured_passes[usize::from(now.rejected)] += 1;
        }
        if case.is_sampled_pass() {
            self.sample = (self.sample.0 + 1, self.sample.1 + u64::from(now.rejected));
        }
        self.count(changed, case, now);
    }

    fn finish(&mut self, changed: BTreeMap<u64, Changed>) -> Result<()> {
        if self.known() == 0 {
            let nothing = Error::usage(format!(
                "nothing can be told of {} of '{}'",
                print::counted(self.untold.iter().sum::<u64>() + self.unjudged, "part"),
                self.class
            ));
            let nothing = match self.means_told() {
                Some(why) => nothing.because(why),
                None => nothing,
            };
            return Err(nothing.advise(
                "name the calibrations that were in use then (--was), the model (--model) and the folder of the pictures \
                 (--pictures), or another time",
            ));
        }
        self.changed = changed.into_values().collect();
        Ok(())
    }

    /// That no verdict changes, and of how many parts that is known.
    pub fn unchanged_told(&self) -> String {
        let known = print::counted(self.known(), "part");
        match self.untold.iter().sum::<u64>() {
            0 => format!("no verdict changes, of {known}"),
            untold => format!(
                "no verdict changes of what is known, {known}; of {} more nobody knows",
                print::counted(untold, "part")
            ),
        }
    }

    /// Parts whose verdict is known.
    pub fn known(&self) -> u64 {
        self.counts.iter().flatten().sum()
    }

    /// The share of parts with a verdict that were rejected then, and between which shares are now. Where all are known
    /// these are one number; otherwise those that were kept by chance stand for the passed parts of which there is no score,
    /// with the confidence of [`rejected_passes`](Self::rejected_passes), and nobody knows what becomes of unknown rejects.
    pub fn reject_rates(&self) -> (f64, (f64, f64)) {
        let [[_, caught], [released, kept]] = self.counts;
        let [passed, rejected] = self.untold;
        let share = |count: f64| count / (self.known() + passed + rejected).max(1) as f64;
        let [passing, failing] = self.pictured_passes;
        // What is known of a part is known, whatever the sample says of all.
        let (least, most) = (failing as f64, (failing + passed) as f64);
        let of = (passing + failing + passed) as f64;
        let (low, high) = self.rejected_passes().unwrap_or((0.0, 1.0));
        let (low, high) = ((low * of).clamp(least, most), (high * of).clamp(least, most));
        let sure = (caught - failing + kept) as f64;
        (share((released + kept + rejected) as f64), (share(sure + low), share(sure + high + rejected as f64)))
    }

    /// Of the passed parts without a comparable score the share that is rejected now lies between these, with 95% confidence
    /// (Clopper and Pearson); `None` where no picture was kept by chance, or so many of them are gone that the rest is no fair sample.
    pub fn rejected_passes(&self) -> Option<(f64, f64)> {
        let (of, hits) = self.sample;
        (of > 0 && self.is_fair()).then(|| clopper_pearson(hits as usize, of as usize))
    }

    /// Whether what is left of the sample stands for all of it: retention removes the oldest pictures, and not any.
    pub fn is_fair(&self) -> bool {
        self.sample_gone * ONE_IN <= self.sample.0 + self.sample_gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_one_part_nothing_is_told_in_the_plural() {
        let one =
            WhatIf { recorded: 1, counts: [[1, 0], [0, 0]], gone: 1, exchanged: 1, of_several: 1, ..WhatIf::default() };
        let one = WhatIf { sample: (1, 0), unjudged: 1, untold: [1, 0], ..one };
        let told = one.remarks().join("\n");
        for says in
            ["1 picture is not there", "1 picture is not what", "1 part was judged by", "1 passed part was kept"]
        {
            assert!(told.contains(says), "{says}: {told}");
        }
        assert!(
            !told.contains("they") && told.contains("1 part had no verdict, and nobody knows what it would be"),
            "{told}"
        );
    }

    #[test]
    fn rates_are_of_all_parts_that_had_a_verdict_and_not_of_those_whose_pictures_are_kept() {
        // 10,000 parts, 100 of them rejected. All rejects have pictures, and a hundred of the passes.
        let sampled = WhatIf {
            counts: [[98, 2], [40, 60]],
            untold: [9800, 0],
            pictured: 200,
            pictured_passes: [98, 2],
            sample: (100, 2),
            ..WhatIf::default()
        };
        let (then, (low, high)) = sampled.reject_rates();
        assert_eq!(then, 0.01);
        let (least, most) = sampled.rejected_passes().unwrap();
        assert!((low - (0.006 + 0.99 * least)).abs() < 1e-12 && (high - (0.006 + 0.99 * most)).abs() < 1e-12);
        assert!(low < 0.026 && 0.026 < high && high < 0.08, "{low} {high}");

        // Of a sample that lost its oldest pictures nothing is told.
        let unfair = WhatIf { sample_gone: 6, ..sampled.clone() };
        assert!(WhatIf { sample_gone: 5, ..sampled.clone() }.is_fair() && !unfair.is_fair());
        assert_eq!((unfair.rejected_passes(), unfair.reject_rates().1), (None, (0.0062, 0.9862)));

        let whole = WhatIf { counts: [[9890, 10], [40, 60]], recorded: 10_000, ..WhatIf::default() };
        assert_eq!(whole.reject_rates(), (0.01, (0.007, 0.007)));

        // Without a sample nothing is known of the passes, and of rejects without a picture neither.
        let nothing = WhatIf { counts: [[0, 0], [0, 50]], untold: [900, 50], ..WhatIf::default() };
        assert_eq!(nothing.reject_rates(), (0.1, (0.05, 1.0)));
    }
}
