"""Prints criterion's newest estimates below a folder as a Markdown table.

Usage: criterion.py FOLDER
"""

import json
import pathlib
import sys


def time(nanoseconds):
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.2f} {unit}"
    return f"{nanoseconds:.1f} ns"


print("| bench | median | interval | per second |")
print("|---|---|---|---|")
for estimates in sorted(pathlib.Path(sys.argv[1]).rglob("new/estimates.json")):
    bench = json.loads((estimates.parent / "benchmark.json").read_text())
    median = json.loads(estimates.read_text())["median"]
    interval = median["confidence_interval"]
    elements = (bench.get("throughput") or {}).get("Elements")
    rate = f"{elements / median['point_estimate'] * 1e9:,.0f}" if elements else ""
    print(
        f"| {bench['full_id']} | {time(median['point_estimate'])} "
        f"| {time(interval['lower_bound'])} to {time(interval['upper_bound'])} | {rate} |"
    )
