//! What the program can learn of the board it runs on. Linux tells all of this in files; what it does not tell is left out.

use std::fs;

use hgad_kernels::Tier;
use serde::Serialize;

/// The machine.
#[derive(Debug, Clone, Serialize)]
pub struct Board {
    /// The board's name from the device tree, else the processor's.
    pub name: Option<String>,
    /// `x86_64`, `aarch64`, ...
    pub architecture: &'static str,
    /// Cores that this process may use.
    pub cores: usize,
    /// What the processor offers beyond its architecture's least, of what the kernels know.
    pub features: Vec<&'static str>,
    /// The instructions that the network's kernels use: the best of them, or what `HGAD_KERNELS` names. `None` if that names none.
    pub kernels: Option<&'static str>,
    /// Memory in all, in bytes.
    pub memory: Option<u64>,
}

impl Board {
    /// Looks at this machine.
    pub fn look() -> Self {
        let tree = fs::read_to_string("/proc/device-tree/model").ok();
        let name = tree.map(|name| name.trim_matches(['\0', ' ', '\n']).to_owned()).filter(|name| !name.is_empty());
        Board {
            name: name.or_else(|| field("/proc/cpuinfo", "model name")),
            architecture: std::env::consts::ARCH,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            features: features(),
            kernels: Tier::detect().ok().map(Tier::name),
            memory: field("/proc/meminfo", "MemTotal").and_then(|text| kibibytes(&text)),
        }
    }
}

/// What changes while the machine works.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Condition {
    /// The hottest of its sensors, in degrees Celsius.
    pub celsius: Option<f64>,
    /// The fastest core's clock, in MHz.
    pub megahertz: Option<u64>,
    /// The most memory that this process has held, in bytes.
    pub peak_memory: Option<u64>,
}

impl Condition {
    /// Looks at this machine and process now.
    pub fn now() -> Self {
        let zones = numbers("/sys/class/thermal", "temp").into_iter().map(|value| value / 1000.0);
        let clocks = numbers("/sys/devices/system/cpu", "cpufreq/scaling_cur_freq");
        Condition {
            celsius: zones.reduce(f64::max),
            megahertz: clocks.into_iter().reduce(f64::max).map(|kilohertz| (kilohertz / 1000.0) as u64),
            peak_memory: field("/proc/self/status", "VmHWM").and_then(|text| kibibytes(&text)),
        }
    }
}

/// The numbers in `folder/*/name`.
fn numbers(folder: &str, name: &str) -> Vec<f64> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| fs::read_to_string(entry.path().join(name)).ok())
        .filter_map(|text| text.trim().parse().ok())
        .collect()
}

/// The value behind the first `name:` in a file of `/proc`.
fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned())
}

fn kibibytes(text: &str) -> Option<u64> {
    text.strip_suffix("kB")?.trim().parse::<u64>().ok().map(|count| count << 10)
}

#[cfg(target_arch = "x86_64")]
fn features() -> Vec<&'static str> {
    let known = [
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512vnni", is_x86_feature_detected!("avx512vnni")),
        ("avxvnni", is_x86_feature_detected!("avxvnni")),
    ];
    known.into_iter().filter_map(|(name, there)| there.then_some(name)).collect()
}

#[cfg(target_arch = "aarch64")]
fn features() -> Vec<&'static str> {
    use std::arch::is_aarch64_feature_detected;
    let known = [
        ("dotprod", is_aarch64_feature_detected!("dotprod")),
        ("fp16", is_aarch64_feature_detected!("fp16")),
        ("i8mm", is_aarch64_feature_detected!("i8mm")),
    ];
    known.into_iter().filter_map(|(name, there)| there.then_some(name)).collect()
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn features() -> Vec<&'static str> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_proc_are_in_bytes() {
        assert_eq!(kibibytes("  2048 kB"), Some(2 << 20));
        assert_eq!(kibibytes("2048"), None);
    }

    #[test]
    fn this_process_holds_memory_on_a_machine_with_cores() {
        let board = Board::look();
        assert!(board.cores > 0);
        let held = Condition::now().peak_memory.expect("Linux tells of it");
        assert!(held > 1 << 20 && held < board.memory.expect("Linux tells of it"), "{held}");
    }
}
