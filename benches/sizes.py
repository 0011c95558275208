#!/usr/bin/env python3
"""How a frame's time grows with the products, centers, blocks and pixels of its model.

    cargo build --release
    python3 benches/sizes.py --data DIR --backbone FILE [--taps NAME,NAME] [--only centers]

DIR holds products in MVTec AD's layout. Each row's model is trained for one epoch on a few of their pictures, which makes it no good
and as fast as any; products beyond those of DIR are the same ones under other names. A product has two centers at least: with one
there would be none beside it, which the trainer learns. All rows of a table take turns, in `--rounds` rounds; the figures are ms of the
processor for a frame of 640 x 480, from its pixels to its score, in the median over the rounds, and the bundle's size.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

PICTURES = 4
# What every model has where its row does not say otherwise.
USUAL = {"products": 5, "centers": 10, "blocks": 12, "pixels": 256}
TABLES = [
    ("products", [1, 5, 15, 40], ["cells", "centers"]),
    ("centers", [2, 10, 50], ["cells", "centers"]),
    ("blocks", [4, 8, 12], ["cells"]),
    ("pixels", [224, 256, 384, 512], ["cells"]),
]


def products(data, count, folder):
    """A tree of so many products, a few pictures each."""
    found = sorted(path for path in data.iterdir() if (path / "train" / "good").is_dir())
    tree = folder / f"products-{count}"
    for number in range(count):
        good = tree / f"product{number:02}" / "train" / "good"
        if not good.is_dir():
            good.mkdir(parents=True)
            source = found[number % len(found)] / "train" / "good"
            for picture in sorted(source.iterdir())[:PICTURES]:
                (good / picture.name).symlink_to(picture.resolve())
    return tree


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr}")
    return done.stdout


def trained(args, folder, distance, **changed):
    """The bundle of a model that is as usual, but for what is `changed`."""
    of = {**USUAL, **changed}
    bundle = folder / "-".join([distance, *(f"{key}{value}" for key, value in of.items())])
    if not bundle.is_dir():
        tree = products(args.data, of["products"], folder)
        taps = ["--taps", args.taps] if args.taps else []
        run([
            args.programs / "hgad-train", "train", "--data", tree, "--backbone", args.backbone, *taps, "--epochs", "1",
            "--size", str(of["pixels"]), "--centers", str(of["centers"]), "--blocks", str(of["blocks"]),
            "--distance", distance, "--out", bundle,
        ])  # fmt: skip
    return bundle


def measured(args, bundle):
    command = [args.programs / "hgad", "bench", "--model", bundle, "--threads", "1", "--frames", str(args.frames), "--json"]
    return json.loads(run(command))["shares"][0]["cpu_ms"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--backbone", type=Path, required=True, metavar="FILE")
    parser.add_argument("--taps", metavar="NAME,NAME")
    parser.add_argument("--only", choices=[key for key, _, _ in TABLES], help="this table alone [default: all of them]")
    parser.add_argument("--programs", type=Path, default=Path("target/release"), metavar="DIR", help="hgad and hgad-train")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--frames", type=int, default=20, metavar="N", help="frames of a round, 10 at least")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for key, values, distances in (table for table in TABLES if args.only in (None, table[0])):
            for distance in distances:
                bundles = {value: trained(args, Path(folder), distance, **{key: value}) for value in values}
                times = {value: [] for value in values}
                for _ in range(args.rounds):
                    for value, bundle in bundles.items():
                        times[value].append(measured(args, bundle))
                print(f"\n{key}, distances from {distance}: ms of a frame, bundle's MB", flush=True)
                for value, bundle in bundles.items():
                    size = sum(path.stat().st_size for path in bundle.iterdir()) / 1e6
                    print(f"{value:>8} {statistics.median(times[value]):>8.2f} {size:>8.1f}", flush=True)


if __name__ == "__main__":
    main()
