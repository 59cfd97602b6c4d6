"""The same work as speed.rs, with MLflow's own client on a SQLite file: speed_of_python.py FOLDER"""
import statistics
import sys
import time

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

client = MlflowClient(f"sqlite:///{sys.argv[1]}/mlflow.db")
experiment = client.create_experiment("speed", artifact_location=f"{sys.argv[1]}/mlflow-artifacts")


def one_run():
    run = client.create_run(experiment, run_name="speed").info.run_id
    now = int(time.time() * 1000)
    metrics = [Metric(f"m{number}", 0.5, now, 0) for number in range(20)]
    client.log_batch(run, metrics=metrics, params=[Param(f"p{number}", "value") for number in range(20)])
    client.set_terminated(run)
    return run


one_run()
start = time.perf_counter()
for _ in range(30):
    last = one_run()
print(f"mlflow, SQLite: {30 / (time.perf_counter() - start):.1f} runs/s of 20 parameters and 20 metrics")
batches = []
for turn in range(10):
    now = int(time.time() * 1000)
    metrics = [Metric("loss", 0.5, now, turn * 1000 + step) for step in range(1000)]
    start = time.perf_counter()
    client.log_batch(last, metrics=metrics)
    batches.append((time.perf_counter() - start) * 1000)
print(f"mlflow, SQLite: 1000 metrics in {statistics.median(batches):.0f} ms (median of 10)")
