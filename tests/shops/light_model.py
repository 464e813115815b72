"""A model of the registry that needs no TensorFlow."""

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel


class LightModel(PythonModel):
    def predict(self, context, model_input, params=None):
        return pd.DataFrame({"items": [["i0"]] * len(model_input), "scores": [[1.0]] * len(model_input)})


mlflow.models.set_model(LightModel())
