//! The gate: the part of the picture in which parts are found, and where along the belt they lie in it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use image::RgbImage;
use serde::Deserialize;

use super::empty::{EmptyBelt, reduce};
use crate::camera::{Frame, Region};

/// A line across the belt is occupied when more than this share of its cells differs from the empty belt.
pub(super) const OCCUPIED: f64 = 0.05;
/// A segment goes on for as long as more than this share does.
const GOES_ON: f64 = 0.025;
/// And at least so many cells, so that specks do not count in a narrow gate.
const LEAST_CELLS: u32 = 2;

/// Where the belt moves to in the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// To the picture's right edge.
    Right,
    /// To its left edge.
    Left,
    /// To its upper edge.
    Up,
    /// To its lower edge.
    Down,
}

impl Direction {
    fn is_horizontal(self) -> bool {
        matches!(self, Direction::Right | Direction::Left)
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direction::Right => "right",
            Direction::Left => "left",
            Direction::Up => "up",
            Direction::Down => "down",
        })
    }
}

/// How a gate is looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Looks {
    /// What of the picture it is; `None`: all of it.
    pub region: Option<Region>,
    /// Where the belt moves to in it.
    pub direction: Direction,
    /// How much of the belt a pixel shows.
    pub mm_per_pixel: f64,
    /// How much of the belt a part's picture shows, with the part in its middle, in mm.
    pub crop_mm: f64,
    /// What is shorter is no part, and no gap between two, in mm.
    pub shortest_mm: f64,
}

/// What lies on the belt, in pixels along it from where parts enter the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Its trailing edge; 0 where the gate's border cuts it off.
    pub from: u32,
    /// Its leading edge; the gate's length where the border cuts it off.
    pub to: u32,
    /// Whether it reaches beyond the border at which parts enter.
    pub enters: bool,
    /// Whether it reaches beyond the border at which parts leave.
    pub leaves: bool,
}

/// By how much of 255 levels a part must differ from the belt to be seen: in half of the gate, and where the belt is least steady.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contrast {
    /// In half of the gate it is less, in half of it more.
    pub median: u8,
    /// It is nowhere more.
    pub largest: u8,
}

impl fmt::Display for Contrast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Contrast { median, largest } = self;
        write!(
            f,
            "seen is what differs from the belt by more than {median} of 255 levels in the colour that is steadiest there (at most {largest}), or by more in another"
        )
    }
}

/// Finds parts in pictures.
#[derive(Debug, Clone)]
pub struct Gate {
    belt: Arc<EmptyBelt>,
    looks: Looks,
    /// Left, upper, right and lower edge in pixels.
    edges: [u32; 4],
    columns: Range<usize>,
    rows: Range<usize>,
    /// Pixels along the belt of a part's picture.
    crop: u32,
    /// Cells that differ, of each line across the belt.
    profile: Vec<u32>,
    row: Vec<u8>,
    found: Vec<Segment>,
}

impl Gate {
    /// A gate over pictures like those that the empty belt was learned from.
    ///
    /// # Errors
    ///
    /// It is not within the picture, or too short or too narrow; the text says how.
    pub fn new(belt: Arc<EmptyBelt>, looks: Looks) -> Result<Self, String> {
        let (width, height) = belt.picture;
        let edges = looks.region.map_or(Ok([0, 0, width, height]), |region| region.edges(belt.picture))?;
        let [left, upper, right, lower] = edges.map(|edge| edge as usize);
        let cell = belt.cell();
        let columns = left.div_ceil(cell)..(right / cell).min(belt.cells().0);
        let rows = upper.div_ceil(cell)..(lower / cell).min(belt.cells().1);
        let across = if looks.direction.is_horizontal() { rows.len() } else { columns.len() };
        let along = if looks.direction.is_horizontal() { columns.len() } else { rows.len() };
        if across < 8 || along < 8 {
            return Err(format!("the gate is {}x{} pixels: too few to find a part in", right - left, lower - upper));
        }
        let crop = (looks.crop_mm / looks.mm_per_pixel).round() as u32;
        let row = vec![0; 3 * columns.len()];
        let gate = Gate { belt, looks, edges, columns, rows, crop, profile: vec![0; along], row, found: Vec::new() };
        let length = gate.length();
        if crop == 0 || crop >= length {
            return Err(format!(
                "crop_mm is {crop} pixels of the picture, and the gate shows {length} along the belt: no part would ever be whole in it"
            ));
        }
        Ok(gate)
    }

    /// Pixels along the belt.
    pub fn length(&self) -> u32 {
        let [left, upper, right, lower] = self.edges;
        if self.looks.direction.is_horizontal() { right - left } else { lower - upper }
    }

    /// To so many pixels edges are seen.
    pub fn cell(&self) -> u32 {
        self.belt.cell() as u32
    }

    /// How it is looked at.
    pub fn looks(&self) -> &Looks {
        &self.looks
    }

    /// The belt that it goes by.
    pub fn belt(&self) -> &EmptyBelt {
        &self.belt
    }

    /// What lies in the gate, in the order in which it leaves it: the first one is farthest along the belt.
    ///
    /// # Errors
    ///
    /// The picture has another size than the empty belt.
    pub fn look(&mut self, image: &RgbImage) -> Result<&[Segment], String> {
        if image.dimensions() != self.belt.picture {
            let ((width, height), (w, h)) = (self.belt.picture, image.dimensions());
            return Err(format!("the picture is {w}x{h}, and the empty belt was learned from {width}x{height}"));
        }
        let cell = self.belt.cell();
        Ok(self.segments(|row, columns, into| reduce(image, cell, row, columns, into)))
    }

    /// The same from rows of cells: `read` is given a row, the columns that are wanted of it, and where they belong.
    pub(super) fn segments(&mut self, mut read: impl FnMut(usize, Range<usize>, &mut [u8])) -> &[Segment] {
        self.profile.fill(0);
        for row in self.rows.clone() {
            read(row, self.columns.clone(), &mut self.row);
            let (level, tolerance) = self.belt.row(row);
            let these = 3 * self.columns.start..3 * self.columns.end;
            let (level, tolerance) = (&level[these.clone()], &tolerance[these]);
            let lines =
                self.row.as_chunks::<3>().0.iter().zip(level.as_chunks::<3>().0).zip(tolerance.as_chunks::<3>().0);
            let differ = lines
                .map(|((seen, level), tolerance)| u32::from((0..3).any(|c| seen[c].abs_diff(level[c]) > tolerance[c])));
            match self.looks.direction.is_horizontal() {
                true => self.profile.iter_mut().zip(differ).for_each(|(sum, differs)| *sum += differs),
                false => self.profile[row - self.rows.start] = differ.sum(),
            }
        }
        if matches!(self.looks.direction, Direction::Left | Direction::Up) {
            self.profile.reverse();
        }
        self.divide();
        &self.found
    }

    /// From a profile along the belt to segments.
    fn divide(&mut self) {
        let across = if self.looks.direction.is_horizontal() { self.rows.len() } else { self.columns.len() };
        let least = |share: f64| ((share * across as f64).ceil() as u32).max(LEAST_CELLS);
        let (begins, goes_on) = (least(OCCUPIED), least(GOES_ON));
        let cell = self.belt.cell() as f64;
        let short = self.looks.shortest_mm / self.looks.mm_per_pixel / cell;
        // So many whole cells are those of the shortest part, wherever it lies among them; what is not so long is no gap either.
        let (least, short) = ((short.floor() as usize).max(1), short.round() as usize);
        self.found.clear();
        let (mut run, mut is_part) = (None::<Range<usize>>, false);
        for (k, count) in self.profile.iter().copied().chain([0]).enumerate() {
            let ends = run.as_ref().is_some_and(|run| k - run.end > short) || k == self.profile.len();
            if ends && let Some(whole) = run.take() {
                let (enters, leaves) = (whole.start == 0, whole.end == self.profile.len());
                if is_part && whole.len() >= least {
                    let (from, to) = (self.pixel(whole.start), self.pixel(whole.end));
                    self.found.push(Segment {
                        from: if enters { 0 } else { from },
                        to: if leaves { self.length() } else { to },
                        enters,
                        leaves,
                    });
                }
                is_part = false;
            }
            if count >= goes_on && k < self.profile.len() {
                run = Some(run.map_or(k, |run| run.start)..k + 1);
                is_part |= count >= begins;
            }
        }
        self.found.reverse();
    }

    /// Where the profile's cell `k` begins, in pixels along the belt.
    fn pixel(&self, k: usize) -> u32 {
        let [left, upper, right, lower] = self.edges;
        let cell = self.belt.cell();
        let along = |first: usize, edge: u32| ((first + k) * cell) as u32 - edge;
        let against = |end: usize, edge: u32| edge - ((end - k) * cell) as u32;
        match self.looks.direction {
            Direction::Right => along(self.columns.start, left),
            Direction::Down => along(self.rows.start, upper),
            Direction::Left => against(self.columns.end, right),
            Direction::Up => against(self.rows.end, lower),
        }
    }

    /// What of the picture shows the part alone, itself in the middle along the belt; `None` where it, or what belongs to its
    /// picture, is not wholly in the gate.
    pub fn view(&self, segment: &Segment) -> Option<Region> {
        let is_whole = !segment.enters && !segment.leaves && segment.to - segment.from <= self.crop;
        let from = ((segment.from + segment.to) / 2).checked_sub(self.crop / 2).filter(|_| is_whole)?;
        (from + self.crop <= self.length()).then(|| self.part(from..from + self.crop))
    }

    /// What a part's picture shows when it is in the middle of the gate.
    pub fn middle(&self) -> Region {
        let from = (self.length() - self.crop) / 2;
        self.part(from..from + self.crop)
    }

    /// What lies in the gate, each with its own picture of this frame where [`Gate::view`] has one.
    ///
    /// # Errors
    ///
    /// As [`Gate::look`].
    pub fn parts(&mut self, frame: &Frame) -> Result<Vec<(Segment, Option<Frame>)>, String> {
        let segments = self.look(&frame.image)?.to_vec();
        let part = |segment: Segment| {
            let picture = self.view(&segment).map(|view| view.of(frame)).transpose()?;
            Ok((segment, picture))
        };
        segments.into_iter().map(part).collect()
    }

    /// What is shorter is no part, in pixels.
    pub(super) fn shortest(&self) -> u32 {
        (self.looks.shortest_mm / self.looks.mm_per_pixel).round() as u32
    }

    /// From which contrast on a part is seen in it.
    pub fn contrast(&self) -> Contrast {
        let (from, to) = (3 * self.columns.start, 3 * self.columns.end);
        let rows = self.rows.clone().map(|row| &self.belt.row(row).1[from..to]);
        // One colour that differs is enough.
        let mut tolerances = rows
            .flat_map(|row| row.as_chunks::<3>().0)
            .filter_map(|cell| cell.iter().min().copied())
            .collect::<Vec<_>>();
        tolerances.sort_unstable();
        let at = |k: usize| tolerances.get(k).copied().unwrap_or_default();
        Contrast { median: at(tolerances.len() / 2), largest: at(tolerances.len().saturating_sub(1)) }
    }

    /// Millimetres of belt that so many pixels show.
    pub fn mm(&self, pixels: u32) -> f64 {
        f64::from(pixels) * self.looks.mm_per_pixel
    }

    /// Pixels per row and rows of a part's picture.
    pub fn view_size(&self) -> (u32, u32) {
        let [left, upper, right, lower] = self.edges;
        match self.looks.direction.is_horizontal() {
            true => (self.crop, lower - upper),
            false => (right - left, self.crop),
        }
    }

    /// A stretch of the gate, over all of its width.
    pub fn part(&self, along: Range<u32>) -> Region {
        let [left, upper, right, lower] = self.edges;
        let (width, height) = (right - left, lower - upper);
        let length = along.end - along.start;
        match self.looks.direction {
            Direction::Right => Region::Pixels { x: left + along.start, y: upper, width: length, height },
            Direction::Left => Region::Pixels { x: right - along.end, y: upper, width: length, height },
            Direction::Down => Region::Pixels { x: left, y: upper + along.start, width, height: length },
            Direction::Up => Region::Pixels { x: left, y: lower - along.end, width, height: length },
        }
    }
}
