//! Normal parts from the line's own audit.
//!
//! Passed parts alone are censored: each lies below the threshold that let it pass. A threshold set on them rejects its own share
//! of what the one before let through, so that with every calibration more good parts are rejected. What is fair is a sample that
//! was drawn before anybody knew a verdict. The audit has one: whether a part is of the share `[audit] sample` is said by the hash of
//! its name, of rejected parts too. Of those a person says which were good, and then all good parts of the sample are here, whatever
//! became of them.

mod judged;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use judged::{Judged, Said};

use crate::audit::{PictureEntry, Query, Range, Stored, Vouched, read_picture};
use crate::progress::Progress;
use crate::{Error, Result, dataset, print, time};

/// More than one picture in so many must not be gone: what removes pictures removes those of passed parts first.
pub(super) const ONE_IN: u64 = 20;

/// Where a calibration's images come from, when that is an audit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FromAudit {
    /// The audit's newest file.
    pub log: String,
    /// The first moment that was asked for; `None`: from the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The moment after the last; `None`: to the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Passed parts of the sample.
    pub passed: usize,
    /// Rejected parts of the sample that somebody found defective; they are not among the images.
    pub rejected_bad: usize,
    /// Parts of the sample whose pictures are not there.
    pub gone: u64,
    /// The lane whose parts they are; `None`: all parts of the class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<String>,
    /// Rejected parts of the sample that somebody found good; they are among the images.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejected_good: Vec<Said>,
}

impl FromAudit {
    /// Whether the image `file` is of a rejected part of which a person said that it was good.
    pub fn is_said_good(&self, file: &str) -> bool {
        let name = Path::new(file).file_stem().unwrap_or_default().to_string_lossy();
        self.rejected_good.iter().any(|said| name.ends_with(&behind_the_time(&said.part)))
    }
}

/// What a picture's name has of its part, `RUN/PART`, behind the time of the capture.
fn behind_the_time(part: &str) -> String {
    format!("-{}", part.replace('/', "-"))
}

/// A part of the sample whose picture was kept.
#[derive(Debug, Clone)]
pub struct Drawn {
    /// `RUN/PART`.
    pub id: String,
    /// When it was captured, RFC 3339.
    time: String,
    picture: PictureEntry,
}

impl Drawn {
    /// The picture's file, below the pictures' folder.
    pub fn file(&self) -> &str {
        self.picture.file.as_deref().unwrap_or_default()
    }
}

/// The parts of one product that were drawn by chance, whatever became of them.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// The audit's newest file, without its folder.
    pub log: String,
    /// Their time.
    pub range: Range,
    /// Those that passed.
    pub passed: Vec<Drawn>,
    /// Those that were rejected.
    pub rejected: Vec<Drawn>,
    /// Those whose pictures are not there.
    pub gone: u64,
    /// Those of them that were rejected.
    rejects_gone: u64,
    /// Their lane, where one was named.
    pub lane: Option<String>,
}

impl Sample {
    /// Draws it from the audit in `log`, as far as its check `vouched` for it: of parts of `class`, and of one lane alone where it is named. Parts without a verdict are no part of it: that a frame was late, lost or broken has nothing
    /// to do with how the part looked.
    ///
    /// # Errors
    ///
    /// The audit cannot be read, no passed part was kept by chance, the mean of several frames judged parts, it does not say which rejected ones belong to the sample, or more than
    /// one in twenty of these has no picture; or a record says that a part was drawn by chance that was not.
    pub fn draw(log: &Path, class: &str, lane: Option<&str>, range: Range, vouched: &Vouched) -> Result<Self> {
        let lane = lane.map(str::to_owned);
        let unvouched = vouched.unvouched.clone();
        let query = Query { class: Some(class.into()), lane: lane.clone(), range, unvouched, ..Query::of_kind("part") };
        let name = log.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (mut unmarked, mut of_means) = (0, 0);
        let mut sample = Sample { log: name, range, lane, ..Sample::default() };
        query.each_part(log, |part, _| {
            // What passed though it is known to be bad is no normal part.
            if part.is_known_bad() {
                return Ok(());
            }
            let drawn = match (part.verdict.as_deref(), &part.picture) {
                (Some("pass"), Some(picture)) => (&mut sample.passed, picture),
                (Some("reject"), Some(picture)) => (&mut sample.rejected, picture),
                _ => return Ok(()),
            };
            let sampled = vouched.samples.holds(part.seq, part.part, drawn.1)?;
            of_means += u64::from(part.is_score_of_several() && sampled == Some(true));
            match (sampled, drawn.1.run(), part.part) {
                (Some(true), Some(run), Some(number)) => {
                    let (id, time) = (format!("{run}/{number}"), part.time.clone());
                    drawn.0.push(Drawn { id, time, picture: drawn.1.clone() });
                }
                (Some(true), ..) => {
                    sample.gone += 1;
                    sample.rejects_gone += u64::from(part.verdict.as_deref() == Some("reject"));
                }
                (None, ..) if part.verdict.as_deref() == Some("reject") => unmarked += 1,
                _ => {}
            }
            Ok(())
        })?;
        if of_means > 0 {
            return Err(Error::usage(format!(
                "the mean of several frames judged {} of the sample",
                print::counted(of_means, "part")
            ))
            .because("of these frames the worst alone is kept, and a threshold that is set on the worst lets too many means pass")
            .advise("calibrate on pictures of good parts (--images), or with the line's camera (--live)"));
        }
        if unmarked > 0 {
            return Err(Error::usage(format!(
                "nobody knows whether {} of the sample",
                print::are(unmarked, "rejected part")
            ))
            .because(
                "an older program wrote such records, and passed parts alone are censored at the threshold of then",
            )
            .advise("ask for a later time, or calibrate on pictures of good parts (--images)"));
        }
        sample.check_rejects()?;
        if sample.passed.is_empty() {
            let none = Error::usage(format!("no passed part of '{class}' was kept by chance"));
            if let Some(unknown) = query.unknown_names(log)?.into_iter().reduce(|all, next| format!("{all}; {next}")) {
                return Err(none.because(unknown).advise("name one of them, or another time"));
            }
            return Err(
                none.advise("let the line keep a share of them: sample = 0.01 below [audit]; or ask for another time")
            );
        }
        Ok(sample)
    }

    /// Leaves out the rejected parts whose pictures are gone and of which nobody has said yet whether they were good: nobody could look at
    /// them. Says which, and counts them with what is not there.
    ///
    /// # Errors
    ///
    /// They are more than one in twenty of the rejected parts, or a picture that is there cannot be read, or is not what was written.
    pub fn leave_out_unseen(&mut self, judged: &Judged, pictures: &Path) -> Result<()> {
        let (mut seen, mut unseen) = (Vec::new(), Vec::new());
        for drawn in std::mem::take(&mut self.rejected) {
            if judged.is_said(&drawn.id) {
                seen.push(drawn);
                continue;
            }
            match read_picture(pictures, &drawn.picture)? {
                Stored::Gone(why) | Stored::Unreadable(why) | Stored::Redecoded { image: None, why } => {
                    unseen.push(format!("{} ({why})", drawn.id));
                }
                Stored::Whole(_) | Stored::Redecoded { image: Some(_), .. } => seen.push(drawn),
                Stored::Changed(why) => return Err(exchanged(&drawn, why)),
            }
        }
        self.rejected = seen;
        let Some(first) = unseen.first() else { return Ok(()) };
        self.gone += unseen.len() as u64;
        self.rejects_gone += unseen.len() as u64;
        log::warn!(
            "{} not asked about, since nobody can look at a picture that is gone, or that nothing reads: {first}{}",
            print::are(unseen.len() as u64, "rejected part"),
            if unseen.len() == 1 { String::new() } else { format!(" and {} more", unseen.len() - 1) }
        );
        self.check_rejects()
    }

    /// Refuses a sample that lacks more than one in twenty of its rejected parts.
    fn check_rejects(&self) -> Result<()> {
        let (gone, rejects) = (self.rejects_gone, self.rejects_gone + self.rejected.len() as u64);
        match gone * ONE_IN > rejects {
            false => Ok(()),
            true => Err(Error::usage(format!(
                "no picture is there of {gone} of {} in the sample",
                print::counted(rejects, "rejected part")
            ))
            .because(
                "nobody can say whether such a part was good, and passed parts alone are censored at the threshold of then",
            )
            .advise("ask for another time; keep_rejects_days says how long the line keeps them")),
        }
    }

    /// How many normal parts it has at most: a rejected one of which nobody has said it yet may have been good.
    pub fn most(&self, judged: &Judged) -> usize {
        self.passed.len() + self.rejected.iter().filter(|drawn| !judged.is_bad(&drawn.id)).count()
    }

    /// Copies the pictures of passed parts, and of the rejected ones that were good, into `folder`, under names that begin with the time of
    /// the capture ([`time::in_name`]), and have the run and the part; a picture that lacks what
    /// image files have (MJPG frames may) becomes a PNG file of the same pixels. Gives the files, and what the calibration says of
    /// them.
    ///
    /// # Errors
    ///
    /// A picture is not the one that was judged, too many are gone, or the folder cannot be written.
    pub fn copy(&self, pictures: &Path, judged: &Judged, folder: &Path) -> Result<(Vec<PathBuf>, FromAudit)> {
        let good = self.rejected.iter().filter_map(|drawn| judged.good(&drawn.id).map(|by| (drawn, by)));
        let good = good.collect::<Vec<_>>();
        let progress = Progress::start("stored pictures", self.passed.len() + good.len());
        let (mut copied, mut gone, mut rejected_good) = (Vec::new(), self.gone, Vec::new());
        let mut redecoded = 0;
        for (drawn, by) in &good {
            if let Some(path) = copy(pictures, drawn, folder, &mut redecoded)? {
                copied.push(path);
                rejected_good.push(Said { part: drawn.id.clone(), by: (*by).to_owned() });
            }
            progress.step();
        }
        let rejects_gone = (good.len() - rejected_good.len()) as u64;
        if rejects_gone * ONE_IN > good.len() as u64 {
            return Err(Error::usage(format!(
                "no picture is left of {rejects_gone} of {}",
                print::counted(good.len() as u64, "good reject")
            ))
            .because("without these passed parts are left, which are censored at the threshold of then")
            .advise("ask for a later time; keep_rejects_days says how long the line keeps them"));
        }
        gone += rejects_gone;
        for drawn in &self.passed {
            match copy(pictures, drawn, folder, &mut redecoded)? {
                Some(path) => copied.push(path),
                None => gone += 1,
            }
            progress.step();
        }
        progress.finish();
        if redecoded > 0 {
            log::warn!(
                "this program's decoder reads {redecoded} of {} otherwise than the one that judged then, though what is there is what was \
                 recorded: what it reads counts",
                print::counted(copied.len() as u64, "picture")
            );
        }
        if gone * ONE_IN > copied.len() as u64 + gone {
            let all = print::counted(copied.len() as u64 + gone, "picture");
            return Err(Error::usage(format!("too many pictures are gone: {gone} of {all}"))
                .because("retention removes passed parts' pictures first, so what is left is no fair sample any more")
                .advise(
                    "ask for a later time; hgad audit query --kind pictures-removed tells which days were removed",
                ));
        }
        copied.sort();
        let source = FromAudit {
            log: self.log.clone(),
            from: self.range.from.map(|at| at.to_string()),
            to: self.range.to.map(|at| at.to_string()),
            passed: copied.len() - rejected_good.len(),
            rejected_bad: self.rejected.len() - good.len(),
            gone,
            lane: self.lane.clone(),
            rejected_good,
        };
        Ok((copied, source))
    }
}

/// A picture that is not what was written is evidence, and no loss.
fn exchanged(drawn: &Drawn, why: String) -> Error {
    Error::check(format!("the picture of {} is not the one that was judged", drawn.id))
        .because(why)
        .advise("keep it as evidence; hgad audit verify says whether the log is whole")
}

/// Copies a part's picture as this program reads it; `None` if it is not there any more, or nothing can be read. Those that this
/// program's decoder reads otherwise are counted: what it makes of the line's pictures is what the calibration is to be for.
fn copy(pictures: &Path, drawn: &Drawn, folder: &Path, redecoded: &mut usize) -> Result<Option<PathBuf>> {
    let image = match read_picture(pictures, &drawn.picture)? {
        Stored::Whole(image) => image,
        Stored::Redecoded { image: Some(image), .. } => {
            *redecoded += 1;
            image
        }
        Stored::Gone(why) | Stored::Unreadable(why) | Stored::Redecoded { image: None, why } => {
            log::warn!("{}: {why}", drawn.id);
            return Ok(None);
        }
        Stored::Changed(why) => {
            return Err(exchanged(drawn, why));
        }
    };
    let from = pictures.join(drawn.file());
    let bytes = dataset::read_bytes(&from)?;
    let is_image_file = dataset::decode_rgb(&from, &bytes).is_ok_and(|plain| plain == image);
    let ending = if is_image_file { from.extension().and_then(|e| e.to_str()).unwrap_or("png") } else { "png" };
    let to = folder.join(format!("{}{}.{ending}", time::in_name(&drawn.time), behind_the_time(&drawn.id)));
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
        Error::device(format!("picture {} cannot be written", to.display())).because(error).advise("is the disk full?")
    };
    match is_image_file {
        true => std::fs::write(&to, bytes).map_err(|error| failed(error.into()))?,
        false => image.save(&to).map_err(|error| failed(error.into()))?,
    }
    Ok(Some(to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Unvouched;

    #[test]
    fn what_nobody_vouches_for_is_no_part_of_the_sample() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("audit.jsonl");
        let record = |seq: u64, kind: &str, rest: &str| {
            format!(
                "{{\"seq\":{seq},\"kind\":\"{kind}\",\"time\":\"2026-11-24T06:00:00.000000Z\",\"monotonic_ns\":2,{rest}}}\n"
            )
        };
        let picture = |part: u64| {
            format!(
                "\"part\":{part},\"picture\":{{\"why\":\"sample\",\"sampled\":true,\"file\":\"r/2026-11-24/{part}.png\"}}"
            )
        };
        let part = |seq: u64, rest: &str| {
            record(seq, "part", &format!("\"class\":\"nut\",\"score\":1,\"verdict\":\"pass\",{rest}"))
        };
        let lines = [
            record(0, "start", "\"run\":\"r\""),
            part(1, &picture(1)),
            part(2, "\"part\":2,\"picture\":null"),
            // Added by somebody: a part, and a picture of another one that has none.
            part(3, &picture(3)),
            record(4, "picture", &picture(2)),
        ];
        std::fs::write(&log, lines.concat()).unwrap();
        let draw = |unvouched: Unvouched| {
            let vouched = Vouched { unvouched, ..Vouched::default() };
            let sample = Sample::draw(&log, "nut", None, Range::default(), &vouched).unwrap();
            sample.passed.into_iter().map(|drawn| drawn.id).collect::<Vec<_>>()
        };
        assert_eq!(draw(Unvouched::default()), ["r/1", "r/3", "r/2"]);
        assert_eq!(draw(Unvouched::new(&[], 3)), ["r/1"]);
    }

    #[test]
    fn a_rejected_part_that_somebody_found_good_is_known_by_its_picture_s_name() {
        let said = |part: &str| Said { part: part.into(), by: "A. Smith: dust".into() };
        let from = FromAudit { rejected_good: vec![said("20261124T162231.137055Z/12")], ..FromAudit::default() };
        let file = |part: u64| format!("20261124T162240.000000Z-20261124T162231.137055Z-{part}.png");
        assert!(from.is_said_good(&file(12)));
        assert!(!from.is_said_good(&file(112)) && !from.is_said_good(&file(1)) && !from.is_said_good("12.png"));
    }

    #[test]
    fn the_worst_frames_of_parts_that_a_mean_judged_are_no_sample() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("audit.jsonl");
        let part = |score: f32| {
            format!(
                "{{\"seq\":1,\"kind\":\"part\",\"time\":\"2026-11-24T06:00:00.000000Z\",\"monotonic_ns\":2,\"part\":1,\"class\":\"nut\",\
                 \"score\":{score},\"verdict\":\"pass\",\"frames\":[{{\"frame\":1,\"monotonic_ns\":1,\"offset_mm\":1,\"score\":1.0}},\
                 {{\"frame\":2,\"monotonic_ns\":2,\"offset_mm\":1,\"score\":2.0}}],\
                 \"picture\":{{\"why\":\"sample\",\"sampled\":true,\"file\":\"r/2026-11-24/00000001-sample.png\"}}}}\n"
            )
        };
        let draw = |score: f32| {
            std::fs::write(&log, part(score)).unwrap();
            Sample::draw(&log, "nut", None, Range::default(), &Vouched::default()).map_err(|error| error.report())
        };
        assert_eq!(draw(2.0).unwrap().passed.len(), 1, "the worst judged");
        let refused = draw(1.5).unwrap_err();
        assert!(
            refused.contains("the mean of several frames judged 1 part") && refused.contains("--live"),
            "{refused}"
        );
    }
}
