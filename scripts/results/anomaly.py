"""Prints docs/anomaly-results.md from the JSON files of `trainer anomaly results`.

Usage: anomaly.py FOLDER
"""

import json
import math
import pathlib
import sys

documents = [json.loads(path.read_text()) for path in sorted(pathlib.Path(sys.argv[1]).glob("*.json"))]
alarms = [document for document in documents if document["form"] == "alarms"]
labelled = {document["set"]: document for document in documents if document["form"] == "labelled"}

# Two-sided 95 % quantiles of Student's t by degrees of freedom, 1 to 9.
T95 = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262]
# name, figure, limit, whether more is better
TARGETS = [
    ("alarm precision", "precision", 0.90, True),
    ("alarm precision, the aim", "precision", 0.94, True),
    ("incident recall", "recall", {"synthetic": 0.75, "alibaba2018-nodes": 0.80, "bitbrains-rnd": 0.55}, True),
    ("incident recall, the aim", "recall", 0.85, True),
    ("critical incident recall", "critical_recall", 0.85, True),
    ("critical incident recall, the aim", "critical_recall", 0.95, True),
    ("pointwise false-positive rate", "false_positive_rate", 0.08, False),
    ("false alarms per node-day", "false_alarms_per_node_day", 0.1, False),
]
# Sets whose detector was given no faults of two kinds.
WITHHELD = ", kinds withheld"
PEERS = ["IsolationForest (scikit-learn), raw columns", "PCA reconstruction (scikit-learn), raw columns", "max z-score"]


def value(scores, name):
    return scores["points"][name] if name in scores["points"] and name not in ("precision", "recall") else scores[name]


def interval(values):
    """Mean and half of its 95 % interval over the seeds."""
    values = [value for value in values if value is not None]
    if not values:
        return None, None
    mean = sum(values) / len(values)
    if len(values) < 2:
        return mean, None
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
    return mean, T95[min(len(values) - 2, 8)] * deviation / math.sqrt(len(values))


def shown(values, digits=3):
    mean, half = interval(values)
    if mean is None:
        return "-"
    return f"{mean:.{digits}f}" if half is None else f"{mean:.{digits}f} ± {half:.{digits}f}"


def pooled(lines):
    """Share of right alarms and of found incidents over all seeds together."""
    total = {name: sum(line["scores"][name] for line in lines) for name in ("alarms", "right_alarms", "incidents", "found")}
    return total


def of(name, nodes, detector):
    return [
        line
        for document in alarms
        if document["set"] == name
        for line in document["lines"]
        if line["nodes"] == nodes and line["detector"] == detector
    ]


print("""# Anomaly detection: figures

Made by `make anomaly-results`; nothing here is written by hand but these sentences. An alarm is a run of flagged readings of one
node, gaps of up to 10 readings joined; it is right if it meets a labelled incident. An incident is found if an alarm meets
it. Readings are counted one by one in the pointwise figures. Nothing is point-adjusted: a random detector reaches a
point-adjusted F1 of 0.72 on SMD. Every test is later than what was learned and chosen from.
""")

sets = sorted({document["set"] for document in alarms})
if sets:
    print("""## Labelled incidents on node series

`alibaba2018-nodes` and `bitbrains-rnd` are real series into which `collector inject` put incidents of 30 to 90 minutes: CPU
saturation, memory leak, node down, network loss, disk saturation, noisy neighbour. Disk saturation and noisy neighbour
come in the test alone, and about a quarter of the nodes neither trained nor chose anything. `synthetic` is the built-in cluster
with its own incidents. The detector learns from the first 70 % of the time, in which faults of the same kinds are injected into replays
as well; vote, threshold and the number of readings in a row that raise an alarm come from the same hours, each rated by members that
have not learned from it: the least expected cost at 10 × missed + 1 × false alarm among those whose alarms are right in 90 % with a
probability of 90 % ([ADR 32](adr/0032-a-threshold-by-injected-incidents.md)). Injected faults are drawn by other seeds and in other
sizes than the incidents of the sets, but by the same formulas: the lines marked “kinds withheld” are detectors that were given neither
disk saturation nor noisy neighbours to learn. Figures come from the last 30 %. The z-score's threshold is the cheapest on the
same hours, since it finds next to nothing where 90 % must be right; it knows the past of every node. ± is the 95 % interval of the mean over seeds. A detector that flags most readings meets every incident with one endless, right alarm: read precision and
recall beside the pointwise false-positive rate.
""")
    print("### Targets\n")
    print("| set | figure | target | detector | holds | max z-score |")
    print("|---|---|---|---|---|---|")
    for name in sets:
        for label, figure, limits, more in TARGETS:
            limit = limits.get(name.removesuffix(WITHHELD), 0.8) if isinstance(limits, dict) else limits
            own, plain = of(name, "all", "detector"), of(name, "all", "z-score")
            if figure in ("precision", "recall"):
                top, base = ("right_alarms", "alarms") if figure == "precision" else ("found", "incidents")
                mean = pooled(own)[top] / max(pooled(own)[base], 1)
            else:
                mean, _ = interval([value(line["scores"], figure) for line in own])
            if mean is None:
                continue
            holds = mean >= limit if more else mean <= limit
            cells = [shown([value(line["scores"], figure) for line in lines]) for lines in (own, plain)]
            sign = "at least" if more else "at most"
            print(f"| {name} | {label} | {sign} {limit:g} | {cells[0]} | {'yes' if holds else '**no**'} | {cells[1]} |")
    print("\nWhether a precision or a recall holds is decided over the incidents of all seeds together, since a seed has few.\n")
    for name in sets:
        here = [document for document in alarms if document["set"] == name]
        seeds = ", ".join(str(document["incident_seed"]) for document in here)
        days = sum(line["scores"]["node_days"] for line in of(name, "all", "detector"))
        print(f"### {name}\n\n{here[0]['nodes']} nodes, seeds {seeds}, {days:.0f} node-days of test.\n")
        print("| nodes | detector | alarms | right | incidents | found | precision | recall | critical recall | false alarms per node-day | pointwise FPR | ROC-AUC | PR-AUC | median delay min | unseen kinds found |")
        print("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|")
        for nodes in ("all", "known", "unseen"):
            for detector in ("detector", "z-score"):
                lines = of(name, nodes, detector)
                if not lines or (nodes != "all" and not of(name, "unseen", detector)):
                    continue
                total = pooled(lines)
                names = ["precision", "recall", "critical_recall", "false_alarms_per_node_day", "false_positive_rate", "roc_auc", "pr_auc"]
                cells = [shown([value(line["scores"], figure) for line in lines]) for figure in names]
                delay = shown([line["scores"]["delay_minutes"] for line in lines], 0)
                unseen = [sum(line["unseen_kinds"][key] for line in lines) for key in ("found", "incidents")]
                print(
                    f"| {nodes} | {detector} | {total['alarms']} | {total['right_alarms']} | {total['incidents']} | {total['found']} | "
                    + " | ".join(cells)
                    + f" | {delay} | " + (f"{unseen[0]} of {unseen[1]} |" if unseen[1] else "- |")
                )
        kinds = sorted({kind for line in of(name, "all", "detector") for kind in line["scores"]["kinds"]})
        print("\n| kind | incidents | found by the detector | found by the z-score |")
        print("|---|---|---|---|")
        for kind in kinds:
            counts = {
                detector: [
                    sum(line["scores"]["kinds"].get(kind, {}).get(key, 0) for line in of(name, "all", detector))
                    for key in ("incidents", "found")
                ]
                for detector in ("detector", "z-score")
            }
            print(f"| {kind} | {counts['detector'][0]} | {counts['detector'][1]} | {counts['z-score'][1]} |")
        print()

if labelled:
    print("""## Machines whose incidents experts labelled

`smd` (38 metrics, one minute) and `asd` (19 metrics, five minutes) have a first part without labels and a second with them.
Every detector is fitted on the first 70 % of the first part, reads raw columns, and flags what exceeds the score that a stated share
of the rest of the first part exceeds; two readings in a row raise an alarm, three below it end one. The detector's settings
were chosen on the first third of the machines by name; “others” are the rest, and the claim is about them. The peers were
given as they come.
""")
for name, document in sorted(labelled.items()):
    lines = document["lines"]
    detectors = list(dict.fromkeys(line["detector"] for line in lines))
    print(f"### {name}\n\nReadings {document['minutes']:g} min apart, share above the threshold {document['expected_share']:g}, seed {document['seed']}.\n")
    print("| machines | detector | ROC-AUC | PR-AUC | incidents found | incident recall | alarm precision | false alarms per node-day | pointwise precision | pointwise recall | pointwise FPR |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for machines, keep in (("all", lambda line: True), ("others", lambda line: not line["chosen_on"])):
        for detector in detectors:
            own = [line["scores"] for line in lines if line["detector"] == detector and keep(line)]
            points = [scores["points"] for scores in own]
            mean = lambda values: (lambda known: f"{sum(known) / len(known):.3f}" if known else "-")([v for v in values if v is not None])
            found, incidents = sum(s["found"] for s in own), sum(s["incidents"] for s in own)
            cells = [
                mean([p["roc_auc"] for p in points]),
                mean([p["pr_auc"] for p in points]),
                f"{found} of {incidents}",
                mean([s["recall"] for s in own]),
                mean([s["precision"] for s in own]),
                mean([s["false_alarms_per_node_day"] for s in own]),
                mean([p["precision"] for p in points]),
                mean([p["recall"] for p in points]),
                mean([p["false_positive_rate"] for p in points]),
            ]
            print(f"| {machines} ({len(own)}) | {detector} | " + " | ".join(cells) + " |")
    print("\n| the detector is better than | in ROC-AUC | in PR-AUC | on the others, in ROC-AUC | on the others, in PR-AUC |")
    print("|---|---|---|---|---|")
    for peer in PEERS:
        if peer not in detectors:
            continue
        cells = []
        for keep in (lambda line: True, lambda line: not line["chosen_on"]):
            for figure in ("roc_auc", "pr_auc"):
                by = {
                    line["machine"]: line["scores"]["points"][figure]
                    for line in lines
                    if line["detector"] == "detector" and keep(line)
                }
                theirs = {line["machine"]: line["scores"]["points"][figure] for line in lines if line["detector"] == peer}
                cells.append(f"{sum(own > theirs[machine] for machine, own in by.items())} of {len(by)}")
        print(f"| {peer} | " + " | ".join(cells) + " |")
    print("\n| machine | settings chosen on it | " + " | ".join(f"{d}: ROC-AUC, PR-AUC" for d in detectors) + " |")
    print("|---|---|" + "---|" * len(detectors))
    for machine in dict.fromkeys(line["machine"] for line in lines):
        own = {line["detector"]: line for line in lines if line["machine"] == machine}
        cells = [f"{own[d]['scores']['points']['roc_auc']:.3f}, {own[d]['scores']['points']['pr_auc']:.3f}" for d in detectors]
        print(f"| {machine} | {'yes' if own[detectors[0]]['chosen_on'] else 'no'} | " + " | ".join(cells) + " |")
    for note in document["notes"]:
        print(f"\nNote: {note}.")
    print()
