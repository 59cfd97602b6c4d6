"""Scores rows with scikit-learn's IsolationForest and with PCA's reconstruction error, for `trainer anomaly results`.

Usage: anomaly_peers.py FOLDER. Reads x.f32 (raw little-endian floats, row-major) and task.json; fits on the first
`fit_rows` rows, scores all; writes forest.f32 and pca.f32, higher is odder. Both as they come: the forest with 100 trees of
256 rows, PCA on standardised columns with the components that hold 90 % of the variance.
"""

import json
import sys
from pathlib import Path

import numpy
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.preprocessing import StandardScaler


def main(folder: Path) -> None:
    task = json.loads((folder / "task.json").read_text())
    rows = numpy.fromfile(folder / "x.f32", dtype="<f4").reshape(-1, task["columns"])
    fit = rows[: task["fit_rows"]]
    # Neither knows missing values; the column's mean says nothing odd.
    means = numpy.nan_to_num(numpy.nanmean(fit, axis=0))
    rows = numpy.where(numpy.isnan(rows), means, rows)
    fit = rows[: task["fit_rows"]]

    forest = IsolationForest(n_estimators=100, max_samples=256, random_state=task["seed"]).fit(fit)
    (-forest.score_samples(rows)).astype("<f4").tofile(folder / "forest.f32")

    scaler = StandardScaler().fit(fit)
    scaled = scaler.transform(rows)
    pca = PCA(n_components=0.9, svd_solver="full").fit(scaled[: task["fit_rows"]])
    rebuilt = pca.inverse_transform(pca.transform(scaled))
    ((scaled - rebuilt) ** 2).sum(axis=1).astype("<f4").tofile(folder / "pca.f32")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
