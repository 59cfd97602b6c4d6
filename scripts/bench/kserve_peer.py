"""The load predictor's boosters behind KServe's own Python model server, as one would write it by hand.

Usage: kserve_peer.py FOLDER PORT. It answers less than Berth does: the boosters' sums alone, without baseline, correction
or any check of the features.
"""

import json
import logging
import os
import sys

import xgboost
from kserve import InferOutput, InferResponse, Model, ModelServer

folder, port = sys.argv[1], int(sys.argv[2])


class Predictor(Model):
    def __init__(self):
        super().__init__("load-predictor")
        with open(os.path.join(folder, "heads.json"), encoding="utf-8") as file:
            document = json.load(file)
        heads, features = document["heads"], document["features"]
        self.width = len(features)
        self.parts = []
        for head in heads:
            for quantile in ("p50", "p90"):
                part = head[quantile]
                if part is None:
                    continue
                booster = xgboost.Booster({"nthread": 1})
                booster.load_model(os.path.join(folder, part["file"]))
                columns = [features.index(name) for name in part["features"]]
                self.parts.append((part["file"], booster, columns))
        self.ready = True

    async def get_input_types(self):
        return [{"name": "features", "datatype": "FP32", "shape": [-1, self.width]}]

    async def predict(self, payload, headers=None, response_headers=None):
        rows = payload.inputs[0].as_numpy()
        outputs = []
        for name, booster, columns in self.parts:
            values = booster.inplace_predict(rows[:, columns])
            output = InferOutput(name=name, shape=list(values.shape), datatype="FP32")
            output.set_data_from_numpy(values, binary_data=False)
            outputs.append(output)
        return InferResponse(payload.id or "", "load-predictor", outputs)


# A line of log per request would be measured as well.
logging.disable(logging.INFO)
ModelServer(http_port=port, enable_grpc=False, workers=1, access_log_format=None).start([Predictor()])
