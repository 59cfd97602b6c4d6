"""The load predictor's boosters as ONNX behind FastAPI, as one would write it by hand.

Usage: onnx_peer.py FOLDER PORT. FOLDER is what `trainer export load-predictor@champion` wrote. It answers less than Berth
does: the boosters' sums alone, without baseline, correction or any check of the features.
"""

import json
import pathlib
import sys

import numpy
import onnxruntime
import uvicorn
from fastapi import FastAPI, Request

folder, port = pathlib.Path(sys.argv[1]), int(sys.argv[2])
document = json.loads((folder / "heads.json").read_text())
features = document["features"]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
parts = []
for head in document["heads"]:
    for quantile in ("p50", "p90"):
        part = head[quantile]
        if part is None:
            continue
        path = (folder / part["file"]).with_suffix(".onnx")
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        parts.append((path.stem, session, [features.index(name) for name in part["features"]]))

app = FastAPI()


@app.get("/v2/health/ready")
async def ready():
    return {"ready": True}


@app.get("/v2/models/load-predictor")
async def metadata():
    return {"name": "load-predictor", "inputs": [{"name": "features", "datatype": "FP32", "shape": [-1, len(features)]}]}


@app.post("/v2/models/load-predictor/infer")
async def infer(request: Request):
    tensor = (await request.json())["inputs"][0]
    rows = numpy.array(tensor["data"], dtype=numpy.float32).reshape(tensor["shape"])
    outputs = []
    for name, session, columns in parts:
        (values,) = session.run(["value"], {"features": rows[:, columns]})
        data = values[:, 0].tolist()
        outputs.append({"name": name, "datatype": "FP32", "shape": [len(data)], "data": data})
    return {"model_name": "load-predictor", "outputs": outputs}


uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)
