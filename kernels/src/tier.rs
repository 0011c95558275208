//! Which instructions a kernel uses.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use crate::Error;

/// The instruction sets that a kernel is written for, from the plainest to the richest of each architecture.
///
/// Kernels take the tier at construction and keep to it, so that all tiers of a CPU can be tested and timed on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tier {
    /// Plain Rust, on every CPU.
    Portable,
    /// x86-64 with AVX2 and FMA (2013 and later).
    Avx2,
    /// AVX2 and the 8-bit dot products of AVX-VNNI (Intel's cores without AVX-512, AMD from Zen 5).
    AvxVnni,
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
    /// AVX-512 with the 8-bit dot products of AVX512-VNNI.
    Vnni,
    /// 64-bit ARM's Advanced SIMD (every such CPU).
    Neon,
    /// Advanced SIMD with the 8-bit dot products of ARMv8.2 (Cortex-A55, A76 and later).
    Dotprod,
}

impl Tier {
    /// Every tier of every architecture, plainest first.
    pub const ALL: [Tier; 7] =
        [Tier::Portable, Tier::Avx2, Tier::AvxVnni, Tier::Avx512, Tier::Vnni, Tier::Neon, Tier::Dotprod];

    /// The tier that is best on this CPU, or the one that the environment's `HGAD_KERNELS` names (read once).
    ///
    /// # Errors
    /// `HGAD_KERNELS` names no tier, or one that this CPU does not have.
    pub fn detect() -> Result<Tier, Error> {
        static DETECTED: OnceLock<Result<Tier, Error>> = OnceLock::new();
        DETECTED.get_or_init(|| chosen(std::env::var("HGAD_KERNELS").ok().as_deref())).clone()
    }

    /// The tiers that this CPU has, plainest first.
    pub fn available() -> impl Iterator<Item = Tier> {
        Self::ALL.into_iter().filter(|tier| tier.is_available())
    }

    /// Whether this CPU (and its operating system) has the tier's instructions.
    pub fn is_available(self) -> bool {
        match self {
            Tier::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Tier::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Tier::AvxVnni => Tier::Avx2.is_available() && is_x86_feature_detected!("avxvnni"),
            #[cfg(target_arch = "x86_64")]
            Tier::Avx512 => {
                Tier::Avx2.is_available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(target_arch = "x86_64")]
            Tier::Vnni => Tier::Avx512.is_available() && is_x86_feature_detected!("avx512vnni"),
            #[cfg(target_arch = "aarch64")]
            Tier::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            #[cfg(target_arch = "aarch64")]
            Tier::Dotprod => Tier::Neon.is_available() && std::arch::is_aarch64_feature_detected!("dotprod"),
            #[allow(unreachable_patterns, reason = "the tiers of other architectures")]
            _ => false,
        }
    }

    /// The name that `HGAD_KERNELS` takes.
    pub fn name(self) -> &'static str {
        match self {
            Tier::Portable => "portable",
            Tier::Avx2 => "avx2",
            Tier::AvxVnni => "avxvnni",
            Tier::Avx512 => "avx512",
            Tier::Vnni => "vnni",
            Tier::Neon => "neon",
            Tier::Dotprod => "dotprod",
        }
    }

    /// The tier itself where this CPU has it; kernels ask before they use its instructions.
    pub(crate) fn checked(self) -> Result<Tier, Error> {
        if self.is_available() { Ok(self) } else { Err(Error::Unavailable(self)) }
    }
}

/// The best tier, or the one wished for.
fn chosen(wish: Option<&str>) -> Result<Tier, Error> {
    match wish {
        Some(name) if !name.is_empty() => name.parse::<Tier>()?.checked(),
        // The list ends with the richest tier of the architecture; Portable is always there.
        _ => Ok(Tier::available().last().unwrap_or(Tier::Portable)),
    }
}

impl FromStr for Tier {
    type Err = Error;

    fn from_str(name: &str) -> Result<Tier, Error> {
        Self::ALL.into_iter().find(|tier| tier.name() == name).ok_or_else(|| Error::UnknownTier(name.to_string()))
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_met_or_refused_by_name() {
        assert_eq!(chosen(Some("portable")), Ok(Tier::Portable));
        assert_eq!(chosen(Some("")), chosen(None));
        assert_eq!(chosen(Some("mmx")), Err(Error::UnknownTier("mmx".to_string())));
        let foreign = if cfg!(target_arch = "x86_64") { Tier::Neon } else { Tier::Avx2 };
        assert_eq!(chosen(Some(foreign.name())), Err(Error::Unavailable(foreign)));
    }

    #[test]
    fn every_tier_is_read_back_from_its_name() {
        for tier in Tier::ALL {
            assert_eq!(tier.name().parse(), Ok(tier));
        }
    }
}
