"""Asks onnxruntime for the values of every ONNX file of a folder on the rows of its rows.json.

Usage: onnx_check.py FOLDER. Prints a JSON object: file name to a list of values.
"""
import json
import pathlib
import sys

import numpy
import onnxruntime

folder = pathlib.Path(sys.argv[1])
document = json.loads((folder / "rows.json").read_text())
rows = {
    name: numpy.array([[numpy.nan if value is None else value for value in row] for row in rows], dtype=numpy.float32)
    for name, rows in document.items()
}
values = {}
for name, x in rows.items():
    session = onnxruntime.InferenceSession(folder / name, providers=["CPUExecutionProvider"])
    (output,) = session.run(["value"], {"features": x})
    assert output.shape == (len(x), 1), output.shape
    values[name] = [float(value) for value in output[:, 0]]
print(json.dumps(values))
