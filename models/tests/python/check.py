"""Answers `tests/xgboost_python.rs`: what Python's xgboost makes of files that we wrote.

    check.py FOLDER boosters   FOLDER/rows.json and FOLDER/*.ubj, *.json -> predictions and contributions per file
    check.py FOLDER predictor  FOLDER/rows.json and an artifact -> the forecasts of the Python loader
"""

import json
import os
import sys

import numpy as np
import pandas as pd
import xgboost

folder, what = sys.argv[1:]
with open(os.path.join(folder, "rows.json"), encoding="utf-8") as file:
    rows = json.load(file)
frame = pd.DataFrame(rows["rows"], columns=rows["features"], dtype=np.float32)


def numbers(values):
    return [None if np.isnan(value) else float(value) for value in values]


def booster(name):
    booster = xgboost.Booster({"nthread": 1})
    booster.load_model(os.path.join(folder, name))
    swapped = frame[frame.columns[::-1]]
    try:
        booster.predict(xgboost.DMatrix(swapped))
        refused = False
    except ValueError as error:
        refused = "feature_names mismatch" in str(error)
    data = xgboost.DMatrix(frame)
    return {
        "names": booster.feature_names,
        "refused_swapped_columns": refused,
        "predictions": numbers(booster.predict(data)),
        "contributions": [numbers(row) for row in booster.predict(data, pred_contribs=True)],
    }


if what == "boosters":
    names = sorted(name for name in os.listdir(folder) if name != "rows.json")
    answer = {name: booster(name) for name in names}
else:
    sys.path.insert(0, os.path.join(folder, "code"))
    import berth_load_predictor

    forecasts = berth_load_predictor._load_pyfunc(folder).predict(frame)
    answer = {name: numbers(forecasts[name]) for name in forecasts.columns}
json.dump(answer, sys.stdout)
