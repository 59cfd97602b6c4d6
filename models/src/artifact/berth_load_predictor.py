"""Serves Berth's load predictor in Python with nothing but xgboost, numpy and pandas.

MLflow loads it through `_load_pyfunc`. By hand: `LoadPredictor(folder).predict(frame)`.
The frame has one column per feature of `heads.json` (missing values are NaN); the answer has one column per resource,
horizon and quantile, utilization as a ratio.
"""

import json
import os

import numpy as np
import pandas as pd
import xgboost


class LoadPredictor:
    def __init__(self, folder):
        with open(os.path.join(folder, "heads.json"), encoding="utf-8") as file:
            document = json.load(file)
        if document["version"] != 1:
            raise ValueError(f"heads.json has version {document['version']}, this loader reads 1")
        self.features = document["features"]
        self.heads = document["heads"]
        self.boosters = {}
        for head in self.heads:
            for part in (head["p50"], head["p90"]):
                if part is not None:
                    booster = xgboost.Booster()
                    booster.load_model(os.path.join(folder, part["file"]))
                    self.boosters[part["file"]] = booster

    def predict(self, frame, params=None):
        missing = [name for name in self.features if name not in frame.columns]
        if missing:
            raise ValueError(f"the frame lacks {len(missing)} of {len(self.features)} features, first `{missing[0]}`")
        frame = frame[self.features].astype(np.float32)
        answer = {}
        for head in self.heads:
            name = f"{head['key']['resource']}-{head['key']['horizon']}"
            base = self._baseline(frame, head["baseline"])
            median = base + self._residual(frame, head["p50"])
            upper = base + self._residual(frame, head["p90"]) + self._offset(frame, head["conformal"])
            median = np.maximum(median, 0.0)
            answer[f"{name}-p50"] = median
            answer[f"{name}-p90"] = np.maximum(upper, median)
        return pd.DataFrame(answer, index=frame.index)

    @staticmethod
    def _baseline(frame, parts):
        values = frame[[part["column"] for part in parts]].to_numpy(np.float64)
        weights = np.where(np.isnan(values), 0.0, [part["weight"] for part in parts])
        with np.errstate(invalid="ignore"):
            mixed = np.nansum(values * weights, axis=1) / weights.sum(axis=1)
        # Where no column with a weight is known, the first known one answers.
        first = values[np.arange(len(values)), (~np.isnan(values)).argmax(axis=1)]
        return np.where(weights.sum(axis=1) > 0.0, mixed, first).astype(np.float32)

    def _residual(self, frame, part):
        if part is None:
            return np.zeros(len(frame), np.float32)
        return np.float32(part["blend"]) * self.boosters[part["file"]].predict(xgboost.DMatrix(frame[part["features"]]))

    @staticmethod
    def _offset(frame, conformal):
        groups = conformal["groups"]
        if groups is None:
            return np.float32(conformal["offset"])
        values = frame[groups["column"]].to_numpy(np.float32)
        group = np.searchsorted(np.asarray(groups["edges"], np.float32), values, side="right")
        group[np.isnan(values)] = len(groups["edges"]) + 1
        return np.asarray(conformal["group_offsets"], np.float32)[group]


def _load_pyfunc(path):
    return LoadPredictor(path)
