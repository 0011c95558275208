"""Writes tests/data/metrics.json: scores with their labels, and the figures that scikit-learn and anomalib give for them.

    python3 -m venv venv && venv/bin/pip install -r tests/reference/requirements.txt
    venv/bin/python tests/reference/metrics.py > tests/data/metrics.json

scikit-learn has no per-region overlap. It is computed here as Bergmann et al. (IJCV 2021, section 5.2) define it: at every threshold
the mean, over the connected regions of all masks, of the share that is found; integrated over the false-positive rate of all pixels
up to 30%, and divided by that. anomalib computes it region by region, from 32-bit numbers. Its AUPR is the area below straight lines,
not the average precision: that is torchmetrics', on which anomalib rests.
"""

import json
import sys

import numpy as np
import scipy
import sklearn
import sklearn.metrics as skm
import torch
from scipy.ndimage import label

import anomalib
from anomalib.metrics.aupro import _AUPRO
from anomalib.metrics.auroc import _AUROC
from anomalib.metrics.f1_score import _F1Max
from torchmetrics.classification import BinaryAveragePrecision

LIMIT = 0.3
RATES = [0.001, 0.01, 0.05, 0.2]


def by_scikit_learn(scores, labels):
    precision, recall, _ = skm.precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    false_rejects, found, _ = skm.roc_curve(labels, scores, drop_intermediate=False)
    return {
        "auroc": skm.roc_auc_score(labels, scores),
        "ap": skm.average_precision_score(labels, scores),
        "f1_max": f1.max(),
        "misses_at": [[rate, 1 - found[false_rejects <= rate].max()] for rate in RATES],
    }


def by_anomalib(scores, labels):
    given = torch.tensor(scores, dtype=torch.float32), torch.tensor(labels, dtype=torch.int32)
    figures = {"auroc": _AUROC(), "ap": BinaryAveragePrecision(), "f1_max": _F1Max()}
    for figure in figures.values():
        figure.update(*given)
    return {name: float(figure.compute()) for name, figure in figures.items()}


def written(scores):
    """The shortest decimals that are read back as the same 32-bit numbers."""
    decimals = [float(str(score)) for score in scores]
    assert (np.array(decimals).astype(np.float32) == scores).all()
    return decimals


def overlap(maps, masks):
    """The normalised area under the per-region overlap, and how many regions there are."""
    good = np.sort(maps[~masks])
    thresholds = np.unique(maps)[::-1]
    found = np.zeros(len(thresholds))
    regions = 0
    for values, mask in zip(maps, masks):
        labels, count = label(mask, structure=np.ones((3, 3)))
        for region in range(1, count + 1):
            inside = np.sort(values[labels == region])
            found += 1 - np.searchsorted(inside, thresholds) / len(inside)
        regions += count
    rate = np.concatenate([[0], 1 - np.searchsorted(good, thresholds) / len(good)])
    share = np.concatenate([[0], found / regions])
    within = rate <= LIMIT
    if not within.all() and rate[within][-1] < LIMIT:
        at_limit = np.interp(LIMIT, [rate[within][-1], rate[~within][0]], [share[within][-1], share[~within][0]])
        rate, share = np.append(rate[within], LIMIT), np.append(share[within], at_limit)
    else:
        rate, share = rate[within], share[within]
    return float(np.trapezoid(share, rate) / LIMIT), regions


def overlap_by_anomalib(maps, masks):
    figure = _AUPRO(fpr_limit=LIMIT)
    figure.update(torch.tensor(maps, dtype=torch.float32), torch.tensor(masks, dtype=torch.int32))
    return float(figure.compute())


def images(rng, good, defective, shift, levels):
    scores = np.concatenate([rng.normal(0, 1, good), rng.normal(shift, 1.5, defective)])
    scores = 1 / (1 + np.exp(-scores))
    scores = (np.round(scores * levels) / levels if levels else scores).astype(np.float32)
    labels = np.concatenate([np.zeros(good, bool), np.ones(defective, bool)])
    order = rng.permutation(len(scores))
    scores, labels = scores[order], labels[order]
    return {
        "scores": written(scores),
        "defective": labels.astype(int).tolist(),
        "scikit_learn": by_scikit_learn(scores, labels),
        "anomalib": by_anomalib(scores, labels),
    }


def pixels(rng, boxes, shift, levels, height=16, width=20):
    """Maps with defects in `boxes`: one list of (top, left, bottom, right) for every map."""
    masks = np.zeros((len(boxes), height, width), bool)
    for mask, several in zip(masks, boxes):
        for top, left, bottom, right in several:
            mask[top:bottom, left:right] = True
    maps = 1 / (1 + np.exp(-rng.normal(0, 1, masks.shape) - shift * masks))
    maps = (np.round(maps * levels) / levels if levels else maps).astype(np.float32)
    scores, labels = maps.ravel(), masks.ravel()
    aupro, regions = overlap(maps, masks)
    reference = by_scikit_learn(scores, labels)
    del reference["misses_at"]
    return {
        "size": [height, width],
        "maps": [written(values.ravel()) for values in maps],
        "masks": ["".join("01"[int(defect)] for defect in mask.ravel()) for mask in masks],
        "regions": regions,
        "scikit_learn": reference | {"aupro": aupro},
        "anomalib": by_anomalib(scores, labels) | {"aupro": overlap_by_anomalib(maps, masks)},
    }


rng = np.random.default_rng(20)
several = [[], [(2, 3, 6, 8), (6, 8, 8, 11), (12, 0, 16, 3)], [], [(0, 0, 1, 20)], [(9, 9, 10, 10), (3, 15, 12, 18)]]
json.dump(
    {
        "written_by": "tests/reference/metrics.py",
        "versions": {
            "anomalib": anomalib.__version__,
            "numpy": np.__version__,
            "scikit-learn": sklearn.__version__,
            "scipy": scipy.__version__,
            "torch": torch.__version__,
        },
        "images": [images(rng, 60, 25, 1.5, None), images(rng, 40, 30, 0.8, 12), images(rng, 3, 2, 0.0, None)],
        "pixels": [
            pixels(rng, several, 1.5, None),
            pixels(rng, several, 0.7, 20),
            pixels(rng, [[], [(4, 4, 9, 12)]], 1.0, None),
        ],
    },
    sys.stdout,
    separators=(",", ":"),
)
print()
