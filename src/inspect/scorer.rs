//! From a frame's latents to what is said of it: distances, level maps, the anomaly map, the score, and the class that it shows.

use std::sync::Arc;

use ndarray::{Array2, Axis};

use super::anomaly_map::{Canvas, MapComposer};
use super::mixture::{ClassMixture, MainCenters, Products};
use super::{Latents, Mask, cells, mixture, score};
use crate::bundle::{Centers, Distance, Manifest, ScoreReference};

/// Nats per position by which another class must be likelier before a frame counts as showing it. Variants of one product,
/// which the model can hardly tell apart, stay far below.
const CLEARLY: f32 = 1.0;

/// What a bundle's latents are measured with; all of it is made once.
pub(super) struct Scorer {
    centers: Centers,
    distance: Distance,
    /// Each level's centers, those of each class by itself: `[level][class]`. None where distances are from elsewhere.
    mixtures: Vec<Vec<ClassMixture>>,
    /// Each level's classes.
    classes: Vec<MainCenters>,
    /// `(h, w)` of every level.
    grids: Vec<(usize, usize)>,
    composer: MapComposer,
    /// The first so many levels make the anomaly map.
    mapped: usize,
    /// The level that is the score, where the network gives one itself.
    score_level: Option<usize>,
}

/// What a [`Scorer`] works in: the same memory for every frame.
pub(super) struct Room {
    /// Every level's map, `(h, w)`.
    maps: Vec<Array2<f32>>,
    products: Products,
    /// Latents of one cell.
    cell: Vec<f32>,
    /// How likely each class is by each level: `[level][class]`.
    evidence: Vec<Vec<f32>>,
    painting: Painting,
}

/// What an anomaly map is composed and scored in.
pub(super) struct Painting {
    canvas: Canvas,
    /// The map's values where it counts.
    counted: Vec<f32>,
}

impl Scorer {
    pub(super) fn new(manifest: &Manifest, centers: &Centers) -> Self {
        // A score that the network itself gives comes last, and says nothing of places unless there is nothing else.
        let score_level = manifest.score_level();
        let mapped = score_level.unwrap_or(manifest.levels.len()).max(1);
        let grids = manifest.levels.iter().map(|level| (level.height, level.width)).collect::<Vec<_>>();
        let distance = centers.distance(manifest.distance);
        let measured = if distance == Distance::Centers { &centers.levels[..] } else { &[] };
        let mixtures = measured.iter().map(|level| {
            let classes = 0..level.mu.nrows();
            classes.map(|class| ClassMixture::new(level, class)).collect()
        });
        Scorer {
            distance,
            mixtures: mixtures.collect(),
            classes: centers.levels.iter().map(MainCenters::new).collect(),
            composer: MapComposer::new(manifest.input, &grids[..mapped]),
            centers: centers.clone(),
            grids,
            mapped,
            score_level,
        }
    }

    pub(super) fn room(&self) -> Room {
        Room {
            maps: self.grids.iter().map(|grid| Array2::zeros(*grid)).collect(),
            products: Products::default(),
            cell: Vec::new(),
            evidence: self.centers.levels.iter().map(|level| vec![0.0; level.mu.nrows()]).collect(),
            painting: self.painting(),
        }
    }

    pub(super) fn painting(&self) -> Painting {
        Painting { canvas: self.composer.canvas(), counted: Vec::new() }
    }

    /// Which positions of every level count by a mask.
    pub(super) fn counts(&self, mask: &Mask) -> Arc<[Array2<bool>]> {
        self.grids.iter().map(|grid| mask.on(*grid)).collect()
    }

    /// How far a frame lies from what is usual of class `class` at every position, `(h, w)` per level.
    pub(super) fn distances<'r>(&self, latents: &Latents, class: usize, room: &'r mut Room) -> &'r mut [Array2<f32>] {
        let Room { maps, products, cell, .. } = room;
        for (l, (z, map)) in latents.z.iter().zip(&mut *maps).enumerate() {
            match &self.centers.cells {
                Some(gaussians) => cells::measure(z.view(), &gaussians[l], class, cell, map),
                None if self.distance == Distance::Map => map.assign(&z.index_axis(Axis(0), 0)),
                None => self.mixtures[l][class].distance(z.view(), products, map),
            }
        }
        maps
    }

    /// The same in standard deviations from what is usual at each position.
    pub(super) fn level_maps<'r>(&self, latents: &Latents, class: usize, room: &'r mut Room) -> &'r [Array2<f32>] {
        let maps = self.distances(latents, class, room);
        for (map, profile) in maps.iter_mut().zip(&self.centers.profiles) {
            let (mean, deviation) =
                (profile.mean.index_axis(Axis(0), class), profile.deviation.index_axis(Axis(0), class));
            mixture::standardise(map, mean, deviation);
        }
        maps
    }

    /// The score of the frame whose level maps were made last, the highest value of each level, and the anomaly map.
    pub(super) fn score(
        &self,
        reference: &ScoreReference,
        counts: Option<&[Array2<bool>]>,
        room: &mut Room,
    ) -> (f32, Vec<f32>, Array2<f32>) {
        let levels = score::levels(&room.maps, reference, counts);
        let (score, map) = self.paint(&room.maps, reference, counts, &mut room.painting);
        (score, levels, map)
    }

    /// The score and the anomaly map `(H, W)` of level maps. `counts` is which positions of every level count by the reference's mask.
    pub(super) fn paint(
        &self,
        maps: &[Array2<f32>],
        reference: &ScoreReference,
        counts: Option<&[Array2<bool>]>,
        painting: &mut Painting,
    ) -> (f32, Array2<f32>) {
        let Painting { canvas, counted } = painting;
        let mut map = self.composer.compose(&maps[..self.mapped], reference, counts, canvas);
        counted.clear();
        match &reference.mask {
            Some(mask) => mask.apply(&mut map, counted),
            None => counted.extend(&map),
        }
        let score = match self.score_level {
            Some(level) => score::level(&maps[level], level, reference, counts),
            None => score::score(counted, self.distance),
        };
        (score, map)
    }

    /// The likeliest class, if it is another one and clearly likelier. Evidence that is no number is evidence of nothing,
    /// and the score is none either then.
    pub(super) fn resembles(
        &self,
        latents: &Latents,
        class: usize,
        counts: Option<&[Array2<bool>]>,
        room: &mut Room,
    ) -> Option<usize> {
        let Room { products, evidence, .. } = room;
        for (l, (z, classes)) in latents.z.iter().zip(&self.classes).enumerate() {
            classes.evidence(z.view(), counts.map(|counts| &counts[l]), products, &mut evidence[l]);
        }
        let mean = |y: usize| evidence.iter().map(|evidence| evidence[y]).sum::<f32>() / evidence.len() as f32;
        let classes = 0..self.centers.references.len();
        let likeliest = classes.max_by(|a, b| mean(*a).total_cmp(&mean(*b)))?;
        (likeliest != class && mean(likeliest) - mean(class) > CLEARLY).then_some(likeliest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo;
    use crate::inspect::{Inspector, mask};

    /// The inspector's memory serves one frame after the other: no bit of one may reach the next.
    #[test]
    fn a_frame_is_scored_as_by_a_new_inspector_whatever_came_before() {
        let bundle = demo::bundle().unwrap();
        let masked = |class: usize, first: usize| {
            let size = (bundle.manifest.input.height, bundle.manifest.input.width);
            let mask = (first > 0).then(|| mask::tests::mask(size, |x, _| x >= first));
            ScoreReference { mask, ..bundle.centers.references[class].clone() }
        };
        let frames =
            [(0, 0, 1), (1, 40, 3), (2, 0, 2), (0, 70, 1), (1, 40, 1), (0, 0, 2)].map(|(class, first, scale)| {
                let image = &bundle.golden.frames[class % bundle.golden.frames.len()].image;
                let (width, height) = (image.width() * scale, image.height() * scale);
                let image = image::imageops::resize(image, width, height, image::imageops::FilterType::Triangle);
                (image, class, masked(class, first))
            });
        let mut used = Inspector::new(&bundle).unwrap();
        for (image, class, reference) in &frames {
            let (one, other) = (
                used.inspect(image, *class, reference).unwrap(),
                Inspector::new(&bundle).unwrap().inspect(image, *class, reference).unwrap(),
            );
            let bits = |map: &Array2<f32>| map.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            assert_eq!(
                (one.score.to_bits(), &one.levels, one.resembles),
                (other.score.to_bits(), &other.levels, other.resembles)
            );
            assert_eq!(bits(&one.map), bits(&other.map));
            let maps = used.level_maps(image, *class).unwrap();
            let (score, map) = used.score_maps(&maps, reference);
            assert_eq!((score.to_bits(), bits(&map)), (one.score.to_bits(), bits(&one.map)));
        }
    }
}
