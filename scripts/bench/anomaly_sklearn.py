#!/usr/bin/env python3
"""Makes the rows of the isolation-forest benchmark, and grows scikit-learn's forest on them.

    anomaly_sklearn.py rows FOLDER                    writes rows.f32 (row-major) and labels.u8
    anomaly_sklearn.py forest FOLDER SAMPLES SEED     fits and scores; prints one JSON line

50,000 rows of 20 columns, 3 % of them odd in five ways: a level shift in three columns, a spike in one, a broken
correlation, a stuck value, a scale that grew.
"""

import json
import os
import resource
import sys

import numpy as np

ROWS, WIDTH = 50_000, 20


def rows(folder):
    random = np.random.default_rng(20261121)
    factors = random.standard_normal((ROWS, 4))
    mixing = random.standard_normal((4, WIDTH))
    x = factors @ mixing + 0.7 * random.standard_normal((ROWS, WIDTH))
    odd = np.zeros(ROWS, np.uint8)
    picked = random.permutation(ROWS)[: int(0.03 * ROWS)]
    odd[picked] = 1
    for kind, rows_of_kind in enumerate(np.array_split(picked, 5)):
        columns = random.permutation(WIDTH)[:3]
        for row in rows_of_kind:
            if kind == 0:
                x[row, columns] += 4.0 * x[:, columns].std(axis=0)
            elif kind == 1:
                x[row, random.integers(WIDTH)] += 9.0 * random.choice([-1, 1])
            elif kind == 2:
                x[row] = x[random.integers(ROWS, size=WIDTH), np.arange(WIDTH)] * 1.5
            elif kind == 3:
                x[row] = x.max(axis=0) * 0.6
            else:
                x[row] *= 2.5
    x.astype(np.float32).tofile(os.path.join(folder, "rows.f32"))
    odd.tofile(os.path.join(folder, "labels.u8"))


def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def forest(folder, samples, seed):
    from sklearn.ensemble import IsolationForest
    from sklearn.metrics import roc_auc_score

    x = np.fromfile(os.path.join(folder, "rows.f32"), np.float32).reshape(-1, WIDTH)
    odd = np.fromfile(os.path.join(folder, "labels.u8"), np.uint8)
    IsolationForest(n_estimators=2, random_state=1).fit(x[:1000]).score_samples(x[:1000])  # loads what is loaded late
    fits = []
    for _ in range(3):
        model = IsolationForest(n_estimators=100, max_samples=samples, random_state=seed, n_jobs=1)
        before = cpu()
        model.fit(x)
        fits.append(cpu() - before)
    scorings = []
    for _ in range(3):
        before = cpu()
        scores = -model.score_samples(x)
        scorings.append(cpu() - before)
    answer = {"fit_seconds": min(fits), "score_seconds": min(scorings), "auc": float(roc_auc_score(odd, scores))}
    print(json.dumps(answer))


if sys.argv[1] == "rows":
    rows(sys.argv[2])
else:
    forest(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
