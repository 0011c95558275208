#!/usr/bin/env python3
"""What a backbone, its taps, more pixels, wider subnets and more blocks cost a frame, and what they bring.

    cargo build --release --workspace
    python3 benches/pareto.py --data DIR --out FOLDER \\
        --backbone m=mobilenet_v2_features.onnx,t130,t145,t156 --backbone l0=efficientnet_lite0.onnx,stage2.1,stage3.2,stage4.2 \\
        --row m:256:2D:12 --row m:256:2D:4 --row m:384:2D:4 --row l0:256:2D:4

DIR holds products in MVTec AD's layout, with tests. A row is BACKBONE:PIXELS:HIDDEN:BLOCKS[:SEED]; each is trained on the normal
pictures but every fifth, calibrated on these, and judged by the test pictures (`hgad-train compare`). A row that FOLDER holds is not
made again: the same command goes on after a stop, and more `--row`s may follow later. `--every 2` takes every second picture of each
folder, for a first look.

Then all rows take turns under `hgad bench`: ms of the processor for a frame of 640 x 480 on one thread, and ms until its score on
two, which means something on an idle machine only; medians over the rounds.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
from pathlib import Path

# A product with fewer normal pictures than this is taken whole.
FEW = 100


def run(command, log=None):
    """What the command printed, and the processor's seconds that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if log:
        log.write_text(done.stdout + done.stderr)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr[-2000:]}")
    return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def thinned(data, every, tree):
    """A tree of links to every so many pictures of each folder, with the masks of these."""
    for product in sorted(path for path in data.iterdir() if (path / "train" / "good").is_dir()):
        step = every if len(list((product / "train" / "good").iterdir())) > FEW else 1
        for folder in [product / "train" / "good", *sorted((product / "test").iterdir())]:
            for picture in sorted(folder.iterdir())[::step]:
                mask = product / "ground_truth" / folder.name / f"{picture.stem}_mask.png"
                has_mask = folder.name != "good" and mask.exists()
                for file in [picture, mask] if has_mask else [picture]:
                    link = tree / file.relative_to(data)
                    link.parent.mkdir(parents=True, exist_ok=True)
                    if not link.exists():
                        link.symlink_to(file.resolve())
    return tree


def judged(args, data, backbones, row):
    """Trains and judges a row, unless FOLDER has it."""
    bundle = args.out / row.replace(":", "-")
    kept = bundle.with_suffix(".json")
    if kept.is_file():
        return json.loads(kept.read_text())
    name, pixels, hidden, blocks, *seed = row.split(":")
    backbone, *taps = backbones[name].split(",")
    _, training = run([
        args.programs / "hgad-train", "train", "--data", data, "--backbone", backbone, "--taps", ",".join(taps) or "auto",
        "--size", pixels, "--hidden", hidden, "--blocks", blocks, "--epochs", args.epochs, "--seed", *(seed or ["1"]),
        "--hold-out", "5", "--cache", args.out / "cache", "--no-history", "--out", bundle,
    ], bundle.with_suffix(".log"))  # fmt: skip
    table, _ = run([args.programs / "hgad-train", "compare", bundle, "--images", data, "--test", data])
    bundle.with_suffix(".txt").write_text(table)
    # The first table is the products' mean; its columns are those of `compare`.
    image, _, pixel, _, misses, rejects, size, *_ = table.splitlines()[1].split()[1:]
    found = {"image": image, "pixel": pixel, "misses": misses, "rejects": rejects, "mb": size, "training": training}
    kept.write_text(json.dumps(found))
    return found


def times(args, rows):
    """Ms of the processor on one thread and ms of the clock on two, for each row, which take turns."""
    every = {row: [] for row in rows}
    for _ in range(args.rounds):
        for row in rows:
            printed, _ = run([
                args.programs / "hgad", "bench", "--model", args.out / row.replace(":", "-"),
                "--threads", "1,2", "--frames", args.frames, "--json",
            ])  # fmt: skip
            shares = {share["threads"]: share for share in json.loads(printed)["shares"] if share["frames"] == 1}
            every[row].append((shares[1]["cpu_ms"], shares[2]["frame"]["p50_ms"]))
    return {row: [statistics.median(column) for column in zip(*taken)] for row, taken in every.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--backbone", action="append", required=True, metavar="NAME=FILE[,TAP,TAP]")
    parser.add_argument("--row", action="append", required=True, metavar="NAME:PIXELS:HIDDEN:BLOCKS[:SEED]")
    parser.add_argument("--programs", type=Path, default=Path("target/release"), metavar="DIR", help="hgad and hgad-train")
    parser.add_argument("--epochs", default="40", metavar="N")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take every N-th picture of each folder")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--frames", default="20", metavar="N", help="frames of a round, 10 at least")
    args = parser.parse_args()
    args.programs = args.programs.resolve()
    args.out.mkdir(parents=True, exist_ok=True)
    backbones = dict(given.split("=", 1) for given in args.backbone)
    data = args.data if args.every == 1 else thinned(args.data, args.every, args.out / f"every-{args.every}")
    found = {row: judged(args, data, backbones, row) for row in args.row}
    taken = times(args, args.row)
    print("| row | image AUROC | pixel AUROC | misses | false rejects | processor's ms | ms on 2 threads | bundle | training |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row, of in found.items():
        processor, clock = taken[row]
        print(
            f"| {row} | {of['image']} | {of['pixel']} | {of['misses']}% | {of['rejects']}% "
            f"| {processor:.1f} | {clock:.1f} | {of['mb']} MB | {of['training']:.0f} s |"
        )


if __name__ == "__main__":
    main()
