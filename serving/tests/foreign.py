"""Clients that others wrote, against a running server: KServe's own (REST and gRPC) and Triton's.

Usage: foreign.py HOST:PORT. Prints one JSON document: what each client was told.
"""

import asyncio
import json
import sys

import numpy as np
import tritonclient.http as triton
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig

ADDRESS = sys.argv[1]
ROWS = np.array([[0.4, 0.45, 0.6, 0.55], [0.1, 0.15, 0.2, 0.25]], dtype=np.float32)
LINE = "cpu-1h-p50"


def of_triton(binary):
    client = triton.InferenceServerClient(ADDRESS)
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("load-predictor", "1")
    metadata = client.get_model_metadata("load-predictor")
    rows = triton.InferInput("features", ROWS.shape, "FP32")
    rows.set_data_from_numpy(ROWS, binary_data=binary)
    wanted = [triton.InferRequestedOutput(LINE, binary_data=binary)]
    result = client.infer("load-predictor", [rows], outputs=wanted, request_id="of-triton")
    assert result.get_response()["id"] == "of-triton" and len(result.get_response()["outputs"]) == 1
    try:
        client.infer("load-predictor", [triton.InferInput("features", [1, 1], "FP32").set_data_from_numpy(ROWS[:1, :1])])
    except triton.InferenceServerException as refused:
        said = str(refused)
    return {"line": result.as_numpy(LINE).tolist(), "width": metadata["inputs"][0]["shape"][1], "refusal": said}


def text_of_triton():
    client = triton.InferenceServerClient(ADDRESS)
    rows = triton.InferInput("features", ROWS.shape, "FP32")
    rows.set_data_from_numpy(ROWS)
    return [text.decode() for text in client.infer("anomaly-detector", [rows]).as_numpy("kind")]


def kserve_request():
    rows = InferInput(name="features", shape=list(ROWS.shape), datatype="FP32")
    rows.set_data_from_numpy(ROWS, binary_data=False)
    return InferRequest(model_name="load-predictor", infer_inputs=[rows], request_id="of-kserve")


def line_of(response):
    assert response.id == "of-kserve" and response.model_name == "load-predictor"
    return next(output.as_numpy().tolist() for output in response.outputs if output.name == LINE)


async def of_kserve():
    rest = InferenceRESTClient(RESTConfig(protocol="v2"))
    url = f"http://{ADDRESS}"
    assert await rest.is_server_live(url) and await rest.is_server_ready(url)
    assert await rest.is_model_ready(url, "load-predictor")
    over_rest = line_of(await rest.infer(url, kserve_request(), model_name="load-predictor"))
    grpc = InferenceGRPCClient(ADDRESS)
    assert await grpc.is_server_live() and await grpc.is_server_ready() and await grpc.is_model_ready("load-predictor")
    over_grpc = line_of(await grpc.infer(kserve_request()))
    try:
        await grpc.is_model_ready("none")
    except Exception as refused:  # grpc.aio.AioRpcError, which kserve does not name
        said = refused.code().name
    return {"rest": over_rest, "grpc": over_grpc, "refusal": said}


print(json.dumps({
    "triton": of_triton(True),
    "triton_json": of_triton(False),
    "kinds": text_of_triton(),
    "kserve": asyncio.run(of_kserve()),
}))
