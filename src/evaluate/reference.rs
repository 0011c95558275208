//! Our figures against those of scikit-learn and anomalib on the same scores (`tests/reference/metrics.py`).

use ndarray::Array2;
use serde_json::Value;

use super::curve::tests::curve;
use super::pixels::Spool;
use super::regions::Regions;

/// Less than anybody reads; anomalib computes with 32 bits.
const BOUND: f64 = 1e-6;

fn references(kind: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(include_str!("../../tests/data/metrics.json")).unwrap();
    file[kind].as_array().unwrap().clone()
}

fn floats(list: &Value) -> Vec<f32> {
    list.as_array().unwrap().iter().map(|value| value.as_f64().unwrap() as f32).collect()
}

fn compare(ours: &[(&str, f64)], case: &Value) {
    for theirs in [&case["scikit_learn"], &case["anomalib"]] {
        for (name, value) in ours {
            let reference = theirs[name].as_f64().unwrap();
            assert!((value - reference).abs() < BOUND, "{name}: {value} {reference}");
        }
    }
}

#[test]
fn images() {
    let cases = references("images");
    assert_eq!(cases.len(), 3);
    for case in &cases {
        let labels = case["defective"].as_array().unwrap().iter().map(|label| label == 1);
        let curve = curve(&floats(&case["scores"]).into_iter().zip(labels).collect::<Vec<_>>()).unwrap();
        let ours = [("auroc", curve.auroc()), ("ap", curve.average_precision()), ("f1_max", curve.f1_max())];
        compare(&ours, case);
        let misses = case["scikit_learn"]["misses_at"].as_array().unwrap();
        assert_eq!(misses.len(), 4);
        for pair in misses {
            let ours = curve.misses_at(pair[0].as_f64().unwrap());
            assert!((ours - pair[1].as_f64().unwrap()).abs() < BOUND, "{pair} {ours}");
        }
    }
}

#[test]
fn pixels() {
    let cases = references("pixels");
    assert_eq!(cases.len(), 3);
    for case in &cases {
        let side = |axis: usize| case["size"][axis].as_u64().unwrap() as usize;
        let size = (side(0), side(1));
        let maps = case["maps"].as_array().unwrap().iter().zip(case["masks"].as_array().unwrap());
        let (mut spool, mut regions) = (Spool::new().unwrap(), 0);
        for (index, (map, mask)) in maps.enumerate() {
            let map = Array2::from_shape_vec(size, floats(map)).unwrap();
            let mask = mask.as_str().unwrap().bytes().map(|defect| defect == b'1').collect();
            let found = Regions::of(&Array2::from_shape_vec(size, mask).unwrap());
            regions += found.sizes.len();
            spool.push(index, &map, &found).unwrap();
        }
        assert_eq!(regions as u64, case["regions"].as_u64().unwrap());
        let [auroc, ap, f1_max, aupro] = spool.finish().unwrap().unwrap().resampled(&|_| 1.0).unwrap();
        compare(&[("auroc", auroc), ("ap", ap), ("f1_max", f1_max), ("aupro", aupro)], case);
    }
}
