"""Scores candidate nodes with a placement agent. MLflow's python_function loads this; it needs numpy and pandas only."""

import json
import struct
from pathlib import Path

import numpy as np


class PlacementAgent:
    """`Q(x) = skip . x + mlp(x)`, with rectified linear units between the layers."""

    def __init__(self, path):
        data = Path(path).read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + length])
        body = data[8 + length :]
        self.features = header["__metadata__"]["features"].split(",")

        def tensor(name):
            start, end = header[name]["data_offsets"]
            return np.frombuffer(body[start:end], dtype="<f4").reshape(header[name]["shape"])

        self.skip = tensor("skip.weight")
        self.layers = []
        while f"layers.{len(self.layers)}.weight" in header:
            at = len(self.layers)
            self.layers.append((tensor(f"layers.{at}.weight"), tensor(f"layers.{at}.bias")))

    def predict(self, rows, params=None):
        import pandas as pd

        x = np.asarray(rows[self.features] if isinstance(rows, pd.DataFrame) else rows, dtype=np.float32)
        hidden = x
        for at, (weight, bias) in enumerate(self.layers):
            hidden = hidden @ weight + bias
            if at + 1 < len(self.layers):
                hidden = np.maximum(hidden, 0)
        return pd.DataFrame({"value": hidden[:, 0] + x @ self.skip})


def _load_pyfunc(path):
    folder = Path(path)
    return PlacementAgent(folder if folder.is_file() else folder / "network.safetensors")
