"""Requests to a registered version: which ids a list leaves out, and which version the answer names."""

import shutil

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from models.by_name import create
from models.options import TrainingOptions
from models.serving.export import package
from tests.models.toys import rings

pytestmark = pytest.mark.training
NAME = "checkout-recommender"


@pytest.fixture(scope="module")
def registry(empty_store, tmp_path_factory):
    """Return a client of a registry with two versions; the alias champion names the first one."""
    folder = tmp_path_factory.mktemp("registry")
    shutil.copy(empty_store, folder / "mlflow.db")
    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    mlflow.set_registry_uri(mlflow.get_tracking_uri())  # another test may have set it to a store of its own
    mlflow.set_experiment(experiment_id=mlflow.create_experiment("packed", str(folder / "artifacts")))
    for seed in (0, 1):
        model = create("cooccurrence", TrainingOptions(max_length=8))
        model.fit(rings(200, seed))
        with mlflow.start_run():
            packed = package(model, folder / f"files-{seed}")
            mlflow.pyfunc.log_model(name="recommender", registered_model_name=NAME, **packed)
    client = MlflowClient()
    client.set_registered_model_alias(NAME, "champion", "1")
    yield client
    mlflow.set_tracking_uri(before[0])
    mlflow.set_registry_uri(before[1])


@pytest.fixture(scope="module")
def champion(registry):
    return mlflow.pyfunc.load_model(f"models:/{NAME}@champion")


SESSIONS = pd.DataFrame({"items": [["i1", "i2"], [], ["i5"]]}, index=["a", "b", "c"])


def test_an_answer_names_the_version_that_the_alias_named_at_the_load(registry, champion):
    try:
        registry.set_registered_model_alias(NAME, "champion", "2")
        for model, version in (
            (champion, "1"),
            (mlflow.pyfunc.load_model(f"models:/{NAME}@champion"), "2"),
            (mlflow.pyfunc.load_model(f"models:/{NAME}/1"), "1"),
        ):
            answer = model.predict(SESSIONS, params={"with_version": True})
            assert list(answer) == ["items", "scores", "name", "version"]
            assert answer["name"].tolist() == [NAME] * 3
            assert answer["version"].tolist() == [version] * 3
            plain = model.predict(SESSIONS)
            assert list(plain) == ["items", "scores"]
            assert plain["items"].tolist() == answer["items"].tolist()
    finally:
        registry.set_registered_model_alias(NAME, "champion", "1")


def test_a_model_from_a_folder_has_no_version(registry, tmp_path):
    model = create("cooccurrence", TrainingOptions(max_length=8))
    model.fit(rings(50, 0))
    mlflow.pyfunc.save_model(str(tmp_path / "model"), **package(model, tmp_path / "files"))
    answer = mlflow.pyfunc.load_model(str(tmp_path / "model")).predict(
        SESSIONS, params={"with_version": True}
    )
    assert answer["version"].tolist() == answer["name"].tolist() == [None] * 3


def test_no_module_of_a_loaded_version_stays_behind_by_name(champion):
    import sys

    assert not [name for name in sys.modules if name.startswith("checkout_model")]


@pytest.mark.parametrize(
    "excluded",
    [
        ["i3", "never seen"],
        ("i3",),
        {"i3"},
        np.array(["i3"]),
        np.array(["i3"], dtype=object),
        pd.Series(["i3", None]),
        ["i3", None, float("nan")],
    ],
)
def test_each_row_leaves_out_its_own_ids_in_every_form_of_a_list(champion, excluded):
    plain = champion.predict(SESSIONS)["items"]
    assert "i3" in plain["a"]
    column = pd.Series([excluded, None, ()], SESSIONS.index, dtype=object)
    found = champion.predict(SESSIONS.assign(exclude=column))["items"]
    assert "i3" not in found["a"]
    assert found["a"][:19] == [item for item in plain["a"] if item != "i3"]
    assert found["b"] == plain["b"]
    assert found["c"] == plain["c"]


def test_ids_of_the_column_may_be_whole_numbers(tmp_path):
    model = create("cooccurrence", TrainingOptions(max_length=8))
    log = rings(200, 0)
    log.catalogue[:] = [item[1:] for item in log.catalogue]
    model.fit(log)
    mlflow.pyfunc.save_model(str(tmp_path / "model"), **package(model, tmp_path / "files"))
    served = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    frame = pd.DataFrame({"items": [[1], [1], [1]], "exclude": [[2], (np.int64(2), None), ["2"]]})
    assert all("2" not in items for items in served.predict(frame)["items"])
    frame = pd.DataFrame({"items": [[1], [1]], "exclude": [None, float("nan")]})
    assert all("2" in items for items in served.predict(frame)["items"])


def test_the_column_adds_to_the_param_and_to_the_cart(champion):
    frame = SESSIONS.assign(exclude=[["i3"], [], []], cart=[["i4"], [], []])
    found = champion.predict(frame, params={"exclude": ["i6"], "exclude_cart": True, "k": 40})["items"]
    assert not {"i3", "i4", "i6"} & set(found["a"])
    assert all("i6" not in items for items in found)
    assert "i4" in champion.predict(frame, params={"k": 40})["items"]["a"]


@pytest.mark.parametrize(
    ("excluded", "named"), [("i3", "'i3'"), ([1.5], "1.5"), ([["i3"]], r"\['i3'\]"), (5, "received 5")]
)
def test_ids_to_leave_out_that_cannot_be_read_are_an_error_with_row_and_value(champion, excluded, named):
    column = pd.Series([None, None, excluded], SESSIONS.index, dtype=object)
    with pytest.raises(ValueError, match=f"(?s)^row 'c': exclude should be .*{named}"):
        champion.predict(SESSIONS.assign(exclude=column))
