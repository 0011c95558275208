//! `hgad-train data`.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use hgad::dataset::{DataSet, Layout, sets};
use hgad::print::{self, counted};
use hgad::{Error, Result};

use crate::census::{Census, Finding, differences, published};

const EXAMPLES: &str = r"Examples:
  # Before hours of training: is everything there, and sound?
  hgad-train data check parts

  # A large set, without decoding every image
  hgad-train data check datasets/real-iad --quick";

/// Look at data sets.
#[derive(Debug, Subcommand)]
pub enum DataCommand {
    Check(CheckArgs),
}

/// Say what a data set holds, what is odd or wrong with it, and what differs from what was published.
///
/// Reads MVTec AD, BTAD, MVTec 3D-AD (its colour images), VisA (by split_csv/1cls.csv) and Real-IAD (by its JSON lists) as
/// their authors distribute them, own data in the layout of MVTec AD, and a folder of several data sets. A line that
/// begins with `wrong` is something that fails or falsifies a training or an evaluation, and makes the exit code 1.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct CheckArgs {
    /// The data set, or a folder of several.
    #[arg(value_name = "DIR")]
    data: PathBuf,
    /// Look at the beginning of every image alone.
    #[arg(long)]
    quick: bool,
}

pub fn run(command: DataCommand) -> Result<()> {
    match command {
        DataCommand::Check(args) => check(&args),
    }
}

fn check(args: &CheckArgs) -> Result<()> {
    let sets = sets(&args.data)?;
    if sets.is_empty() {
        return Err(Error::usage(format!("no data set in {}", args.data.display())).advise(
            "give a folder with one folder per product, each with train/good, or a public data set as it is distributed",
        ));
    }
    let mut wrong = 0;
    for set in &sets {
        let products = set.products.iter().map(|product| Census::take(product, args.quick)).collect::<Vec<_>>();
        print_products(set, &products)?;
        for census in &products {
            let root = &args.data;
            census
                .findings
                .iter()
                .try_for_each(|finding| print_finding(&format!("{}: ", census.name), finding, root))?;
        }
        let known = published::of(set);
        let different = known.map_or_else(Vec::new, |published| differences(set, &products, published));
        different.iter().try_for_each(|finding| print_finding("", finding, &args.data))?;
        if let (Some(published), true) = (known, different.is_empty()) {
            print::line(format_args!("  the products and counts are those published of {}", published.name))?;
        }
        let findings = products.iter().flat_map(|census| &census.findings).chain(&different);
        wrong += findings.filter(|finding| finding.wrong).count();
    }
    match wrong {
        0 => Ok(()),
        count => Err(Error::check(format!("{} wrong with {}", counted(count as u64, "thing"), args.data.display()))),
    }
}

fn print_products(set: &DataSet, products: &[Census]) -> Result<()> {
    let layout = match set.products.first().map(hgad::dataset::ProductData::layout) {
        Some(Layout::Mvtec) | None => "MVTec AD",
        Some(Layout::Btad) => "BTAD",
        Some(Layout::Mvtec3d) => "MVTec 3D-AD, colour images",
        Some(Layout::Visa) => "VisA, split_csv/1cls.csv",
        Some(Layout::RealIad) => "Real-IAD, realiad_jsons",
    };
    let known = published::of(set).map_or("", |published| published.name);
    let is = if known.is_empty() || layout.starts_with(known) { String::new() } else { format!(": {known}") };
    print::line(format_args!("{} (layout of {layout}){is}", set.folder.display()))?;
    let width = products.iter().map(|census| census.name.chars().count()).max().unwrap_or(0).max(7);
    print::line(format_args!("  {:width$}  train   good  defective  kinds  masks  size, pixels", "product"))?;
    let row = |name: &str, counts: [usize; 3], kinds: &str, masks: usize, rest: &str| {
        let [train, good, defective] = counts;
        let line = format!("  {name:width$}  {train:>5}  {good:>5}  {defective:>9}  {kinds:>5}  {masks:>5}  {rest}");
        print::line(line.trim_end())
    };
    for census in products {
        let pixels = census.pixels.iter().map(String::as_str).collect::<Vec<_>>().join("+");
        let rest = format!("{} {pixels}", sizes(census));
        let counts = [census.train, census.good, census.defective];
        row(&census.name, counts, &census.kinds.len().to_string(), census.masks, &rest)?;
    }
    let sum = |count: fn(&Census) -> usize| products.iter().map(count).sum::<usize>();
    let counts = [sum(|census| census.train), sum(|census| census.good), sum(|census| census.defective)];
    row("all", counts, "", sum(|census| census.masks), "")
}

/// The size of all images, or the smallest, the largest, and how many there are.
fn sizes(census: &Census) -> String {
    let area = |(width, height): &(u32, u32)| u64::from(*width) * u64::from(*height);
    let all = || census.sizes.keys();
    match (all().min_by_key(|size| area(size)), all().max_by_key(|size| area(size))) {
        (Some((width, height)), Some(_)) if census.sizes.len() == 1 => format!("{width}x{height}"),
        (Some(small), Some(large)) => {
            format!("{}x{}..{}x{} ({} sizes)", small.0, small.1, large.0, large.1, census.sizes.len())
        }
        _ => "-".to_owned(),
    }
}

fn print_finding(of: &str, finding: &Finding, root: &Path) -> Result<()> {
    let what = finding.what.replace(&format!("{}/", root.display()), "");
    print::line(format_args!("  {}: {of}{what}", if finding.wrong { "wrong" } else { "odd" }))
}
