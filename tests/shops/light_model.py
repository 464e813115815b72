"""A packed model that reads the state of the trained model: packing it needs no export by TensorFlow."""

from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc import PythonModel

from models.by_name import load
from models.top_k import top_k

ROWS_AT_ONCE = 256


class LightModel(PythonModel):
    def load_context(self, context):
        self.model = load(Path(context.artifacts["saved"]))

    def predict(self, context, model_input, params=None):
        params = params or {}
        encoded = [self.model.vocabulary.encode(items) for items in model_input["items"]]
        known = [items[items > 0] for items in encoded]
        items, values = [], []
        for at in range(0, len(known), ROWS_AT_ONCE):
            part = known[at : at + ROWS_AT_ONCE]
            width = max(1, *map(len, part))
            scores = self.model.scores(
                np.array([np.pad(row, (width - len(row), 0)) for row in part], np.int32)
            )
            for row, seen in zip(scores, part, strict=True):
                if params.get("exclude_seen"):
                    row[seen] = -np.inf
                best = top_k(row[None, :], min(params.get("k", 20), len(row) - 1))[0]
                best = best[np.isfinite(row[best])]
                items.append([str(item) for item in self.model.vocabulary.decode(best)])
                values.append(row[best].astype(float).tolist())
        return pd.DataFrame({"items": items, "scores": values}, index=model_input.index)


mlflow.models.set_model(LightModel())
