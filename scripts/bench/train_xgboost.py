#!/usr/bin/env python3
"""Makes the rows of the training benchmark, and trains Python's xgboost on them.

    train_xgboost.py rows FOLDER           writes train.f32, test.f32 (row-major, target last) and shape.json
    train_xgboost.py train FOLDER LOSS     trains and prints one JSON line: CPU seconds, test error, ms per 5,000 rows

The settings are those of `models/examples/train_speed.rs`: 200 trees, depth 6, hist, 256 bins, one thread.
"""

import json
import os
import resource
import sys

import numpy as np

NODES, DAYS, STEPS = 40, 30, 288
LOSSES = {
    "squared": {"objective": "reg:squarederror"},
    "absolute": {"objective": "reg:absoluteerror"},
    "quantile": {"objective": "reg:quantileerror", "quantile_alpha": 0.9},
}


def rolling(values, window, reduce):
    padded = np.concatenate([np.full((NODES, window - 1), np.nan), values], axis=1)
    return reduce(np.lib.stride_tricks.sliding_window_view(padded, window, axis=1), axis=2)


def rows(folder):
    random = np.random.default_rng(20261121)
    length = DAYS * STEPS
    time = np.arange(length) / STEPS
    phase, level = random.random((NODES, 1)), 0.2 + 0.5 * random.random((NODES, 1))
    wave = 0.12 * np.sin(2 * np.pi * (time + phase)) + 0.05 * np.sin(2 * np.pi * (time / 7 + phase))
    noise = np.zeros((NODES, length))
    for step in range(1, length):
        noise[:, step] = 0.97 * noise[:, step - 1] + 0.02 * random.standard_normal(NODES)
    jobs = 0.25 * (rolling((random.random((NODES, length)) < 0.004).astype(float), 18, np.nanmax))
    cpu = np.clip(level + wave + noise + jobs, 0, 1.2)
    columns = [cpu]
    for lag in (1, 2, 3, 4, 5, 6, 9, 12, 18, 24, 36, 48, 72, 144, 288):
        columns.append(np.concatenate([np.full((NODES, lag), np.nan), cpu[:, :-lag]], axis=1))
    for window in (3, 6, 12, 36, 72, 288):
        for reduce in (np.nanmean, np.nanstd, np.nanmax, np.nanmin):
            columns.append(rolling(cpu, window, reduce))
    columns += [columns[0] - columns[lag] for lag in (1, 3, 6, 8, 10)]
    columns += [np.broadcast_to(f(2 * np.pi * time), cpu.shape) for f in (np.sin, np.cos)]
    columns += [np.broadcast_to(np.floor(time) % 7, cpu.shape), np.broadcast_to(level, cpu.shape)]
    while len(columns) < 60:
        columns.append(0.3 * cpu + 0.2 * random.standard_normal(cpu.shape))
    target = np.full(cpu.shape, np.nan)
    hour = rolling(cpu, 12, np.nanmean)
    target[:, :-12] = hour[:, 12:]
    table = np.stack(columns + [target], axis=2).astype(np.float32)
    gaps = random.random(table[:, :, :60].shape) < 0.015
    table[:, :, :60][gaps] = np.nan
    cut, gap = int(0.75 * length), 12
    for name, part in (("train", table[:, STEPS:cut]), ("test", table[:, cut + gap : -12])):
        part.reshape(-1, 61).tofile(os.path.join(folder, f"{name}.f32"))
    with open(os.path.join(folder, "shape.json"), "w", encoding="utf-8") as file:
        json.dump({"features": 60}, file)


def read(folder, name):
    table = np.fromfile(os.path.join(folder, f"{name}.f32"), np.float32).reshape(-1, 61)
    return np.ascontiguousarray(table[:, :60]), np.ascontiguousarray(table[:, 60])


def error(loss, observed, predicted):
    difference = observed.astype(np.float64) - predicted
    if loss == "squared":
        return float(np.sqrt(np.mean(difference**2)))
    if loss == "absolute":
        return float(np.mean(np.abs(difference)))
    return float(np.mean(np.maximum(0.9 * difference, -0.1 * difference)))


def train(folder, loss):
    import xgboost

    x, y = read(folder, "train")
    test_x, test_y = read(folder, "test")
    settings = {"tree_method": "hist", "max_depth": 6, "eta": 0.1, "max_bin": 256, "nthread": 1, "seed": 7, **LOSSES[loss]}
    before = resource.getrusage(resource.RUSAGE_SELF)
    booster = xgboost.train(settings, xgboost.DMatrix(x, label=y, nthread=1), 200)
    after = resource.getrusage(resource.RUSAGE_SELF)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    predicted = booster.predict(xgboost.DMatrix(test_x, nthread=1))
    before = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(20):
        booster.inplace_predict(test_x[:5000])
    after = resource.getrusage(resource.RUSAGE_SELF)
    batch = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e3 / 20
    answer = {"rows": len(y), "cpu_seconds": round(seconds, 2), "error": error(loss, test_y, predicted), "batch_5000_ms": batch}
    print(json.dumps(answer))


if sys.argv[1] == "rows":
    rows(sys.argv[2])
else:
    train(sys.argv[2], sys.argv[3])
