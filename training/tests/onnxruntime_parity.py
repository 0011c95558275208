"""Holds a bundle's network under onnxruntime against the outputs that tract computed for its golden frames.

    python onnxruntime_parity.py BUNDLE [BOUND] [plain]

Prints the largest difference of every output as JSON: absolute where the value is below 1, else relative to the value.
Exits with 1 when one is above BOUND (default 1e-3).
With `plain`, onnxruntime runs every node as it is written: on a processor without VNNI, its own 8-bit kernels saturate.
Needs the packages numpy and onnxruntime.
"""

import json
import pathlib
import struct
import sys

import numpy
import onnxruntime


def read_safetensors(path):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    types = {"F32": "<f4", "U8": "u1"}
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        tensors[name] = numpy.frombuffer(data[begin:end], types[entry["dtype"]]).reshape(entry["shape"])
    return tensors


def main(bundle, bound=1e-3, mode=""):
    bundle = pathlib.Path(bundle)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if mode == "plain":
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(bundle / "model.onnx", options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    golden = read_safetensors(bundle / "golden.safetensors")
    differences = dict.fromkeys(names, 0.0)
    frames = 0
    while f"image.{frames}" in golden:
        image = golden[f"image.{frames}"].astype("float32").transpose(2, 0, 1)[None]
        for name, output in zip(names, session.run(names, {"image": image})):
            kind, level = name.split(".")
            expected = golden[f"{kind}.{frames}.{level}"]
            difference = (numpy.abs(output.reshape(expected.shape) - expected) / numpy.maximum(1, numpy.abs(expected))).max()
            # NaN compares as false with everything: it must not pass as "no difference".
            differences[name] = max(differences[name], float("inf") if numpy.isnan(difference) else float(difference))
        frames += 1
    print(json.dumps({"frames": frames, "onnxruntime": onnxruntime.__version__, "differences": differences}))
    return 0 if frames and max(differences.values()) <= float(bound) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
