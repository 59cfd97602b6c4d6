"""The same policy as a plain Python extender: what one would write by hand with FastAPI, numpy and onnxruntime.

Usage: python_extender.py FOLDER PORT NAMES. FOLDER is what `trainer export placement-agent@champion` wrote, NAMES a file with the names of
the nodes. It does less than Berth: forecasts and anomalies stand in a table that nobody refreshes, no pod is reserved for, nothing is kept
or explained, and there is no deadline.
"""

import pathlib
import sys

import numpy
import onnxruntime
import uvicorn
from fastapi import FastAPI, Request

folder, port, names = pathlib.Path(sys.argv[1]), int(sys.argv[2]), pathlib.Path(sys.argv[3]).read_text().split()
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
agent = onnxruntime.InferenceSession(next(folder.glob("*.onnx")), options, providers=["CPUExecutionProvider"])
width = agent.get_inputs()[0].shape[1]
chance = numpy.random.default_rng(1)
place = {name: at for at, name in enumerate(names)}
cores = numpy.full(len(names), 8.0)
memory = numpy.full(len(names), 32.0 * 2**30)
forecast = chance.uniform(0.1, 0.8, (len(names), 6)).astype(numpy.float32)
deviation = chance.uniform(0.05, 0.15, (len(names), 6)).astype(numpy.float32)
anomaly = chance.uniform(0.0, 0.4, len(names)).astype(numpy.float32)
facts = chance.uniform(0.0, 1.0, (len(names), width)).astype(numpy.float32)
app = FastAPI()


def quantity(text, thousandth, suffixes={"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}):
    if text.endswith("m"):
        return float(text[:-1]) * thousandth
    for suffix, factor in suffixes.items():
        if text.endswith(suffix):
            return float(text[: -len(suffix)]) * factor
    return float(text)


def above(z):
    """The chance that a standard normal value is above z."""
    t = 1.0 / (1.0 + 0.2316419 * numpy.abs(z))
    series = t * (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))))
    tail = numpy.exp(-0.5 * z * z) / numpy.sqrt(2.0 * numpy.pi) * series
    return numpy.where(z >= 0.0, tail, 1.0 - tail)


def load_score(median, deviation):
    """1 less the mean of the chances to pass 80 % and 90 %, of the worst hour."""
    chances = above((0.8 - median) / deviation) + above((0.9 - median) / deviation)
    return 1.0 - 0.5 * chances.max(axis=1)


def soft_ranks(score, scale):
    """The share of the others that each is better than; less than the scale counts in part."""
    order = numpy.sort(score)
    sums = numpy.concatenate([[0.0], numpy.cumsum(order)])
    start = numpy.searchsorted(order, score - scale, side="right")
    end = numpy.searchsorted(order, score + scale, side="left")
    near = end - start
    draws = 0.5 * near + (near * score - (sums[end] - sums[start])) / (2.0 * scale)
    return (start + draws - 0.5) / max(len(score) - 1, 1)


@app.get("/readyz")
async def ready():
    return {"ready": True}


@app.post("/prioritize")
async def prioritize(request: Request):
    asked = await request.json()
    pod, offered = asked["Pod"], asked["NodeNames"]
    requests = [container.get("resources", {}).get("requests", {}) for container in pod["spec"]["containers"]]
    cpu = sum(quantity(it.get("cpu", "0"), 1e-3) for it in requests)
    ram = sum(quantity(it.get("memory", "0"), 1e-3) for it in requests)
    at = numpy.array([place[name] for name in offered])
    after = forecast[at].copy()
    after[:, :3] += (cpu / cores[at])[:, None]
    after[:, 3:] += (ram / memory[at])[:, None]
    load = load_score(after, deviation[at])
    rows = facts[at].copy()
    rows[:, 0], rows[:, 1] = cpu / cores[at], ram / memory[at]
    (values,) = agent.run(["value"], {"features": rows})
    values = values[:, 0]
    placement = 1.0 - numpy.clip(values.max() - values, 0.0, 1.0)
    score = 0.3 * load + 0.4 * placement + 0.3 * (1.0 - anomaly[at])
    ranks = soft_ranks(score, 0.2)
    linear = (score - score.min()) / max(float(score.max() - score.min()), 0.2)
    worth = 5.0 * (linear + ranks - ranks.min())
    points = numpy.clip(numpy.floor(worth + chance.random()), 0, 10).astype(int).tolist()
    return [{"Host": name, "Score": score} for name, score in zip(offered, points)]


uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)
