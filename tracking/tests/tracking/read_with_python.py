"""Reads with MLflow's own Python client what the Rust client wrote, and prints it as JSON.

    train FOLDER            trains a small XGBoost model and saves it as UBJ; prints two predictions
    read RUN MODEL ALIAS    prints the run, its history, its artifacts, the version, and the same two predictions
"""
import json
import sys

import numpy
import xgboost

ROWS = numpy.array([[0.1, 0.9], [0.8, 0.2]], dtype=numpy.float32)


def train(folder):
    generator = numpy.random.default_rng(7)
    features = generator.random((200, 2), dtype=numpy.float32)
    matrix = xgboost.DMatrix(features, label=features[:, 0] * 2 + features[:, 1])
    booster = xgboost.train({"max_depth": 3, "nthread": 1, "seed": 7}, matrix, num_boost_round=10)
    booster.save_model(f"{folder}/model.ubj")
    print(json.dumps([float(value) for value in booster.predict(xgboost.DMatrix(ROWS))]))


def read(run_id, model, alias):
    import mlflow
    from mlflow import MlflowClient

    client = MlflowClient()
    run = client.get_run(run_id)
    version = client.get_model_version_by_alias(model, alias)
    children = client.search_runs([run.info.experiment_id], f"tags.mlflow.parentRunId = '{run_id}'")
    loaded = mlflow.pyfunc.load_model(f"models:/{model}@{alias}")
    print(json.dumps({
        "name": run.info.run_name,
        "status": run.info.status,
        "params": run.data.params,
        "metrics": {key: repr(value) for key, value in run.data.metrics.items()},
        "tag": run.data.tags.get("dataset"),
        "history": [[point.step, point.value] for point in client.get_metric_history(run_id, "mae")],
        "children": [child.info.run_name for child in children],
        "artifacts": [[item.path, item.is_dir] for item in client.list_artifacts(run_id, "model")],
        "version": version.version,
        "version_tags": {key: value for key, value in version.tags.items() if not key.startswith("berth.")},
        "predictions": [float(value) for value in loaded.predict(ROWS)],
    }))


if __name__ == "__main__":
    {"train": train, "read": read}[sys.argv[1]](*sys.argv[2:])
