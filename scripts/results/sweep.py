"""What `scripts/cycle-sweep.sh` makes of its runs.

Usage: sweep.py record DATA END SEED STATUS LOG   one JSON line for a finished run
       sweep.py line                              the same line, from standard input, for people
       sweep.py table RUNS                        Markdown: pooled figures and a row per run
       sweep.py verdict [--allow-undecided] RUNS  exit code 1 when a gate refused
"""

import json
import pathlib
import sys

from shares import wilson

COUNTS = ("alarms", "right_alarms", "incidents", "found")


def record(data, end, seed, status, log):
    """State of every step, reasons of every refusal, and the alarms' counts."""
    runs = sorted(pathlib.Path(data, "pipeline").glob("*/run.json"))
    document = {"end": end, "seed": int(seed), "status": int(status), "refused": {}, "failed": [], "scores": None, "undecided": False}
    if not runs:
        document["failed"] = ["pipelines: " + " ".join(pathlib.Path(log).read_text().split("\n")[-4:])]
        return document
    run = json.loads(runs[-1].read_text())
    undecided = []
    for step in run["steps"]:
        if step["state"] == "failed":
            document["failed"].append(f"{step['name']}: {step['reason']}")
        verdict = pathlib.Path(runs[-1].parent, step["name"], "validation.json")
        if not verdict.exists():
            if step["state"] == "refused":
                document["refused"][step["name"]] = [step["reason"]]
                undecided.append(False)
            continue
        verdict = json.loads(verdict.read_text())
        refusals = [check for check in verdict["checks"] if not check["passed"]]
        if step["state"] == "refused":
            document["refused"][step["name"]] = [f"{check['rule']}: {check['reason']}" for check in refusals]
            undecided.append(all(check.get("undecided") for check in refusals))
        if step["name"] == "train-anomaly":
            scores = verdict["scores"]
            document["scores"] = {name: scores[name] for name in COUNTS}
            document["scores"]["critical"] = scores["critical"]
            document["scores"]["kinds"] = scores["kinds"]
    document["undecided"] = bool(undecided) and all(undecided) and not document["failed"]
    return document


def outcome(run):
    """A word and why."""
    if run["failed"]:
        return "failed", "; ".join(run["failed"])
    if run["refused"]:
        why = "; ".join(f"{step}: {', '.join(reasons)}" for step, reasons in run["refused"].items())
        return "undecided" if run["undecided"] else "refused", why
    return ("passed", "") if run["status"] == 0 else ("failed", f"exit code {run['status']}")


def share(found, of):
    """Count, share and Wilson's 95 % interval."""
    if of == 0:
        return "-"
    low, high = wilson(found, of)
    return f"{found} of {of} = {found / of:.3f} ({low:.3f} to {high:.3f})"


def table(runs):
    scored = [run["scores"] for run in runs if run["scores"]]
    total = {name: sum(scores[name] for scores in scored) for name in COUNTS}
    critical = {key: sum(scores["critical"][key] for scores in scored) for key in ("found", "incidents")}
    passed = sum(outcome(run)[0] == "passed" for run in runs)
    print(f"{passed} of {len(runs)} runs register every model.\n")
    print("| pooled over all runs | wanted | reached (95 % interval) |")
    print("|---|---|---|")
    print(f"| alarm precision | at least 0.90 | {share(total['right_alarms'], total['alarms'])} |")
    print(f"| incident recall | at least 0.75 | {share(total['found'], total['incidents'])} |")
    print(f"| critical incident recall | at least 0.85 | {share(critical['found'], critical['incidents'])} |")
    print("\n| kind | found of incidents |\n|---|---|")
    for kind in sorted({kind for scores in scored for kind in scores["kinds"]}):
        counts = [scores["kinds"].get(kind, {"found": 0, "incidents": 0}) for scores in scored]
        print(f"| {kind} | {share(sum(c['found'] for c in counts), sum(c['incidents'] for c in counts))} |")
    print("\n| last day | seed | outcome | right of alarms | found of incidents | critical | why not |\n|---|---|---|---|---|---|---|")
    for run in runs:
        word, why = outcome(run)
        scores = run["scores"]
        cells = ["-"] * 3
        if scores:
            cells = [
                f"{scores['right_alarms']} of {scores['alarms']}",
                f"{scores['found']} of {scores['incidents']}",
                f"{scores['critical']['found']} of {scores['critical']['incidents']}",
            ]
        print(f"| {run['end']} | {run['seed']} | {word} | {' | '.join(cells)} | {why} |")


def main(arguments):
    match arguments:
        case ["record", data, end, seed, status, log]:
            print(json.dumps(record(data, end, seed, status, log)))
        case ["line"]:
            run = json.loads(sys.stdin.readline())
            word, why = outcome(run)
            scores = run["scores"]
            figures = f", {scores['right_alarms']} of {scores['alarms']} alarms right, {scores['found']} of {scores['incidents']} incidents found" if scores else ""
            print(f"{run['end']} seed {run['seed']}: {word}{figures}{': ' + why if why else ''}", flush=True)
        case ["table", runs]:
            table([json.loads(line) for line in pathlib.Path(runs).read_text().splitlines()])
        case ["verdict", *flags, runs]:
            words = [outcome(json.loads(line))[0] for line in pathlib.Path(runs).read_text().splitlines()]
            allowed = {"passed", "undecided"} if flags == ["--allow-undecided"] else {"passed"}
            undecided = words.count("undecided")
            if undecided:
                print(f"\n{undecided} of {len(words)} runs are undecided: too few incidents for the gate to tell; more history decides", file=sys.stderr)
            sys.exit(0 if set(words) <= allowed else 1)
        case _:
            sys.exit(__doc__)


main(sys.argv[1:])
