#!/usr/bin/env python3
"""Holds a whole frame, from the camera's pixels to its verdict, against onnxruntime, OpenVINO and anomalib, in one run.

    python3 -m venv out/peers
    out/peers/bin/pip install -r benches/peers/requirements.txt
    cargo build --release --bin hgad
    out/peers/bin/python benches/peers/frame.py --model BUNDLE [--model BUNDLE] [--threads 1,2] [--rounds 7]

    out/peers/bin/pip install anomalib==2.7.0       # some gigabytes, not pinned; adds the last rows
    out/peers/bin/python benches/peers/frame.py --model BUNDLE --anomalib

What each one does with a frame of 640 x 480 that is in memory, RGB, 8 bits:

- `hgad`: resizes it (antialiased), runs the network, measures distances, makes the map and the score. That is `hgad bench`.
- `onnxruntime`, `openvino`: the same ONNX, from pixels to the network's outputs: their distances and scores are *not* counted.
  onnxruntime gets what OpenCV resizes; OpenVINO does all of it in one graph of its own (PrePostProcessor). A bundle whose weights are
  stored in 8 bits is given to both with its weights as floats, and once more as the file is (`, file as it is`); one that
  computes in 8 bits as it is.
- anomalib's PaDiM (ResNet18, 100 features) and EfficientAD-S at 256 pixels, exported by anomalib and run by its own OpenVINO
  inferencer. They are not trained, which changes no time.

All take turns, one process at a time, so that a machine whose speed drifts favours nobody. Every figure is the median over the
rounds of a round's median: wall-clock ms, and ms of the processor on all its cores (what counts where other work runs beside).
"""

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import numpy_helper

CAMERA = (480, 640)
WARM_UP = 5


def in_floats(model):
    """The graph with constants instead of every DequantizeLinear of a constant."""
    graph = model.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    kept, made = [], []
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in constants:
            codes, scale = (constants[name] for name in node.input[:2])
            axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
            shape = [-1 if i == axis else 1 for i in range(codes.ndim)]
            scale = scale.reshape(shape) if scale.size > 1 else scale
            made.append(numpy_helper.from_array((codes.astype(np.float32) * scale).astype(np.float32), node.output[0]))
        else:
            kept.append(node)
    used = {name for node in kept for name in node.input}
    still = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend(still)
    graph.initializer.extend(made)
    return model


class Timed:
    """What takes a frame and says how long it took: a round is the median of its frames."""

    def round(self, frames):
        for _ in range(WARM_UP):
            self.frame()
        walls, used = [], time.process_time()
        for _ in range(frames):
            begun = time.perf_counter()
            self.frame()
            walls.append(time.perf_counter() - begun)
        return 1e3 * statistics.median(walls), 1e3 * (time.process_time() - used) / frames


class Onnxruntime(Timed):
    def __init__(self, model, size, threads, pixels):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.input, self.size, self.pixels = self.session.get_inputs()[0].name, size, pixels
        cv2.setNumThreads(threads)

    def frame(self):
        small = cv2.resize(self.pixels, self.size, interpolation=cv2.INTER_AREA)
        self.session.run(None, {self.input: small.transpose(2, 0, 1)[None].astype(np.float32)})


class OpenVino(Timed):
    def __init__(self, model, threads, pixels):
        core = openvino.Core()
        read = core.read_model(model)
        steps = openvino.preprocess.PrePostProcessor(read)
        info = steps.input()
        info.tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC")).set_shape([1, *CAMERA, 3])
        info.preprocess().convert_element_type(openvino.Type.f32).resize(
            openvino.preprocess.ResizeAlgorithm.RESIZE_LINEAR
        )
        info.model().set_layout(openvino.Layout("NCHW"))
        settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        self.request = core.compile_model(steps.build(), "CPU", settings).create_infer_request()
        self.pixels = pixels[None]

    def frame(self):
        self.request.infer([self.pixels], share_inputs=True)


class Anomalib(Timed):
    """One of anomalib's models, untrained, as its OpenVINO inferencer runs it."""

    def __init__(self, name, folder, threads, pixels):
        from anomalib.deploy import OpenVINOInferencer

        path = exported(name, Path(folder) / name)
        # It leaves a cache in the working folder.
        with contextlib.chdir(folder):
            self.inferencer = OpenVINOInferencer(path, device="CPU", config={"INFERENCE_NUM_THREADS": threads})
        self.pixels = pixels

    def frame(self):
        self.inferencer.predict(cv2.resize(self.pixels, (256, 256), interpolation=cv2.INTER_AREA))


def exported(name, folder):
    """The model's file, made once."""
    import torch
    from anomalib.models import EfficientAd, Padim

    found = list(folder.rglob("*.xml"))
    if found:
        return found[0]
    torch.manual_seed(1)
    if name == "padim":
        model = Padim(backbone="resnet18", layers=["layer1", "layer2", "layer3"], pre_trained=False, n_features=100)
        model.model.train()
        for _ in range(8):
            model.model(torch.rand(16, 3, 256, 256))
        model.model.fit()
    else:
        model = EfficientAd(model_size="small")
    model.eval()
    return model.to_openvino(folder, input_size=(256, 256))


class Hgad:
    """`hgad bench`: a process of its own for each round."""

    def __init__(self, program, bundle, threads):
        self.command = [program, "bench", "--model", bundle, "--threads", str(threads), "--json", "--frames"]
        self.threads = threads

    def round(self, frames):
        done = subprocess.run([*self.command, str(frames)], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(done.stderr)
        shares = json.loads(done.stdout)["shares"]
        share = next(share for share in shares if (share["frames"], share["threads"]) == (1, self.threads))
        return share["frame"]["p50_ms"], share["cpu_ms"]


def contestants(args, threads, pixels, folder):
    """Name and contestant of every row; the rows of one model begin with hgad."""
    for bundle in args.model:
        name = Path(bundle).name
        model = onnx.load(f"{bundle}/model.onnx")
        shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
        manifest = tomllib.loads(Path(f"{bundle}/manifest.toml").read_text())
        files = {"": f"{bundle}/model.onnx"}
        if manifest.get("arithmetic") != "int8" and manifest["precision"] == "weights-int8":
            path = f"{folder}/{name}.onnx"
            onnx.save(in_floats(model), path)
            files = {"": path, ", file as it is": f"{bundle}/model.onnx"}
        yield f"{name}: hgad", Hgad(args.hgad, bundle, threads)
        for which, path in files.items():
            yield f"{name}: onnxruntime{which}", Onnxruntime(path, (shape[3], shape[2]), threads, pixels)
            yield f"{name}: openvino{which}", OpenVino(path, threads, pixels)
    if args.anomalib:
        yield "anomalib PaDiM, ResNet18", Anomalib("padim", folder, threads, pixels)
        yield "anomalib EfficientAD-S", Anomalib("efficientad", folder, threads, pixels)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", required=True, metavar="BUNDLE", help="a bundle; may be given again")
    parser.add_argument("--hgad", default="target/release/hgad", metavar="FILE", help="the program")
    parser.add_argument("--threads", default="1,2", metavar="N,N", help="threads of a frame")
    parser.add_argument("--rounds", type=int, default=7, metavar="N")
    parser.add_argument("--frames", type=int, default=20, metavar="N", help="frames of a round, 10 at least")
    parser.add_argument("--anomalib", action="store_true", help="with two of anomalib's models")
    args = parser.parse_args()
    pixels = np.random.default_rng(1).integers(0, 256, (*CAMERA, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        for threads in map(int, args.threads.split(",")):
            rows = list(contestants(args, threads, pixels, folder))
            times = {name: [] for name, _ in rows}
            for _ in range(args.rounds):
                for name, contestant in rows:
                    times[name].append(contestant.round(args.frames))
            table(threads, args, times)


def table(threads, args, times):
    print(f"\n{threads} thread{'s' * (threads > 1)}, {args.rounds} rounds of {args.frames} frames in turns; ratios to hgad's own above")
    print(f"{'':<40} {'ms':>8} {'ratio':>7} {'cpu ms':>8} {'ratio':>7}")
    own = None
    for name, rounds in times.items():
        walls, used = zip(*rounds)
        if name.endswith(": hgad"):
            own = rounds
        ratio = [statistics.median(a[i] / b[i] for a, b in zip(rounds, own)) for i in range(2)]
        print(f"{name:<40} {statistics.median(walls):>8.2f} {ratio[0]:>7.2f} {statistics.median(used):>8.2f} {ratio[1]:>7.2f}", flush=True)


if __name__ == "__main__":
    main()
