"""Prints docs/gate-results.md from the JSON files of `trainer gate-results`.

Usage: gate.py FOLDER
"""

import json
import pathlib
import sys

from shares import wilson

documents = [json.loads(path.read_text()) for path in sorted(pathlib.Path(sys.argv[1]).glob("*.json"))]
sets = sorted({document["set"] for document in documents})
of_set = {name: [document for document in documents if document["set"] == name] for name in sets}

# A recipe whose errors differ from the default's by at most this share over all days, on average over heads and for its worst
# head, counts as equal.
EQUAL_MEAN, EQUAL_WORST = 0.01, 0.03


def share(count, of):
    if not of:
        return "-"
    low, high = wilson(count, of)
    return f"{count / of:.3f} ({low:.2f} to {high:.2f})"


def table(head, rows):
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    print()


def is_equal(line):
    return line["made_worse_by"] is None and abs(line["truth_share"]) <= EQUAL_MEAN and line["worst_head_share"] <= EQUAL_WORST


def lines(name, key, wanted):
    return [line for document in of_set[name] for line in document[key] if wanted(line)]


def total(all_lines, key):
    return sum(line[key] for line in all_lines)


print(
    """# How often the gate and the limits of rollouts err

Made by `make gate-results` (`trainer gate-results` on each set and seed), which fits six recipes on everything before the last 45 days,
stores what they forecast for these days, and then plays gate and rollouts on the stored forecasts: the very code of
`trainer validate` and of `serving`'s limits. Challengers of known quality are the default recipe made worse: *learned less* (part
of the way to persistence), *believes in yesterday* (part of the way to the same hour of the day before, which errs otherwise and
far more: hours differ most), *noisy* (each forecast is off by a draw of its own). What is "better by 5 %" faces a champion made worse.

What a challenger is truly worth is taken from all 45 days and is itself uncertain. Windows begin each day and overlap, heads share
their hours, and seeds of one trace share its days: the intervals in brackets (Wilson) count cases as if they were independent and are
too narrow.
"""
)
table(
    ["set", "seeds", "days forecast", "forecasts per head"],
    [
        [
            name,
            ", ".join(str(document["seed"]) for document in of_set[name]),
            f"{(of_set[name][0]['span']['until'] - of_set[name][0]['span']['from']) / 86_400_000:.0f}",
            of_set[name][0]["rows"],
        ]
        for name in sets
    ],
)

WANTED = "wanted"
print("## What was wanted, and what came out\n")
rows = []
for days, least in [(1, 0.85), (2, 0.90), (7, 0.93)]:
    for name in sets:
        own = lines(name, "coverage", lambda line: line["days"] == days)
        rows.append([f"95 % intervals hold the truth, {days} days", f"≥ {least:.2f}", name, share(total(own, "covered"), total(own, "windows"))])
for name in sets:
    for days in (1, 3, 7):
        own = lines(name, "decisions", lambda line: is_equal(line) and line["days"] == days and not line["each_day"])
        rows.append([f"equal challenger refused, all heads together, {days} days", "≤ 0.05", name, share(total(own, "keep"), total(own, "windows"))])
for name in sets:
    own = lines(name, "decisions", lambda line: line["made_worse_by"] == 0.05 and not line["each_day"])
    rows.append(["5 % worse promoted, windows of 1, 2, 3 and 7 days", "≤ 0.05", name, share(total(own, "promote"), total(own, "windows"))])
for name in sets:
    own = lines(name, "decisions", lambda line: line["made_worse_by"] == -0.05 and line["days"] == 3 and line["each_day"])
    rows.append(["5 % better promoted within 3 days, judged each day", "≥ 0.70", name, share(total(own, "promote"), total(own, "windows"))])
for name in sets:
    recipes = {line["challenger"] for line in lines(name, "decisions", is_equal)}
    own = lines(name, "rollouts", lambda line: line["challenger"] in recipes and abs(line["excess"]) < 0.1)
    rows.append(["rollout of an equal challenger sent back in 7 days", "≤ 0.05", name, share(total(own, "within_a_week"), total(own, "runs"))])
    for low, high, words in [(0.1, 0.3, "0.4 of the limit"), (0.3, 0.45, "0.8 of the limit")]:
        own = lines(name, "rollouts", lambda line: low < line["excess"] < high and line["challenger"] not in recipes)
        rows.append([f"rollout at {words} sent back in 7 days", "≤ 0.05", name, share(total(own, "within_a_week"), total(own, "runs"))])
for name in sets:
    own = lines(name, "rollouts", lambda line: 0.7 < line["excess"] < 0.8)
    rows.append(["rollout at 1.5 of the limit sent back within 24 h", "≥ 0.95", name, share(total(own, "within_a_day"), total(own, "runs"))])
    rows.append(["… of those whose first day really was above the limit", "", name, share(total(own, "within_a_day"), total(own, "first_day_above"))])
table(["figure", WANTED, "set", "share (interval)"], rows)

print(
    """## Reading it

- **Intervals.** The fixed-b interval is near its 95 % from a day on. Where a week falls short of it, the difference between two recipes
  wanders from week to week: then "the truth" of 45 days is not what holds in one week, and no interval from that week alone can know.
- **Decisions.** A challenger that is not clearly one or the other gets "not yet"; the champion stays, nothing is red. Being better is shown
  sooner on the synthetic cluster, whose errors are small and even; on bitbrains-rnd twelve nodes err together by ten points in some
  hours.
- **Rollouts.** The limit is half a point of utilization over all heads. On twelve nodes the excess of one day differs from that of 45
  by as much as the limit itself: `first day above` counts the rollouts whose first day really was above it, and nobody can see more
  than that on the first day. The more nodes, the narrower. A challenger that is within its limits on average and above them for a day may be
  sent back for that day.
- **Errors.** Pods are counted one by one by an exact bound, so how soon a failing challenger goes depends on how many pods it has:
  with two hundred a day, one that fails for every tenth goes in about half a day; to tell 1.5 % from 1 % takes thousands of them.
"""
)

for name in sets:
    print(f"## {name}: coverage of 95 % intervals\n")
    recipes = sorted({line["challenger"] for line in lines(name, "coverage", lambda line: True)})
    rows = []
    for recipe in recipes:
        own = lambda days: lines(name, "coverage", lambda line: line["challenger"] == recipe and line["days"] == days)
        truths = [line["truth_share"] for line in own(1)]
        rows.append(
            [recipe, f"{100 * min(truths):+.1f} to {100 * max(truths):+.1f} %"]
            + [share(total(own(days), "covered"), total(own(days), "windows")) for days in (1, 2, 3, 7)]
        )
    table(["recipe beside the default", "true difference by head", "1 day", "2 days", "3 days", "7 days"], rows)

    print(f"## {name}: decisions (promote / keep / not yet)\n")
    kinds = []
    for line in lines(name, "decisions", lambda line: True):
        kind = (line["made_worse_by"] is not None, line["challenger"], line["made_worse_by"])
        if kind not in kinds:
            kinds.append(kind)
    rows = []
    for _, challenger, worse in kinds:
        own = lines(name, "decisions", lambda line: line["challenger"] == challenger and line["made_worse_by"] == worse)

        def cell(days, each_day):
            picked = [line for line in own if line["days"] == days and line["each_day"] == each_day]
            windows = total(picked, "windows")
            return " / ".join(f"{total(picked, key) / windows:.2f}" for key in ("promote", "keep", "not_yet")) if windows else "-"

        if worse is None:
            label = challenger
        else:
            label = f"{'better' if worse < 0 else 'worse'} by {100 * abs(worse):.0f} %, {challenger}"
        truth = [line["truth_share"] for line in own]
        rows.append(
            [label, f"{100 * sum(truth) / len(truth):+.1f} %"]
            + [cell(days, False) for days in (1, 2, 3, 7)]
            + [cell(3, True), cell(7, True)]
        )
    table(["challenger", "true difference", "1 day", "2 days", "3 days", "7 days", "each day, 3 days", "each day, 7 days"], rows)

    print(f"## {name}: rollouts by the limit on forecasts\n")
    kinds = []
    for line in lines(name, "rollouts", lambda line: True):
        kind = (line["challenger"], round(line["excess"], 2) if line["challenger"] in ("learned less", "believes in yesterday", "noisy") else None)
        if kind not in kinds:
            kinds.append(kind)
    rows = []
    for challenger, excess in kinds:
        own = lines(name, "rollouts", lambda line: line["challenger"] == challenger and (excess is None or round(line["excess"], 2) == excess))
        runs = total(own, "runs")
        hours = [line["median_hours"] for line in own if line["median_hours"] is not None]
        rows.append(
            [
                challenger,
                f"{sum(line['excess'] for line in own) / len(own):+.2f}",
                runs,
                f"{total(own, 'first_day_above') / runs:.2f}",
                f"{total(own, 'within_a_day') / runs:.2f}",
                f"{total(own, 'within_a_week') / runs:.2f}",
                f"{sum(hours) / len(hours):.0f}" if hours else "-",
            ]
        )
    table(["challenger", "excess (points, 0.5 allowed)", "rollouts", "first day above", "back within 24 h", "back within 7 days", "median hours"], rows)

print("## Rollouts by the limit on errors\n")
print("Drawn: pods fail independently of each other, the champion for 0.1 % of its own.\n")
first = documents[0]["errors"]
rows = []
for at, line in enumerate(first):
    own = [document["errors"][at] for document in documents]
    runs = total(own, "runs")
    hours = [line["median_hours"] for line in own if line["median_hours"] is not None]
    rows.append(
        [
            line["challenger"],
            f"{100 * line['excess']:.1f} % (1 % allowed)",
            runs,
            share(total(own, "within_a_day"), runs),
            share(total(own, "within_a_week"), runs),
            f"{sum(hours) / len(hours):.0f}" if hours else "-",
        ]
    )
table(["pods", "excess", "rollouts", "back within 24 h", "back within 7 days", "median hours"], rows)
