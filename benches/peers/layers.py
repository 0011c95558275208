#!/usr/bin/env python3
"""Holds the convolution kernels (kernels/) against onnxruntime, layer by layer, on one thread.

    python3 -m venv out/peers && out/peers/bin/pip install -r benches/peers/requirements.txt
    out/peers/bin/python benches/peers/layers.py [TIER]

onnxruntime runs MobileNetV2's features at 256 pixels as one network, with its profiler on: so its layers pass images to each other
in its own blocked layout, and no single layer pays for a conversion. The kernels' times are those of `cargo bench -p hgad-kernels`.
The two take turns; the figures are medians, in microseconds. TIER limits the kernels to one set of instructions (avx2, avx512, ...);
onnxruntime takes what the CPU has.
"""

import collections
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

TURNS = 5
RUNS = 12
# Expansion, output channels, repeats and stride of each stage.
STAGES = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]


class Network:
    """The graph, grown layer by layer; each convolution's name is the bench's name of its shape."""

    def __init__(self):
        self.rng = np.random.default_rng(1)
        self.nodes, self.weights = [], []
        self.at, self.channels, self.side = "image", 3, 256

    def convolution(self, outputs, kernel, stride, groups, clamped, residual=None):
        plus = " +" if residual else ""
        kind = {1: "pointwise", 3: "first" if groups == 1 else "depthwise"}[kernel]
        shape = f"{self.channels}" if groups > 1 else f"{self.channels}->{outputs}"
        name = f"{kind} {shape} @{self.side}" + (f" stride {stride}" if kind == "depthwise" else "") + plus
        # The profiler names a fused node after what comes out of it.
        index = f"<{name}>{len(self.nodes)}"
        fan = self.channels // groups * kernel * kernel
        weights = self.rng.normal(0, fan**-0.5, (outputs, self.channels // groups, kernel, kernel)).astype(np.float32)
        bias = self.rng.normal(0, 0.1, outputs).astype(np.float32)
        self.weights += [numpy_helper.from_array(weights, f"w{index}"), numpy_helper.from_array(bias, f"b{index}")]
        self.nodes.append(
            helper.make_node(
                "Conv", [self.at, f"w{index}", f"b{index}"], [f"c{index}"],
                kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[kernel // 2] * 4, group=groups,
            )
        )
        self.at, self.channels, self.side = f"c{index}", outputs, self.side // stride
        if clamped:
            self.nodes.append(helper.make_node("Clip", [self.at, "zero", "six"], [f"a{index}"]))
            self.at = f"a{index}"
        if residual:
            self.nodes.append(helper.make_node("Add", [residual, self.at], [f"s{index}"]))
            self.at = f"s{index}"

    def model(self):
        self.convolution(32, 3, 2, 1, True)
        for expansion, outputs, repeats, stride in STAGES:
            for repeat in range(repeats):
                start, inputs = self.at, self.channels
                if expansion > 1:
                    self.convolution(inputs * expansion, 1, 1, 1, True)
                self.convolution(self.channels, 3, stride if repeat == 0 else 1, self.channels, True)
                self.convolution(outputs, 1, 1, 1, False, start if repeat > 0 else None)
        self.convolution(1280, 1, 1, 1, True)
        limits = [numpy_helper.from_array(np.float32(v), n) for n, v in (("zero", 0), ("six", 6))]
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 256, 256])
        last = helper.make_tensor_value_info(self.at, TensorProto.FLOAT, [1, 1280, 8, 8])
        graph = helper.make_graph(self.nodes, "mobilenet_v2", [image], [last], self.weights + limits)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def onnxruntime_turn(model, image, times, whole):
    """Adds the median time of each layer in one session's runs, and of the whole network in CPU time."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    plain = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    options.enable_profiling = True
    options.profile_file_prefix = os.path.join(tempfile.gettempdir(), "hgad-peers")
    profiled = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    for run in range(RUNS):
        start = time.process_time()
        plain.run(None, {"image": image})
        if run > 1:
            whole.append(1e6 * (time.process_time() - start))
        profiled.run(None, {"image": image})
    path = profiled.end_profiling()
    with open(path) as file:
        events = json.load(file)
    os.remove(path)
    durations = collections.defaultdict(list)
    for event in events:
        if event["name"].endswith("_kernel_time"):
            found = re.search(r"<(.*)>(\d+)", event["name"])
            durations[(found[1], found[2]) if found else ("other", event["args"]["op_name"])].append(event["dur"])
    for (name, _), values in durations.items():
        # The first runs warm up; a layer may be several nodes.
        nodes = len(values) // RUNS
        times[name].append(statistics.median(values[2 * nodes:]) * nodes)


def kernels_turn(tier, times):
    """Adds each layer's time from one run of the bench."""
    command = ["cargo", "bench", "--quiet", "-p", "hgad-kernels", "--bench", "layers", "--", "--csv", "--rounds", "3"]
    lines = subprocess.run(command + tier, check=True, capture_output=True, text=True).stdout.splitlines()
    for line in lines:
        tier, name, count, value, _ = line.split(",")
        times[tier, name, int(count)].append(float(value))


def main():
    model = Network().model()
    onnx.checker.check_model(model)
    image = np.random.default_rng(2).uniform(-1, 1, (1, 3, 256, 256)).astype(np.float32)
    theirs, ours, whole = collections.defaultdict(list), collections.defaultdict(list), []
    for _ in range(TURNS):
        kernels_turn(sys.argv[1:], ours)
        onnxruntime_turn(model.SerializeToString(), image, theirs, whole)
    print(f"onnxruntime {ort.__version__}: the network takes {statistics.median(whole):.0f} us of CPU time; outside its convolutions "
          f"{statistics.median(theirs.get('other', [0])):.0f} us (each)")
    for tier in dict.fromkeys(key[0] for key in ours):
        kinds = collections.defaultdict(lambda: [0.0, 0.0])
        print(f"\n{tier:<32} {'times':>5} {'ours':>9} {'theirs':>9} {'ratio':>6}")
        for (_, name, count), values in ((key, value) for key, value in ours.items() if key[0] == tier):
            if count == 0 or name not in theirs:
                continue
            mine, other = statistics.median(values), statistics.median(theirs[name])
            print(f"{name:<32} {count:>5} {mine:>9.1f} {other:>9.1f} {mine / other:>6.2f}")
            for kind in (name.split()[0], "all"):
                kinds[kind][0] += count * mine
                kinds[kind][1] += count * other
        for kind, (mine, other) in kinds.items():
            print(f"{kind:<38} {mine:>9.1f} {other:>9.1f} {mine / other:>6.2f}")


if __name__ == "__main__":
    main()
