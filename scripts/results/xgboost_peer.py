"""Fits Python's XGBoost on the matrices that `trainer results` wrote and forecasts the test rows.

Usage: xgboost_peer.py FOLDER. Reads x_train.f32, y_train.f32, x_test.f32 (raw little-endian floats, row-major) and
task.json; writes forecasts.f32 and answer.json. One thread, as the figures it is compared with.
"""

import json
import sys
import time
from pathlib import Path

import numpy
import xgboost


def main(folder: Path) -> None:
    task = json.loads((folder / "task.json").read_text())
    x_train = numpy.fromfile(folder / "x_train.f32", dtype="<f4").reshape(-1, task["columns"])
    y_train = numpy.fromfile(folder / "y_train.f32", dtype="<f4")
    x_test = numpy.fromfile(folder / "x_test.f32", dtype="<f4").reshape(-1, task["columns"])
    names = ["eta", "max_depth", "min_child_weight", "subsample", "colsample_bytree", "lambda", "seed", "objective", "max_bin"]
    parameters = {name: task[name] for name in names}
    parameters.update(tree_method="hist", nthread=1, verbosity=0)
    began = time.process_time()
    matrix = xgboost.QuantileDMatrix(x_train, label=y_train, max_bin=task["max_bin"], nthread=1)
    booster = xgboost.train(parameters, matrix, task["rounds"])
    seconds = time.process_time() - began
    booster.predict(xgboost.DMatrix(x_test, nthread=1)).astype("<f4").tofile(folder / "forecasts.f32")
    answer = {"cpu_seconds": seconds, "xgboost": xgboost.__version__}
    (folder / "answer.json").write_text(json.dumps(answer))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
