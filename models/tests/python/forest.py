"""Peer of the anomaly tests.

    forest.py sklearn FOLDER      ROC-AUC of scikit-learn's IsolationForest on rows.f32 and labels.u8, one per seed
    forest.py detector FOLDER     votes of the detector in FOLDER, by its own loader, on rows.json
"""

import json
import sys
from pathlib import Path

import numpy as np

what, folder = sys.argv[1], Path(sys.argv[2])
if what == "sklearn":
    from sklearn.ensemble import IsolationForest
    from sklearn.metrics import roc_auc_score

    odd = np.fromfile(folder / "labels.u8", np.uint8)
    x = np.fromfile(folder / "rows.f32", np.float32).reshape(len(odd), -1)
    models = (IsolationForest(n_estimators=100, max_samples=256, random_state=seed, n_jobs=1).fit(x) for seed in range(5))
    print(json.dumps([float(roc_auc_score(odd, -model.score_samples(x))) for model in models]))
else:
    import pandas as pd

    sys.path.insert(0, str(folder / "code"))
    import berth_anomaly_detector

    document = json.loads((folder / "rows.json").read_text(encoding="utf-8"))
    rows = pd.DataFrame(document["rows"], columns=document["features"], dtype=np.float32)
    answer = berth_anomaly_detector._load_pyfunc(folder).predict(rows)
    print(json.dumps({name: answer[name].tolist() for name in ("vote", "score", "alarm")}))
