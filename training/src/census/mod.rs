//! What is in a data set, what is odd about it, and what differs from what was published.

mod file;
pub mod published;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use hgad::dataset::{self, DataSet, ProductData, TestImage};
use hgad::digest::Digest;
use hgad::print::counted;
use rayon::prelude::*;

use crate::progress::Progress;
use file::{Seen, look};
use published::Published;

/// One product's images.
#[derive(Debug)]
pub struct Census {
    /// The product.
    pub name: String,
    /// Training images.
    pub train: usize,
    /// Good test images.
    pub good: usize,
    /// Defective test images.
    pub defective: usize,
    /// Kinds of defect.
    pub kinds: BTreeSet<String>,
    /// Defective images with a mask.
    pub masks: usize,
    /// How many images have which width and height.
    pub sizes: BTreeMap<(u32, u32), usize>,
    /// Channels and bits of the images.
    pub pixels: BTreeSet<String>,
    /// What there is to say.
    pub findings: Vec<Finding>,
}

/// Something that a person should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whether it will fail or falsify a training or an evaluation; otherwise it is only odd.
    pub wrong: bool,
    /// What it is.
    pub what: String,
}

/// How a product's images are counted.
enum Role {
    Train,
    Test(TestImage),
}

impl Census {
    /// Looks at all images and masks of `product`; without decoding the images when it is to be `quick`.
    pub fn take(product: &ProductData, quick: bool) -> Self {
        let mut findings = Vec::new();
        let mut files = Vec::new();
        match product.train() {
            Ok(train) => files.extend(train.into_iter().map(|image| (image, Role::Train))),
            Err(error) => findings.push(Finding { wrong: true, what: error.line() }),
        }
        match product.test() {
            Ok(test) => files.extend(test.into_iter().map(|test| (test.image.clone(), Role::Test(test)))),
            Err(error) => findings.push(Finding { wrong: false, what: error.line() }),
        }
        if let Ok(count @ 1..) = product.validation().map(|images| images.len()) {
            let what = counted(count as u64, "validation image");
            findings.push(Finding { wrong: false, what: format!("{what} that nothing here reads") });
        }
        let looked = look_at_all(&product.name, files, quick);
        let mut census = Census::of(&product.name, &looked);
        findings.extend(unreadable(&looked));
        findings.extend(copies(&looked));
        findings.extend(about_images(&looked));
        findings.extend(about_masks(&looked));
        if let Ok(left) = product.masks_without_image() {
            findings.extend(finding(false, "mask", "without an image", &left));
        }
        census.findings = findings;
        census
    }

    fn of(name: &str, looked: &[Looked]) -> Self {
        let tests = || looked.iter().filter_map(Looked::test);
        let defective = || tests().filter(|test| test.is_defective());
        let mut sizes = BTreeMap::new();
        looked.iter().filter_map(Looked::seen).for_each(|seen| *sizes.entry(seen.size).or_default() += 1);
        Census {
            name: name.to_owned(),
            train: looked.len() - tests().count(),
            good: tests().count() - defective().count(),
            defective: defective().count(),
            kinds: defective().map(|test| test.kind.clone()).collect(),
            masks: defective().filter(|test| test.mask.is_some()).count(),
            sizes,
            pixels: looked.iter().filter_map(Looked::seen).map(|seen| seen.pixels.clone()).collect(),
            findings: Vec::new(),
        }
    }
}

/// An image, what it turned out to be, and its mask.
struct Looked {
    path: PathBuf,
    role: Role,
    seen: hgad::Result<Seen>,
    /// Size of the mask, and whether it shows a defect.
    mask: Option<hgad::Result<((u32, u32), bool)>>,
}

impl Looked {
    fn test(&self) -> Option<&TestImage> {
        match &self.role {
            Role::Train => None,
            Role::Test(test) => Some(test),
        }
    }

    fn seen(&self) -> Option<&Seen> {
        self.seen.as_ref().ok()
    }
}

fn look_at_all(product: &str, files: Vec<(PathBuf, Role)>, quick: bool) -> Vec<Looked> {
    // So many at a time that the progress is seen, and every core has work.
    const AT_ONCE: usize = 64;
    let mut progress = Progress::start("looking at", "images", 0, files.len());
    let mut looked = Vec::with_capacity(files.len());
    let mut files = files.into_iter().peekable();
    while files.peek().is_some() {
        let some = files.by_ref().take(AT_ONCE).collect::<Vec<_>>();
        let one = |(path, role): (PathBuf, Role)| {
            let mask = match &role {
                Role::Test(TestImage { mask: Some(mask), .. }) => Some(look_at_mask(mask)),
                _ => None,
            };
            Looked { seen: look(&path, quick), path, role, mask }
        };
        looked.par_extend(some.into_par_iter().map(one));
        progress.at(looked.len(), || product.to_owned());
    }
    progress.finish();
    looked
}

fn look_at_mask(path: &Path) -> hgad::Result<((u32, u32), bool)> {
    let mask = dataset::read_mask(path)?;
    Ok((mask.dimensions(), mask.pixels().any(|pixel| pixel.0[0] > 0)))
}

/// A finding about some files, unless there is none: `3 images that ..., such as FILE`.
fn finding(wrong: bool, noun: &str, what: &str, files: &[impl AsRef<Path>]) -> Option<Finding> {
    let first = files.first()?.as_ref().display();
    let what = match files.len() {
        1 => format!("1 {noun} {what}: {first}"),
        many => format!("{} {what}, such as {first}", counted(many as u64, noun)),
    };
    Some(Finding { wrong, what })
}

fn unreadable(looked: &[Looked]) -> Vec<Finding> {
    let images = looked.iter().filter_map(|image| image.seen.as_ref().err());
    let masks = looked.iter().filter_map(|image| image.mask.as_ref()?.as_ref().err());
    let errors = images.chain(masks).map(hgad::Error::line).collect::<Vec<_>>();
    let finding = |first: &String| {
        let more = match errors.len() {
            1 => String::new(),
            many => format!("; {} in all", counted(many as u64, "such file")),
        };
        Finding { wrong: true, what: format!("{first}{more}") }
    };
    errors.first().map(finding).into_iter().collect()
}

/// Images with the same bytes: a model that has seen a test image is measured too well.
fn copies(looked: &[Looked]) -> Vec<Finding> {
    let mut trained = HashMap::<Digest, &Path>::new();
    let (mut twice, mut leaked) = (Vec::new(), Vec::new());
    let seen = || looked.iter().filter_map(|image| Some((image, image.seen()?)));
    for (image, seen) in seen().filter(|(image, _)| image.test().is_none()) {
        if trained.insert(seen.digest, &image.path).is_some() {
            twice.push(&image.path);
        }
    }
    for (image, seen) in seen().filter(|(image, _)| image.test().is_some()) {
        if trained.contains_key(&seen.digest) {
            leaked.push(&image.path);
        }
    }
    let leaked = finding(true, "test image", "that training sees, too", &leaked);
    leaked.into_iter().chain(finding(false, "training image", "with the bytes of another", &twice)).collect()
}

fn about_images(looked: &[Looked]) -> Vec<Finding> {
    let misnamed = looked.iter().filter(|image| image.seen().is_some_and(|seen| seen.misnamed));
    let misnamed = misnamed.map(|image| &image.path).collect::<Vec<_>>();
    finding(false, "image", "whose name's ending is that of another format", &misnamed).into_iter().collect()
}

fn about_masks(looked: &[Looked]) -> Vec<Finding> {
    let defective = || looked.iter().filter(|image| image.test().is_some_and(TestImage::is_defective));
    let paths = |wanted: &dyn Fn(&Looked) -> bool| {
        defective().filter(|image| wanted(image)).map(|image| &image.path).collect::<Vec<_>>()
    };
    let mask = |image: &Looked| image.mask.as_ref().and_then(|mask| mask.as_ref().ok().copied());
    let bare = paths(&|image| image.mask.is_none());
    let empty = paths(&|image| mask(image).is_some_and(|(_, defect)| !defect));
    let other = paths(&|image| mask(image).zip(image.seen()).is_some_and(|((size, _), seen)| size != seen.size));
    let findings = [
        finding(false, "defective image", "without a mask", &bare),
        finding(false, "defective image", "whose mask is empty", &empty),
        finding(false, "defective image", "whose mask has another size", &other),
    ];
    findings.into_iter().flatten().collect()
}

/// What differs between a data set and what was published of it.
pub fn differences(set: &DataSet, products: &[Census], published: &Published) -> Vec<Finding> {
    let of = |name: &str| products.iter().find(|census| census.name.strip_prefix(&set.prefix) == Some(name));
    let mut findings = Vec::new();
    let mut tell = |what: String| findings.push(Finding { wrong: true, what });
    let gone = published.products.iter().filter(|counts| of(counts.name).is_none()).map(|counts| counts.name);
    let gone = gone.collect::<Vec<_>>();
    if !gone.is_empty() {
        tell(format!("{} of {} products are missing: {}", gone.len(), published.products.len(), gone.join(", ")));
    }
    for counts in published.products {
        let (Some(census), Some(images)) = (of(counts.name), counts.images) else { continue };
        let found = [census.train, census.good, census.defective];
        let kinds = ["training images", "good test images", "defective test images"];
        for ((found, published), kind) in found.into_iter().zip(images).zip(kinds) {
            if found != published {
                tell(format!("{}: {found} {kind}, published are {published}", census.name));
            }
        }
    }
    if let (Some((train, test)), true) = (published.totals, gone.is_empty()) {
        let sum = |count: fn(&Census) -> usize| products.iter().map(count).sum::<usize>();
        let found = (sum(|census| census.train), sum(|census| census.good + census.defective));
        if found != (train, test) {
            tell(format!("{} training and {} test images, published are {train} and {test}", found.0, found.1));
        }
    }
    findings
}

#[cfg(test)]
mod tests;
