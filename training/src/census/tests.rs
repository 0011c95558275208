use std::fs;

use hgad::dataset::sets;
use image::{GrayImage, Luma, Rgb, RgbImage};

use super::*;

struct Tree(tempfile::TempDir);

impl Tree {
    fn place(&self, path: &str) -> PathBuf {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    /// An image of which there is no second one.
    fn image(&self, path: &str, number: u8) {
        RgbImage::from_pixel(8, 6, Rgb([number, 1, 2])).save(self.place(path)).unwrap();
    }

    fn mask(&self, path: &str, (width, height): (u32, u32), value: u8) {
        GrayImage::from_pixel(width, height, Luma([value])).save(self.place(path)).unwrap();
    }

    fn census(&self, quick: bool) -> (Vec<DataSet>, Vec<Census>) {
        let sets = sets(self.0.path()).unwrap();
        let products = sets.iter().flat_map(|set| &set.products);
        let census = products.map(|product| Census::take(product, quick)).collect();
        (sets, census)
    }
}

/// A product with `train` training images, a good part and a defect.
fn product(name: &str, train: u8) -> Tree {
    let tree = Tree(tempfile::tempdir().unwrap());
    add(&tree, name, train);
    tree
}

fn add(tree: &Tree, name: &str, train: u8) {
    (0..train).for_each(|i| tree.image(&format!("{name}/train/good/{i:03}.png"), i));
    tree.image(&format!("{name}/test/good/000.png"), 100);
    tree.image(&format!("{name}/test/cut/000.png"), 101);
    tree.mask(&format!("{name}/ground_truth/cut/000_mask.png"), (8, 6), 255);
}

fn told(census: &Census, wrong: bool) -> Vec<&str> {
    census.findings.iter().filter(|finding| finding.wrong == wrong).map(|finding| finding.what.as_str()).collect()
}

#[test]
fn a_sound_product_is_counted_and_nothing_is_said() {
    let (_, census) = product("nut", 3).census(false);
    let nut = &census[0];
    assert_eq!((nut.train, nut.good, nut.defective, nut.masks), (3, 1, 1, 1));
    assert_eq!(nut.sizes.iter().collect::<Vec<_>>(), [(&(8, 6), &5)]);
    assert!(nut.pixels.iter().eq(["Rgb8"]) && nut.kinds.iter().eq(["cut"]) && nut.findings.is_empty(), "{nut:?}");
}

#[test]
fn what_is_wrong_and_what_is_odd_is_told_with_a_file() {
    let tree = product("nut", 3);
    let copy = |from: &str, to: &str| fs::copy(tree.place(from), tree.place(to)).unwrap();
    copy("nut/train/good/000.png", "nut/test/good/001.png");
    copy("nut/train/good/001.png", "nut/train/good/009.png");
    tree.image("nut/test/cut/001.png", 102);
    tree.image("nut/test/cut/002.png", 103);
    tree.mask("nut/ground_truth/cut/002_mask.png", (8, 6), 0);
    tree.image("nut/test/cut/003.png", 104);
    tree.mask("nut/ground_truth/cut/003_mask.png", (16, 12), 9);
    tree.mask("nut/ground_truth/cut/017_mask.png", (8, 6), 9);
    RgbImage::new(8, 6).save_with_format(tree.place("nut/test/good/005.png"), image::ImageFormat::Bmp).unwrap();
    // Its header is whole, its pixels are not.
    let whole = fs::read(tree.place("nut/train/good/002.png")).unwrap();
    fs::write(tree.place("nut/train/good/002.png"), &whole[..whole.len() - 20]).unwrap();
    let (_, census) = tree.census(false);
    let nut = &census[0];
    assert_eq!((nut.train, nut.good, nut.defective, nut.masks), (4, 3, 4, 3));
    let (wrong, odd) = (told(nut, true), told(nut, false));
    let has =
        |told: &[&str], what: &str, file: &str| told.iter().any(|line| line.contains(what) && line.contains(file));
    assert!(has(&wrong, "not an image that can be read", "train/good/002.png"), "{wrong:?}");
    assert!(has(&wrong, "1 test image that training sees, too", "test/good/001.png"), "{wrong:?}");
    assert!(has(&odd, "1 training image with the bytes of another", "train/good/009.png"), "{odd:?}");
    assert!(has(&odd, "1 defective image without a mask", "cut/001.png"), "{odd:?}");
    assert!(has(&odd, "1 defective image whose mask is empty", "cut/002.png"), "{odd:?}");
    assert!(has(&odd, "1 defective image whose mask has another size", "cut/003.png"), "{odd:?}");
    assert!(has(&odd, "1 mask without an image", "cut/017_mask.png"), "{odd:?}");
    assert!(has(&odd, "ending is that of another format", "test/good/005.png"), "{odd:?}");
    assert_eq!((wrong.len(), odd.len()), (2, 6), "{wrong:?} {odd:?}");
    let (_, quick) = tree.census(true);
    assert_eq!(told(&quick[0], true).len(), 1, "a quick look does not see the missing pixels");
}

#[test]
fn a_published_data_set_is_known_by_its_names_and_compared() {
    let tree = product("bottle", 3);
    let (sets, _) = tree.census(true);
    assert!(published::of(&sets[0]).is_none(), "one product of one's own may be called bottle");
    add(&tree, "cable", 2);
    let (sets, census) = tree.census(true);
    let published = published::of(&sets[0]).unwrap();
    assert_eq!(published.name, "MVTec AD");
    let findings = differences(&sets[0], &census, published);
    let has = |what: &str| findings.iter().any(|finding| finding.wrong && finding.what.contains(what));
    assert!(has("13 of 15 products are missing: capsule, carpet"), "{findings:?}");
    assert!(
        has("bottle: 3 training images, published are 209") && has("cable: 1 defective test images, published are 92")
    );
    assert_eq!(findings.len(), 1 + 2 * 3);
    for other in ["own1", "own2", "own3"] {
        add(&tree, other, 1);
    }
    assert!(published::of(&tree.census(true).0[0]).is_none(), "most of it is another's");
}

#[test]
fn the_parts_of_a_union_are_known_each() {
    let tree = Tree(tempfile::tempdir().unwrap());
    add(&tree, "mvtec/tile", 1);
    add(&tree, "mvtec/wood", 1);
    tree.image("btad/01/train/ok/0000.bmp", 1);
    tree.image("btad/01/test/ok/0000.bmp", 2);
    let (sets, census) = tree.census(true);
    assert_eq!(sets.iter().map(|set| published::of(set).unwrap().name).collect::<Vec<_>>(), ["BTAD", "MVTec AD"]);
    let of = |set: &DataSet| differences(set, &census, published::of(set).unwrap());
    let btad = of(&sets[0]);
    assert!(btad.iter().any(|finding| finding.what == "2 of 3 products are missing: 02, 03"), "{btad:?}");
    assert!(btad.iter().any(|finding| finding.what == "btad-01: 1 training images, published are 400"), "{btad:?}");
    assert!(of(&sets[1]).iter().any(|finding| finding.what.contains("mvtec-tile: 1 training images")));
}
