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


def load_score(utilization):
    """Best at 65 %, 0.7 when idle, 0 from 95 % on."""
    below = 0.7 + 0.3 * utilization / 0.65
    above = (0.95 - utilization) / 0.3
    return numpy.clip(numpy.where(utilization <= 0.65, below, above), 0.0, 1.0)


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
    load = numpy.minimum(load_score(after[:, :3].max(axis=1)), load_score(numpy.maximum(after[:, 3:].max(axis=1), 0.65)))
    rows = facts[at].copy()
    rows[:, 0], rows[:, 1] = cpu / cores[at], ram / memory[at]
    (values,) = agent.run(["value"], {"features": rows})
    values = values[:, 0]
    spread = float(values.max() - values.min())
    placement = (values - values.min()) / spread if spread > 0 else numpy.full(len(values), 0.5)
    score = 0.3 * load + 0.4 * placement + 0.3 * (1.0 - anomaly[at])
    score += chance.uniform(-0.01, 0.01, len(score))
    ranks = score.argsort().argsort() / max(len(score) - 1, 1)
    linear = (score - score.min()) / max(float(score.max() - score.min()), 1e-9)
    points = numpy.rint(10 * (0.5 * linear + 0.5 * ranks)).astype(int).tolist()
    return [{"Host": name, "Score": score} for name, score in zip(offered, points)]


uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)
