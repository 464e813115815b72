"""Versions that release 0.1 packed, with their own code and without a folder `light`, are still judged."""

import json

import mlflow
import numpy as np
import pytest
from mlflow.models import ModelSignature
from mlflow.types.schema import AnyType, Array, ColSpec, DataType, ParamSchema, ParamSpec, Schema

from models.data.sequences import SessionLog, next_item_examples
from models.serving.served import ServedModel
from models.stored import DamagedModelError

#: Answers each session with the items in the order of the vocabulary, as a stand-in for a SavedModel.
CODE = """
import json

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel


class CheckoutRecommender(PythonModel):
    def load_context(self, context):
        with open(context.artifacts["vocabulary"], encoding="utf-8") as file:
            self.items = json.load(file)["items"]

    def predict(self, context, model_input, params=None):
        lists = []
        for session in model_input["items"]:
            seen = set(session) if params["exclude_seen"] else set()
            lists.append([item for item in self.items if item not in seen][: params["k"]])
        scores = [[1.0] * len(items) for items in lists]
        return pd.DataFrame({"items": lists, "scores": scores}, index=model_input.index)


mlflow.models.set_model(CheckoutRecommender())
"""
SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec(AnyType(), "items"), ColSpec(AnyType(), "user", required=False)]),
    outputs=Schema([ColSpec(Array(DataType.string), "items"), ColSpec(Array(DataType.double), "scores")]),
    params=ParamSchema(
        [ParamSpec("k", DataType.long, 20), ParamSpec("exclude_seen", DataType.boolean, False)]
    ),
)


@pytest.fixture
def version(tmp_path):
    """Return the folder of a version as release 0.1 packed it: a scorer and a vocabulary side by side."""
    files = tmp_path / "files"
    (files / "scorer").mkdir(parents=True)
    (files / "scorer" / "saved_model.pb").write_bytes(b"\x08\x01")
    (files / "vocabulary.json").write_text(json.dumps({"items": ["b", "a", "c"], "counts": [3.0, 2.0, 1.0]}))
    (files / "checkout_recommender.py").write_text(CODE)
    mlflow.pyfunc.save_model(
        str(tmp_path / "model"),
        python_model=str(files / "checkout_recommender.py"),
        artifacts={"scorer": str(files / "scorer"), "vocabulary": str(files / "vocabulary.json")},
        signature=SIGNATURE,
        pip_requirements=["mlflow"],
    )
    return tmp_path / "model"


def test_a_version_of_the_earlier_release_is_judged(version):
    model = ServedModel(version, "version 3")
    assert model.vocabulary.ids[1:].tolist() == ["b", "a", "c"]
    examples = next_item_examples(SessionLog.from_lists([["a", "b"], ["b", "c", "new"]]))
    ranking = model.rank(examples, k=3)
    assert ranking.ranks.tolist() == [1, 3, 0]
    np.testing.assert_array_equal(ranking.top, [[1, 2, 3]] * 3)
    assert model.rank(examples, k=3, exclude_seen=True).ranks.tolist() == [1, 2, 0]


def test_a_version_of_the_earlier_release_without_its_vocabulary_is_damaged(version):
    (version / "artifacts" / "vocabulary.json").unlink()
    with pytest.raises(DamagedModelError, match=r"version 3 cannot be opened: .*vocabulary\.json"):
        ServedModel(version, "version 3")
