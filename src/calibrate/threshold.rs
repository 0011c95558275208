//! The order statistic that is the threshold, and the false-reject rate that it leads to.
//!
//! With n exchangeable normal parts and their k-th smallest score as threshold, the next normal part lies above it with
//! probability at most (n + 1 - k)/(n + 1) (split-conformal prediction; Vovk, Gammerman and Shafer, "Algorithmic Learning in
//! a Random World", 2005, section 4.2). The rate that a given threshold leads to is random, since the n parts were: it has
//! the distribution Beta(n + 1 - k, k), or lies below it where scores are tied (Vovk, "Conditional validity of inductive
//! conformal predictors", 2012, proposition 2a).

use statrs::distribution::{Beta, ContinuousCDF};
use statrs::function::beta::ln_beta;

use super::FEWEST_PARTS;
use crate::{Error, Result, print};

/// The interval of the realised rate that is told holds it with this probability.
pub const INTERVAL: f64 = 0.95;

/// What a threshold is to achieve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Aim {
    /// Share of normal parts that may be rejected, between 0 and 1.
    pub frr: f64,
    /// With this probability, between 0 and 1, the realised rate is no more than that. Without it the rate is only kept on
    /// average over calibrations.
    pub confidence: Option<f64>,
}

/// A threshold, and the rate that it leads to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Threshold {
    /// A part is rejected when its score is greater than this.
    pub value: f32,
    /// The expected false-reject rate is at most this, if the parts to come are like those it was set on.
    pub promised_frr: f64,
    /// The realised rate lies between these with probability [`INTERVAL`].
    pub interval: (f64, f64),
}

/// A share as somebody wrote it: without what a computer's fractions add to it.
pub(crate) fn percent(share: f64) -> String {
    format!("{}%", (share * 1e6).round() / 1e4)
}

impl Aim {
    /// # Errors
    ///
    /// The rate or the confidence cannot be one.
    pub fn check(&self) -> Result<()> {
        let is_share = |value: f64| value > 0.0 && value < 1.0;
        if !is_share(self.frr) {
            return Err(Error::usage(format!("a false-reject rate of {} cannot be asked for", self.frr))
                .advise("give a rate between 0 and 1, such as 0.01 for one normal part in a hundred"));
        }
        match self.confidence.filter(|confidence| !is_share(*confidence)) {
            None => Ok(()),
            Some(confidence) => Err(Error::usage(format!("a confidence of {confidence} cannot be asked for"))
                .advise("give a probability between 0 and 1, such as 0.95")),
        }
    }

    /// The smallest threshold that keeps the rate, from the scores of normal parts that are independent of each other.
    ///
    /// Without a confidence and with too few parts for the rate the largest score is taken, and `promised_frr` says which
    /// rate that is.
    ///
    /// # Errors
    ///
    /// There are too few parts for the confidence.
    pub fn threshold(&self, scores: &[f32]) -> Result<Threshold> {
        let n = scores.len();
        let rank = self.rank(n)?;
        let mut sorted = scores.to_vec();
        sorted.sort_by(f32::total_cmp);
        let realised = realised(n, rank);
        let outside = (1.0 - INTERVAL) / 2.0;
        Ok(Threshold {
            value: sorted[rank - 1],
            promised_frr: (n + 1 - rank) as f64 / (n + 1) as f64,
            interval: (realised.inverse_cdf(outside), realised.inverse_cdf(1.0 - outside)),
        })
    }

    /// Which of `n` scores, from 1 for the smallest, is the threshold.
    ///
    /// # Errors
    ///
    /// `n` is too few for the confidence.
    pub fn rank(&self, n: usize) -> Result<usize> {
        match self.confidence {
            None => Ok(average_rank(n, self.frr).min(n)),
            Some(confidence) => self.confident_rank(n, confidence),
        }
    }

    /// How many parts it takes.
    pub fn parts_needed(&self) -> usize {
        match self.confidence {
            None => (1.0 / self.frr - 1e-9).ceil() as usize - 1,
            // The largest of n scores keeps the rate with probability 1 - (1 - rate)^n.
            Some(confidence) => ((1.0 - confidence).ln() / (1.0 - self.frr).ln() - 1e-9).ceil().max(1.0) as usize,
        }
    }

    /// The least rate that so many parts can keep, between 0 and 1, rounded up to two significant digits.
    pub fn least_rate(&self, parts: usize) -> f64 {
        let least = match self.confidence {
            None => 1.0 / (parts + 1) as f64,
            Some(confidence) => 1.0 - (1.0 - confidence).powf(1.0 / parts.max(1) as f64),
        };
        rounded_up(least)
    }

    /// The error of `parts` that are fewer than [`Self::parts_needed`]: it says how many it takes, and which rate these could keep.
    pub fn too_few(&self, parts: usize) -> Error {
        let rate = percent(self.frr);
        let (what, instead) = match self.confidence {
            None => {
                (format!("to promise {rate} false rejects"), "; --few-parts takes the highest score without a promise")
            }
            // That flag cannot help here: a confidence is a promise.
            Some(confidence) => (
                format!("for at most {rate} false rejects with {} confidence", percent(confidence)),
                "; or ask for a smaller --confidence",
            ),
        };
        // Fewer than that set no threshold by any rate.
        let kept = (parts >= FEWEST_PARTS)
            .then(|| format!("; or ask for a rate that {parts} can keep (--target-frr {})", self.least_rate(parts)));
        Error::usage(format!("{} too few {what}", print::are(parts as u64, "normal part"))).advise(format!(
            "{} are needed: give some more than that, since copies and pictures of other products do not count{}{instead}",
            self.parts_needed(),
            kept.unwrap_or_default()
        ))
    }

    fn confident_rank(&self, n: usize, confidence: f64) -> Result<usize> {
        let keeps = |rank: usize| realised(n, rank).cdf(self.frr) >= confidence;
        // The higher the rank, the lower the rate: the first that keeps it is searched for.
        let (mut fails, mut holds) = (0, n + 1);
        while holds - fails > 1 {
            let middle = fails.midpoint(holds);
            *(if keeps(middle) { &mut holds } else { &mut fails }) = middle;
        }
        if holds <= n {
            return Ok(holds);
        }
        Err(self.too_few(n))
    }
}

/// The least number of two significant digits that is no less than `share`, which lies between 0 and 1.
fn rounded_up(share: f64) -> f64 {
    // What a fraction's last bits add is no digit; one digit more than asked for where rounding up would give 1, which is no rate.
    let digits = |digits: i32| {
        let scale = 10f64.powi(digits - 1 - share.log10().floor() as i32);
        (share * scale - 1e-9).ceil() / scale
    };
    (2..=15).map(digits).find(|rounded| *rounded < 1.0).unwrap_or(share)
}

/// The rank whose expected rate is at most `frr`; n + 1 when there is none.
fn average_rank(n: usize, frr: f64) -> usize {
    // Rounded before it is rounded up: 0.99 * 100 must be 99, not 99.00000000000001.
    let exact = (n + 1) as f64 * (1.0 - frr);
    ((exact * 1e9).round() / 1e9).ceil().max(1.0) as usize
}

/// With which probability at most `most` of `m` further parts lie above the `rank`-th smallest of `n` scores, if all are
/// exchangeable and no two scores are equal: the beta-binomial distribution of the [`realised`] rate.
pub(super) fn at_most(n: usize, rank: usize, m: usize, most: usize) -> f64 {
    let (a, b) = ((n + 1 - rank) as f64, rank as f64);
    let term = |r: usize| {
        let (r, rest) = (r as f64, (m - r) as f64);
        (ln_beta(a + r, b + rest) - ln_beta(a, b) - (m as f64 + 1.0).ln() - ln_beta(r + 1.0, rest + 1.0)).exp()
    };
    (0..=most.min(m)).map(term).sum()
}

/// The distribution of the realised rate of the `rank`-th smallest of `n` scores; `rank` is 1 to n.
fn realised(n: usize, rank: usize) -> Beta {
    Beta::new((n + 1 - rank) as f64, rank as f64).expect("both parameters are at least 1")
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const ON_AVERAGE: Aim = Aim { frr: 0.01, confidence: None };
    const CONFIDENT: Aim = Aim { frr: 0.01, confidence: Some(0.95) };

    fn ascending(n: usize) -> Vec<f32> {
        (1..=n).rev().map(|score| score as f32).collect()
    }

    #[test]
    fn the_threshold_is_the_conformal_order_statistic() {
        // rank = ceil((n + 1)(1 - frr)), at most n.
        for (n, frr, rank) in [(99, 0.01, 99), (199, 0.01, 198), (100, 0.01, 100), (18, 0.01, 18), (19, 0.10, 18)] {
            let threshold = Aim { frr, confidence: None }.threshold(&ascending(n)).unwrap();
            assert_eq!(threshold.value, rank as f32, "n = {n}, rate {frr}");
            assert_eq!(threshold.promised_frr, (n + 1 - rank) as f64 / (n + 1) as f64);
        }
    }

    #[test]
    fn so_many_parts_are_needed_and_no_fewer() {
        assert_eq!((ON_AVERAGE.parts_needed(), CONFIDENT.parts_needed()), (99, 299));
        assert!(ON_AVERAGE.threshold(&ascending(99)).unwrap().promised_frr <= 0.01);
        assert!(ON_AVERAGE.threshold(&ascending(98)).unwrap().promised_frr > 0.01);
        assert_eq!(CONFIDENT.threshold(&ascending(299)).unwrap().value, 299.0);
        let error = CONFIDENT.threshold(&ascending(298)).unwrap_err();
        assert!(error.report().contains("at most 1% false rejects with 95% confidence"), "{}", error.report());
        assert!(error.report().contains("299 are needed"), "{}", error.report());
    }

    #[test]
    fn the_rate_that_so_many_parts_can_keep_is_told_with_two_digits_and_is_kept() {
        let told = |aim: Aim, parts: &[usize]| parts.iter().map(|parts| aim.least_rate(*parts)).collect::<Vec<_>>();
        // 1/31, 1/100, 1/1000, 1/10001; and 1 - 0.05^(1/n).
        assert_eq!(told(ON_AVERAGE, &[30, 99, 999, 10_000]), [0.033, 0.01, 0.001, 0.0001]);
        assert_eq!(told(CONFIDENT, &[30, 59, 299, 10_000]), [0.096, 0.05, 0.01, 0.0003]);
        for (parts, confidence) in (1..3000).flat_map(|parts| [None, Some(0.95), Some(0.9999)].map(|c| (parts, c))) {
            let frr = Aim { frr: 0.5, confidence }.least_rate(parts);
            let aim = Aim { frr, confidence };
            assert!(aim.check().is_ok() && aim.parts_needed() <= parts, "{parts} parts, {frr}, {confidence:?}");
            assert!(
                aim.rank(parts).is_ok() && average_rank(parts, frr) <= parts,
                "{parts} parts, {frr}, {confidence:?}"
            );
        }
    }

    #[test]
    fn who_gives_too_few_parts_is_told_what_helps() {
        let told = |aim: Aim, parts: usize| aim.too_few(parts).report();
        let on_average = told(ON_AVERAGE, 30);
        assert!(on_average.contains("30 normal parts are too few to promise 1% false rejects"), "{on_average}");
        assert!(on_average.contains("--target-frr 0.033") && on_average.contains("--few-parts"), "{on_average}");
        let confident = told(CONFIDENT, 30);
        assert!(confident.contains("at most 1% false rejects with 95% confidence"), "{confident}");
        assert!(confident.contains("--target-frr 0.096") && confident.contains("--confidence"), "{confident}");
        assert!(!confident.contains("--few-parts"), "the flag keeps no promise: {confident}");
        assert!(!told(CONFIDENT, 9).contains("--target-frr"), "so few set no threshold by any rate");
    }

    #[test]
    fn the_interval_is_that_of_the_beta_distribution() {
        // Of the largest of 99 scores the realised rate has the distribution function 1 - (1 - x)^99.
        let (low, high) = ON_AVERAGE.threshold(&ascending(99)).unwrap().interval;
        let distribution = |x: f64| 1.0 - (1.0 - x).powi(99);
        assert!((distribution(low) - 0.025).abs() < 1e-6 && (distribution(high) - 0.975).abs() < 1e-6, "{low} {high}");
    }

    #[test]
    fn the_rate_is_kept_as_often_as_asked_for() {
        // A score that is uniform on 0..1 lies above a threshold t with probability 1 - t: the realised rate is known exactly.
        let mut random = ChaCha8Rng::seed_from_u64(1);
        for (n, aim) in [(299, CONFIDENT), (1000, CONFIDENT), (500, Aim { frr: 0.05, confidence: Some(0.9) })] {
            let rates = (0..2000)
                .map(|_| {
                    let scores = (0..n).map(|_| random.random::<f32>()).collect::<Vec<_>>();
                    let threshold = aim.threshold(&scores).unwrap();
                    (1.0 - f64::from(threshold.value), threshold.interval)
                })
                .collect::<Vec<_>>();
            let share = |holds: &dyn Fn(f64, (f64, f64)) -> bool| {
                rates.iter().filter(|(rate, interval)| holds(*rate, *interval)).count() as f64 / rates.len() as f64
            };
            let kept = share(&|rate, _| rate <= aim.frr);
            let inside = share(&|rate, (low, high)| (low..=high).contains(&rate));
            // Four standard deviations of a share of 2000.
            let slack = 0.02;
            assert!(kept >= aim.confidence.unwrap() - slack, "{aim:?}, n = {n}: kept in {kept}");
            assert!((inside - INTERVAL).abs() < slack, "{aim:?}, n = {n}: inside in {inside}");
        }
    }

    #[test]
    fn rejects_among_further_parts_are_counted_over_all_orders() {
        // Of 3 + 2 parts in random order, those above the largest of the 3: none in 6 of 10 orders, one in 3, both in 1.
        for (most, expected) in [(0, 0.6), (1, 0.9), (2, 1.0)] {
            assert!((at_most(3, 3, 2, most) - expected).abs() < 1e-12);
        }
        // Above the second of the 3: two ways of three places for both to lie below it, of ten.
        assert!((at_most(3, 2, 2, 0) - 0.3).abs() < 1e-12);
    }

    #[test]
    fn parts_that_passed_alone_set_a_threshold_that_rejects_more_each_time() {
        // Scores are uniform on 0..1, so a threshold's rate is what is above it.
        let mut random = ChaCha8Rng::seed_from_u64(2);
        let aim = Aim { frr: 0.02, confidence: None };
        let mut calibrated_again = |threshold: f32, is_censored: bool| {
            let scores =
                (0..20_000).map(|_| random.random::<f32>()).filter(|score| !is_censored || *score <= threshold);
            aim.threshold(&scores.collect::<Vec<_>>()).unwrap().value
        };
        let (mut censored, mut fair) = (0.98, 0.98);
        for _ in 0..5 {
            (censored, fair) = (calibrated_again(censored, true), calibrated_again(fair, false));
        }
        // 1 - 0.98^6 and 0.02, with five standard deviations of each.
        assert!((1.0 - censored - 0.114).abs() < 0.015, "{censored}");
        assert!((1.0 - fair - 0.02).abs() < 0.005, "{fair}");
    }

    #[test]
    fn shares_that_are_none_are_refused() {
        for (frr, confidence) in [(0.0, None), (1.0, None), (f64::NAN, None), (0.01, Some(1.0)), (0.01, Some(95.0))] {
            assert_eq!(Aim { frr, confidence }.check().unwrap_err().kind().exit_code(), 2, "{frr} {confidence:?}");
        }
    }
}
