use std::fs;

use image::{ImageBuffer, Luma, Rgb, RgbImage};

use super::*;

/// A folder in which trees of the published layouts are built.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Self {
        Tree(tempfile::tempdir().unwrap())
    }

    fn root(&self) -> &Path {
        self.0.path()
    }

    fn place(&self, path: &str) -> PathBuf {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn image(&self, path: &str) {
        RgbImage::from_pixel(4, 3, Rgb([90, 120, 30])).save(self.place(path)).unwrap();
    }

    /// A mask of 16 bits whose lower right pixel is 1.
    fn mask(&self, path: &str) {
        let mask = ImageBuffer::from_fn(4, 3, |x, y| Luma([u16::from((x, y) == (3, 2))]));
        let path = self.place(path);
        match path.extension().unwrap() == "bmp" {
            true => image::DynamicImage::from(mask).to_luma8().save(path).unwrap(),
            false => mask.save(path).unwrap(),
        }
    }

    fn text(&self, path: &str, text: &str) {
        fs::write(self.place(path), text).unwrap();
    }
}

/// Kind, image and mask of every test image, below `root`.
fn told(product: &ProductData, root: &Path) -> Vec<String> {
    let below = |path: &Path| path.strip_prefix(root).unwrap().display().to_string();
    let line = |test: &TestImage| {
        let mask = test.mask.as_deref().map_or("-".to_owned(), below);
        format!("{} {} {mask}", test.kind, below(&test.image))
    };
    product.test().unwrap().iter().map(line).collect()
}

fn names(products: &[ProductData]) -> Vec<&str> {
    products.iter().map(|product| product.name.as_str()).collect()
}

/// The lower right pixel of a mask.
fn seen(mask: &TestImage) -> bool {
    let mask = read_mask(mask.mask.as_ref().unwrap()).unwrap();
    mask.get_pixel(3, 2).0 == [255] && mask.get_pixel(0, 0).0 == [0]
}

#[test]
fn hold_out_splits_into_disjoint_halves_that_make_the_whole() {
    let all = (0..12).collect::<Vec<_>>();
    assert_eq!(HoldOut::Held(5).select(all.clone()), [4, 9]);
    let mut union = HoldOut::Kept(5).select(all.clone());
    union.extend(HoldOut::Held(5).select(all.clone()));
    union.sort();
    assert_eq!(union, all);
    assert_eq!(HoldOut::All.select(all.clone()), all);
}

fn mvtec(tree: &Tree, below: &str) {
    for image in
        ["train/good/001.png", "train/good/000.png", "test/good/000.png", "test/hole/000.png", "test/hole/001.png"]
    {
        tree.image(&format!("{below}cap/{image}"));
    }
    tree.mask(&format!("{below}cap/ground_truth/hole/000_mask.png"));
    tree.text(&format!("{below}license.txt"), "terms");
    fs::create_dir_all(tree.root().join(below).join("not-a-product")).unwrap();
}

#[test]
fn the_mvtec_layout_is_read() {
    let tree = Tree::new();
    mvtec(&tree, "");
    let found = products(tree.root(), None).unwrap();
    assert_eq!((names(&found), found[0].layout()), (vec!["cap"], Layout::Mvtec));
    let train = found[0].train().unwrap();
    assert!(train[0].ends_with("000.png") && train.len() == 2);
    assert_eq!(
        told(&found[0], tree.root()),
        [
            "good cap/test/good/000.png -",
            "hole cap/test/hole/000.png cap/ground_truth/hole/000_mask.png",
            "hole cap/test/hole/001.png -",
        ]
    );
    assert!(seen(&found[0].test().unwrap()[1]));
    tree.mask("cap/ground_truth/hole/007_mask.png");
    let left = found[0].masks_without_image().unwrap();
    assert!(left.len() == 1 && left[0].ends_with("hole/007_mask.png"));

    let refused = |names: &[&str]| {
        let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        products(tree.root(), Some(&names)).unwrap_err().report()
    };
    assert!(refused(&["gone"]).contains("no product 'gone'") && refused(&["gone"]).contains("there are: cap"));
    assert!(refused(&["cap", "not-a-product", "cap"]).contains("'cap' is named twice"));
    let empty = &products(tree.root(), Some(&["not-a-product".into()])).unwrap()[0];
    assert!(empty.train().unwrap_err().to_string().contains("train/good"));
    assert!(empty.test().unwrap_err().to_string().contains("no test images"));
    fs::remove_dir_all(tree.root().join("cap/train")).unwrap();
    assert!(products(tree.root(), None).unwrap_err().to_string().contains("no product in"));
    assert_eq!(products(tree.root(), Some(&["cap".into()])).unwrap()[0].test().unwrap().len(), 3);
}

/// BTAD's three products: bitmaps, portable graphics, and bitmaps with masks as bitmaps.
fn btad(tree: &Tree, below: &str) {
    for (product, ending, mask) in [("01", "bmp", "png"), ("02", "png", "png"), ("03", "bmp", "bmp")] {
        for image in ["train/ok/0000", "test/ok/0000", "test/ko/0001", "test/ko/0000"] {
            tree.image(&format!("{below}{product}/{image}.{ending}"));
        }
        tree.mask(&format!("{below}{product}/ground_truth/ko/0001.{mask}"));
    }
}

#[test]
fn btad_calls_good_ok_and_has_bitmaps() {
    let tree = Tree::new();
    btad(&tree, "BTech_Dataset_transformed/");
    let root = tree.root().join("BTech_Dataset_transformed");
    let found = products(&root, None).unwrap();
    assert_eq!((names(&found), found[2].layout()), (vec!["01", "02", "03"], Layout::Btad));
    assert_eq!(found[0].train().unwrap().len(), 1);
    assert_eq!(
        told(&found[0], &root),
        [
            "ko 01/test/ko/0000.bmp -",
            "ko 01/test/ko/0001.bmp 01/ground_truth/ko/0001.png",
            "good 01/test/ok/0000.bmp -"
        ]
    );
    assert!(found[2].test().unwrap()[1].mask.as_ref().unwrap().ends_with("03/ground_truth/ko/0001.bmp"));
    assert!(found[1].masks_without_image().unwrap().is_empty());
}

fn mvtec_3d(tree: &Tree, below: &str) {
    for image in ["train/good", "validation/good", "test/good", "test/hole"] {
        tree.image(&format!("{below}bagel/{image}/rgb/000.png"));
        tree.text(&format!("{below}bagel/{image}/xyz/000.tiff"), "points");
    }
    tree.mask(&format!("{below}bagel/test/good/gt/000.png"));
    tree.mask(&format!("{below}bagel/test/hole/gt/000.png"));
    tree.text(&format!("{below}bagel/calibration/camera_parameters.json"), "{}");
}

#[test]
fn the_colour_images_of_mvtec_3d_are_read() {
    let tree = Tree::new();
    mvtec_3d(&tree, "");
    let found = products(tree.root(), None).unwrap();
    assert_eq!((names(&found), found[0].layout()), (vec!["bagel"], Layout::Mvtec3d));
    assert_eq!((found[0].train().unwrap().len(), found[0].validation().unwrap().len()), (1, 1));
    assert_eq!(
        told(&found[0], tree.root()),
        ["good bagel/test/good/rgb/000.png -", "hole bagel/test/hole/rgb/000.png bagel/test/hole/gt/000.png"]
    );
    assert!(seen(&found[0].test().unwrap()[1]) && found[0].masks_without_image().unwrap().is_empty());
}

fn visa(tree: &Tree, below: &str) {
    let mut list = "object,split,label,image,mask\r\n".to_owned();
    for (split, label, image, mask) in [
        ("train", "normal", "Normal/0001.JPG", ""),
        ("train", "normal", "Normal/0000.JPG", ""),
        ("test", "normal", "Normal/0002.JPG", ""),
        ("test", "anomaly", "Anomaly/000.JPG", "candle/Data/Masks/Anomaly/000.png"),
    ] {
        let image = format!("candle/Data/Images/{image}");
        tree.image(&format!("{below}{image}"));
        if !mask.is_empty() {
            tree.mask(&format!("{below}{mask}"));
        }
        list += &format!("candle,{split},{label},{image},{mask}\r\n");
    }
    tree.image(&format!("{below}candle/Data/Images/Normal/9999.JPG"));
    tree.text(&format!("{below}candle/image_anno.csv"), "image,label,mask\n");
    tree.text(&format!("{below}split_csv/1cls.csv"), &list);
}

#[test]
fn visa_s_list_says_what_every_image_is() {
    let tree = Tree::new();
    visa(&tree, "");
    let found = products(tree.root(), None).unwrap();
    assert_eq!((names(&found), found[0].layout()), (vec!["candle"], Layout::Visa));
    let train = found[0].train().unwrap();
    assert!(train.len() == 2 && train[0].ends_with("Normal/0000.JPG"));
    assert_eq!(
        told(&found[0], tree.root()),
        [
            "anomaly candle/Data/Images/Anomaly/000.JPG candle/Data/Masks/Anomaly/000.png",
            "good candle/Data/Images/Normal/0002.JPG -",
        ]
    );
    assert!(seen(&found[0].test().unwrap()[0]) && read_rgb(&train[0]).is_ok());
    for (list, says) in [
        ("object,split,image\n", "its columns are"),
        ("object,split,label,image,mask\ncandle,train,normal,a.JPG\n", "line 2: it has 4 fields"),
        ("object,split,label,image,mask\ncandle,train,anomaly,a.JPG,b\n", "line 2: it says 'train' and 'anomaly'"),
    ] {
        tree.text("split_csv/1cls.csv", list);
        assert!(products(tree.root(), None).unwrap_err().report().contains(says), "{says}");
    }
}

fn real_iad(tree: &Tree, below: &str) {
    let ok = |number: usize| format!("OK/S000{number}/audiojack_000{number}_OK_C1_20231021.jpg");
    let ng = |name: &str| format!("NG/BX/S0009/audiojack_0009_NG_BX_C1_20231021{name}");
    for image in [ok(1), ok(2), ok(3), ng(".jpg")] {
        tree.image(&format!("{below}realiad_256/audiojack/{image}"));
    }
    tree.mask(&format!("{below}realiad_256/audiojack/{}", ng("_mask.png")));
    let entry = |class: &str, image: &str, mask: Option<&str>| serde_json::json!({ "category": "audiojack", "anomaly_class": class, "image_path": image, "mask_path": mask });
    let list = serde_json::json!({
        "meta": { "normal_class": "OK", "prefix": "audiojack/" },
        "train": [entry("OK", &ok(2), None), entry("OK", &ok(1), None)],
        "test": [entry("OK", &ok(3), None), entry("BX", &ng(".jpg"), Some(&ng("_mask.png")))],
    });
    tree.text(&format!("{below}realiad_jsons/realiad_jsons/audiojack.json"), &list.to_string());
    tree.text(&format!("{below}realiad_jsons/realiad_jsons/zipper.json"), "{}");
}

#[test]
fn real_iad_s_lists_say_what_every_image_is() {
    let tree = Tree::new();
    real_iad(&tree, "");
    let found = products(tree.root(), None).unwrap();
    assert_eq!((names(&found), found[0].layout()), (vec!["audiojack"], Layout::RealIad), "zipper has no images here");
    assert!(found[0].train().unwrap()[0].ends_with("OK/S0001/audiojack_0001_OK_C1_20231021.jpg"));
    let test = found[0].test().unwrap();
    assert_eq!(test.iter().map(|test| test.kind.as_str()).collect::<Vec<_>>(), ["BX", "good"]);
    assert!(seen(&test[0]) && test[1].mask.is_none() && test[1].image.is_file());
    tree.image("realiad_1024/audiojack/OK/other.jpg");
    assert!(
        products(tree.root(), None).unwrap()[0].test().unwrap()[0].image.starts_with(tree.root().join("realiad_1024"))
    );
    tree.text("realiad_jsons/realiad_jsons/audiojack.json", "[]");
    assert!(products(tree.root(), None).unwrap_err().to_string().contains("is not a list of Real-IAD"));
    for size in ["realiad_256", "realiad_1024"] {
        fs::remove_dir_all(tree.root().join(size)).unwrap();
    }
    assert!(products(tree.root(), None).unwrap_err().to_string().contains("but no images"));
}

#[test]
fn a_union_keeps_names_apart() {
    let tree = Tree::new();
    mvtec(&tree, "mvtec/");
    mvtec(&tree, "own/");
    btad(&tree, "btad/");
    mvtec_3d(&tree, "mvtec3d/");
    visa(&tree, "VisA/");
    fs::create_dir(tree.root().join("papers")).unwrap();
    let found = products(tree.root(), None).unwrap();
    assert_eq!(
        names(&found),
        ["VisA-candle", "btad-01", "btad-02", "btad-03", "mvtec-cap", "mvtec3d-bagel", "own-cap"]
    );
    assert!(found.iter().all(|product| !product.train().unwrap().is_empty() && product.test().unwrap().len() > 1));
    let chosen = products(tree.root(), Some(&["own-cap".into(), "btad-02".into()])).unwrap();
    assert_eq!(names(&chosen), ["own-cap", "btad-02"]);
    let sets = sets(tree.root()).unwrap();
    assert_eq!(
        sets.iter().map(|set| set.prefix.as_str()).collect::<Vec<_>>(),
        ["VisA-", "btad-", "mvtec-", "mvtec3d-", "own-"]
    );
}
