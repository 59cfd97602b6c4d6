"""Prints the targets of the load predictor beside what was reached, from the JSON files of `trainer results`.

Usage: targets.py FOLDER
"""

import json
import pathlib
import sys

ALIBABA, BITBRAINS, SYNTHETIC = "alibaba2018-nodes", "bitbrains-rnd", "synthetic"
LOW, HIGH = 0.87, 0.93
# set, target, head, figure, its name, unit, limit, whether more is better
TARGETS = [
    (ALIBABA, "hour_mean", "cpu-1h", "accuracy_percent", "accuracy", " %", 90.0, True),
    (ALIBABA, "hour_mean", "cpu-1h", "mae_points", "MAE", " points", 3.4, False),
    (ALIBABA, "hour_mean", "cpu-1h", "skill", "skill", "", 0.24, True),
    (ALIBABA, "hour_mean", "memory-1h", "accuracy_percent", "accuracy", " %", 98.0, True),
    (ALIBABA, "hour_mean", "memory-1h", "skill", "skill", "", 0.0, True),
    (ALIBABA, "hour_mean", "cpu-2h", "accuracy_percent", "accuracy", " %", 88.0, True),
    (ALIBABA, "hour_mean", "cpu-4h", "accuracy_percent", "accuracy", " %", 87.0, True),
    (BITBRAINS, "hour_mean", "cpu-1h", "mae_points", "MAE", " points", 3.4, False),
    (BITBRAINS, "hour_mean", "memory-1h", "mae_points", "MAE", " points", 2.1, False),
    (ALIBABA, "five_minute", "cpu-1h", "skill", "skill", "", 0.0, True),
    (ALIBABA, "five_minute", "memory-1h", "skill", "skill", "", 0.0, True),
    (BITBRAINS, "five_minute", "cpu-1h", "skill", "skill", "", 0.0, True),
    (BITBRAINS, "five_minute", "memory-1h", "skill", "skill", "", 0.0, True),
]
PEERS = ["persistence", "same hour yesterday", "XGBoost (Python), plain", "XGBoost (Python), residual and absolute error"]
WHAT = {"hour_mean": "mean of the hour", "five_minute": "5-minute value"}


def figure(line, name):
    """The figure of a line: the mean over the seeds where there is one."""
    return line["mae_points"] if name == "mae_points" else line["scores"][name]


lines = {}
for path in pathlib.Path(sys.argv[1]).glob("*.json"):
    document = json.loads(path.read_text())
    for line in document["lines"]:
        lines[document["set"], line["target"], line["head"], line["forecaster"]] = line

print("## Targets\n")
print("| set | forecast | figure | target | load predictor | holds | persistence | same hour yesterday | XGBoost, plain | XGBoost, our target |")
print("|---|---|---|---|---|---|---|---|---|---|")
for dataset, target, head, name, label, unit, limit, more in TARGETS:
    ours = lines.get((dataset, target, head, "load predictor"))
    if ours is None:
        continue
    value = figure(ours, name)
    holds = "yes" if (value >= limit if more else value <= limit) and (limit or value > 0) else "**no**"
    digits = 3 if name == "skill" else 2
    peers = [lines.get((dataset, target, head, peer)) for peer in PEERS]
    beside = " | ".join("-" if peer is None else f"{figure(peer, name):.{digits}f}" for peer in peers)
    sign = ("at least" if limit else "above") if more else "at most"
    print(f"| {dataset} | {head}, {WHAT[target]} | {label} | {sign} {limit:g}{unit} | {value:.{digits}f} | {holds} | {beside} |")

print(f"\nCoverage of the P90 as served, target {LOW} to {HIGH} on every set, resource and horizon:\n")
heads = ["cpu-1h", "cpu-2h", "cpu-4h", "memory-1h", "memory-2h", "memory-4h"]
print("| set | " + " | ".join(heads) + " |")
print("|---|" + "---|" * len(heads))
for dataset in (ALIBABA, BITBRAINS, SYNTHETIC):
    found = [lines.get((dataset, "hour_mean", head, "load predictor")) for head in heads]
    if all(found):
        shares = [line["scores"]["p90_coverage"] for line in found]
        print(f"| {dataset} | " + " | ".join(f"{share:.3f}" if LOW <= share <= HIGH else f"**{share:.3f}**" for share in shares) + " |")
