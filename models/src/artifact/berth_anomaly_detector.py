"""Votes of an anomaly detector. MLflow's python_function loads this; it needs numpy and pandas, and xgboost for a classifier of faults."""

import json
import struct
from pathlib import Path

import numpy as np


class Forest:
    """Isolation trees: the fewer rows of a split lie where the sum of coefficient * (x - point) is below a threshold."""

    def __init__(self, data):
        if data[:8] != b"BERTHIF\x01":
            raise ValueError("not a forest of this version")
        trees, _, extension, self.width, self.samples = struct.unpack_from("<5I", data, 8)
        self.at, self.data, self.extension = 28, data, extension
        self.depths = np.concatenate([[0.0, 0.0], 2 * np.cumsum(1 / np.arange(2, self.samples + 1))])
        self.trees = []
        for _ in range(trees):
            nodes = []
            self._node(nodes, self.samples, 0)
            self.trees.append(nodes)

    def _take(self, form):
        values = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return values

    def _node(self, nodes, rows, depth):
        (fewer,) = self._take("H")
        place = len(nodes)
        if fewer == 0xFFFF:
            nodes.append(depth + self.depths[rows])
            return
        if self.extension == 0:
            feature, threshold = self._take("Hf")
            terms = [(feature & 0x7FFF, -1.0 if feature & 0x8000 else 1.0, 0.0)]
        else:
            (count,) = self._take("H")
            terms, threshold = [self._take("Hff") for _ in range(count)], 0.0
        nodes.append(None)
        self._node(nodes, fewer, depth + 1)
        nodes[place] = (terms, threshold, len(nodes))
        self._node(nodes, rows - fewer, depth + 1)

    def _length(self, nodes, place, x, rows, lengths):
        node = nodes[place]
        if not isinstance(node, tuple):
            lengths[rows] += node
            return
        terms, threshold, more = node
        total = np.zeros(len(rows), np.float32)
        for feature, coefficient, point in terms:
            total += np.float32(coefficient) * (x[rows, feature] - np.float32(point))
        below = total < np.float32(threshold)  # never for a missing value
        for side, to in ((rows[below], place + 1), (rows[~below], more)):
            if len(side):
                self._length(nodes, to, x, side, lengths)

    def score(self, x):
        lengths = np.zeros(len(x))
        for nodes in self.trees:
            self._length(nodes, 0, x, np.arange(len(x)), lengths)
        scores = 2.0 ** (-lengths / (len(self.trees) * self.depths[self.samples]))
        return np.where(np.isnan(x).all(axis=1), np.nan, scores).astype(np.float32)


class Reach:
    """The logarithm of a row's squared length, each column in units of its usual spread."""

    def __init__(self, values):
        self.medians = np.array(values["medians"], np.float64)
        self.spans = np.array(values["spans"], np.float64)

    def score(self, x):
        used = self.spans > 0
        distance = np.abs(x[:, used].astype(np.float64) - self.medians[used]) / self.spans[used]
        length = (np.minimum(np.nan_to_num(distance), 50.0) ** 2).sum(axis=1)
        return np.where(np.isnan(x).all(axis=1), np.nan, np.log(length + 1e-9)).astype(np.float32)


class Classifier:
    """Boosted trees: the natural logarithm of the odds that a row belongs to a fault."""

    def __init__(self, path):
        import xgboost

        self.matrix, self.booster = xgboost.DMatrix, xgboost.Booster()
        self.booster.load_model(path)

    def score(self, x):
        matrix = self.matrix(x, feature_names=self.booster.feature_names)
        return self.booster.predict(matrix, output_margin=True).astype(np.float32)


def scorer(folder, member):
    """What the member's scores come from."""
    if "reach" in member:
        return Reach(member["reach"])
    path = folder / member["file"]
    return Classifier(path) if path.suffix == ".ubj" else Forest(path.read_bytes())


def one_sided(middles, x):
    """Values on the other side of the middle count as the middle; a missing one stays missing."""
    if middles is None:
        return x
    clip = {"above": np.maximum, "below": np.minimum}[middles["side"]]
    return clip(x, np.array(middles["medians"], np.float32))


def surprise(knots, scores):
    """How rare scores are: lines between the knots, the slope of the last half surprise beyond them."""
    if not knots:
        return np.zeros(len(scores))
    x, y = np.array(knots, np.float64).T
    answer = np.where(scores >= x[0], np.interp(scores, x, y), 0.0)
    before = next((at for at in range(len(y) - 1, -1, -1) if y[at] <= y[-1] - 0.5), 0)
    slope = (y[-1] - y[before]) / (x[-1] - x[before]) if x[-1] > x[before] else 0.0
    beyond = np.minimum(slope * (scores - x[-1]), 6.0)
    return np.nan_to_num(np.where(scores > x[-1], y[-1] + beyond, answer))


class AnomalyDetector:
    def __init__(self, folder):
        folder = Path(folder)
        self.document = json.loads((folder / "detector.json").read_text(encoding="utf-8"))
        if self.document["version"] > 4:
            raise ValueError(f"detector.json has version {self.document['version']}, this loader reads 1 to 4")
        self.scorers = [scorer(folder, member) for member in self.document["members"]]

    def certain(self, x):
        features, answer = self.document["features"], np.zeros(len(x), bool)
        for rule in self.document["rules"]:
            (name, values), = rule.items()
            own = x[:, features.index(values["feature"])]
            if name == "missing":
                answer |= np.isnan(own) & ~np.isnan(x[:, features.index(values["while_known"])])
            else:
                answer |= own < np.float32(values["limit"])
        return answer

    def predict(self, rows, params=None):
        import pandas as pd

        x = np.asarray(rows[self.document["features"]] if isinstance(rows, pd.DataFrame) else rows, dtype=np.float32)
        surprises = np.stack(
            [
                surprise(
                    member["tail"]["knots"], scorer.score(one_sided(member.get("middles"), x[:, member["columns"]]))
                )
                for member, scorer in zip(self.document["members"], self.scorers, strict=True)
            ],
            axis=1,
        )
        vote = self.document["vote"]
        if vote == "largest":
            votes = surprises.max(axis=1)
        elif "scaled" in vote:
            votes = (surprises * np.array(vote["scaled"])).max(axis=1)
        else:
            votes = surprises @ np.array(vote["weighted"])
        certain, threshold = self.certain(x), self.document["threshold"]
        score = np.where(certain, 1.0, votes / (votes + threshold))
        return pd.DataFrame({"vote": votes, "score": score, "alarm": certain | (votes >= threshold)})


def _load_pyfunc(path):
    folder = Path(path)
    return AnomalyDetector(folder.parent if folder.is_file() else folder)
