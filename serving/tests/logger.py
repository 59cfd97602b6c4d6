"""Sends what KServe's logger sends, by the CloudEvents SDK: one pair in each of HTTP's modes, and an event of something else."""

import sys
import urllib.error
import urllib.request

from cloudevents.conversion import to_binary, to_structured
from cloudevents.http import CloudEvent
from kserve import InferInput, InferOutput, InferRequest, InferResponse

KIND = "org.kubeflow.serving.inference."


def send(event, mode):
    headers, body = mode(event)
    request = urllib.request.Request(f"{sys.argv[1]}/v1/inference-events", data=body, method="POST")
    for name, value in headers.items():
        request.add_header(name, value)
    try:
        with urllib.request.urlopen(request) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


x = InferInput(name="x", shape=[1, 2], datatype="FP32", data=[1.5, 2.5])
y = InferOutput(name="y", shape=[1], datatype="INT64", data=[7])
asked, _ = InferRequest(model_name="iris", infer_inputs=[x]).to_rest()
answered, _ = InferResponse(
    response_id="a", model_name="iris", model_version="3", infer_outputs=[y]
).to_rest()

for name, mode in (("binary", to_binary), ("structured", to_structured)):
    for half, body in (("request", asked), ("response", answered)):
        attributes = {
            "type": KIND + half,
            "source": "http://localhost:9081/",
            "id": name,
            "inferenceservicename": "iris",
            "namespace": "shop",
            "component": "predictor",
            "endpoint": "default",
        }
        assert send(CloudEvent(attributes, body), mode) == 200, (name, half)
order = CloudEvent({"type": "com.example.order", "source": "shop", "id": "1"}, {"n": 1})
assert send(order, to_binary) == 400
