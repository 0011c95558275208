//! The model that the program carries. `docs/demo-model.md` says how it was made.

use crate::bundle::Bundle;
use crate::calibrate::Calibration;
use crate::digest::Digest;
use crate::{Error, Result};

const ORIGIN: &str = "the embedded demo model";

const FILES: [(&str, &[u8]); 4] = [
    ("manifest.toml", include_bytes!("../../models/demo/manifest.toml")),
    ("model.onnx", include_bytes!("../../models/demo/model.onnx")),
    ("centers.safetensors", include_bytes!("../../models/demo/centers.safetensors")),
    ("golden.safetensors", include_bytes!("../../models/demo/golden.safetensors")),
];

const CALIBRATIONS: [&str; 3] = [
    include_str!("../../calibration/demo-blister.toml"),
    include_str!("../../calibration/demo-cap.toml"),
    include_str!("../../calibration/demo-gear.toml"),
];

/// The embedded bundle.
pub fn bundle() -> Result<Bundle> {
    Bundle::read(ORIGIN, |name| {
        let file = FILES.iter().find(|(known, _)| *known == name);
        let missing = || Error::device(format!("{ORIGIN} has no file {name}"));
        file.map(|(_, bytes)| bytes.to_vec()).ok_or_else(missing)
    })
}

/// The embedded calibration of every product, each with its digest.
pub(super) fn calibrations() -> Result<Vec<(Calibration, Digest)>> {
    CALIBRATIONS.iter().map(|text| Ok((Calibration::parse(ORIGIN, text)?, Digest::of(text)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::Product;

    #[test]
    fn the_embedded_model_knows_every_product_and_is_small() {
        let bundle = bundle().unwrap();
        for (product, (calibration, _)) in Product::ALL.into_iter().zip(calibrations().unwrap()) {
            assert!(bundle.manifest.class_index(product.name()).is_ok());
            assert_eq!(calibration.class, product.name());
            calibration.check_bundle(&bundle).unwrap();
        }
        assert!(FILES.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() < 3_500_000);
    }
}
