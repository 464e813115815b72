import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from models.by_name import create
from models.data.sequences import SessionLog
from models.options import TrainingOptions
from models.serving.export import package, requirements
from models.stored import ModelError

pytestmark = pytest.mark.training

SERVICE = """
import json, sys
import models
assert models.SERVICE, "the service's own package"
import mlflow, numpy as np, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[1])
sessions = pd.DataFrame({"items": [["i1", "i2"], [], ["never seen"], ["i1", "never seen", "i2"]]})
def ask(frame, **params):
    answer = model.predict(frame, params=params)
    return [answer["items"].tolist(), answer["scores"].tolist()]
answers = {
    "plain": ask(sessions),
    "few": ask(sessions, k=2),
    "unseen": ask(sessions, k=3, exclude_seen=True),
    "excluded": ask(sessions, k=3, exclude=["i3", "what"]),
    "complements": ask(sessions.assign(cart=[["i3"], ["i1", "what"], [], None]), k=3, exclude_cart=True),
    "with cart": ask(sessions.assign(cart=[["i3"], [], [], []])),
    "many": ask(sessions, k=1000),
    "context": ask(sessions.assign(device_type="mobile", hour=7), k=2),
    "all empty": ask(pd.DataFrame({"items": [[], []]}), k=2),
    "one row": ask(pd.DataFrame([{"items": ["i2"]}]), k=2),
    "arrays": ask(pd.DataFrame({"items": [np.array(["i1", "i2"], dtype=object)]}), k=2),
}
ours = [name for name in sys.modules if name.startswith(("lastaisle", "models."))]
assert not ours, ours
print("ANSWERS" + json.dumps(answers))
"""


@pytest.fixture(scope="module")
def recommender():
    sessions = [[f"i{(start + step) % 12}" for step in range(4)] for start in range(12)] * 6
    options = TrainingOptions(embedding_size=8, epochs=40, batch_size=64, negatives=10, learning_rate=0.02)
    model = create("attention", options.but(max_length=5))
    model.fit(SessionLog.from_lists(sessions))
    return model


@pytest.fixture(scope="module")
def artifact(recommender, tmp_path_factory):
    import mlflow

    folder = tmp_path_factory.mktemp("packed")
    mlflow.pyfunc.save_model(str(folder / "model"), **package(recommender, folder / "files"))
    return folder / "model"


@pytest.fixture(scope="module")
def service_python(artifact, tmp_path_factory):
    """Return the Python of a fresh environment with only the model's own requirements."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    python = folder / "bin" / "python"
    uv = [sys.executable, "-m", "uv"]
    requirements_file = str(artifact / "requirements.txt")
    for command in (
        [*uv, "venv", "--quiet", "--python", sys.executable, str(folder)],
        [*uv, "pip", "install", "--quiet", "--python", str(python), "--requirements", requirements_file],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=250)
        assert done.returncode == 0, done.stderr[-3000:]
    return python


@pytest.fixture(scope="module")
def answers(artifact, service_python, tmp_path_factory):
    """Return the answers to a service that has its own package `models` and does not have this project."""
    service = tmp_path_factory.mktemp("service")
    (service / "models").mkdir()
    (service / "models" / "__init__.py").write_text("SERVICE = True\n")
    (service / "service.py").write_text(SERVICE)
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [service_python, "-P", "-c", f"import sys; sys.path.insert(0, {str(service)!r});"
         f"sys.argv = ['service', {str(artifact)!r}]; exec(open('service.py').read())"],
        cwd=service, env=environ, capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.split("ANSWERS")[1])


def test_the_artifact_contains_no_pickle(artifact):
    files = [path for path in artifact.rglob("*") if path.is_file()]
    assert any(path.name == "checkout_recommender.py" for path in files)
    assert not [
        path for path in files if path.suffix in {".pkl", ".pickle", ".joblib", ".npy", ".npz", ".pt"}
    ]
    for path in files:
        head = path.read_bytes()[:2]
        assert head[:1] != b"\x80" or path.suffix == ".pb", f"{path} begins like a pickle"


def test_the_artifact_requires_only_the_packages_that_it_needs(artifact):
    asked = (artifact / "requirements.txt").read_text().split()
    assert asked == requirements()
    assert {line.split("==")[0] for line in asked} <= {
        "ai-edge-litert", "mlflow-skinny", "numpy", "pandas"
    }  # fmt: skip


def test_the_packed_model_answers_as_the_model_does(recommender, answers):
    ids, scores = answers["plain"]
    theirs, their_scores = recommender.recommend([["i1", "i2"], [], ["zz"], ["i1", "i2"]], k=20)
    assert ids == theirs
    assert answers["unseen"][0][0][0] == "i3"
    assert [len(row) for row in ids] == [12] * 4
    for ours, expected in zip(scores, their_scores, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)


def test_empty_and_unknown_sessions_get_the_popular_items(answers, recommender):
    ids, scores = answers["plain"]
    popular = recommender.vocabulary.decode(recommender.vocabulary.popular(12))
    assert ids[1] == ids[2] == list(popular)
    assert sum(scores[1]) == pytest.approx(1.0)
    assert answers["all empty"][0] == [list(popular[:2])] * 2


def test_the_params_change_the_answers(answers):
    assert [len(row) for row in answers["few"][0]] == [2] * 4
    assert answers["few"][0] == [row[:2] for row in answers["plain"][0]]
    assert not {"i1", "i2"} & set(answers["unseen"][0][0])
    assert all("i3" not in row for row in answers["excluded"][0])
    assert answers["many"] == answers["plain"]


def test_the_cart_is_left_out_on_request(answers):
    plain, complements = answers["plain"][0], answers["complements"][0]
    carts = [{"i3"}, {"i1"}, set(), set()]
    for row, left, cart in zip(plain, complements, carts, strict=True):
        assert left == [item for item in row if item not in cart][:3]
    assert answers["with cart"] == answers["plain"]


def test_context_columns_and_other_forms_of_a_list_are_accepted(answers):
    assert answers["context"] == answers["few"]
    assert answers["arrays"][0][0] == answers["few"][0][0]
    assert len(answers["one row"][0]) == 1


def test_only_the_last_items_of_a_long_session_are_read(artifact, recommender):
    import mlflow

    model = mlflow.pyfunc.load_model(str(artifact))
    long = [f"i{step % 12}" for step in range(100)]
    answer = model.predict(pd.DataFrame({"items": [long]}, index=[42]), params={"k": 3})
    assert answer["items"].tolist() == recommender.recommend([long], k=3)[0]
    assert list(answer.index) == [42]
    with pytest.raises(ValueError, match="needs a column 'cart'"):
        model.predict(pd.DataFrame({"items": [["i1"]]}), params={"exclude_cart": True})
    with pytest.raises(ValueError, match="received 0"):
        model.predict(pd.DataFrame({"items": [["i1"]]}), params={"k": 0})


@pytest.mark.parametrize("name", ["neighbours", "factorization", "ncf"])
def test_models_without_an_encoder_are_served_too(name, tmp_path):
    import mlflow

    model = create(name, TrainingOptions(embedding_size=8))
    model.fit(
        SessionLog.from_lists([[f"i{(start + step) % 12}" for step in range(4)] for start in range(12)])
    )
    mlflow.pyfunc.save_model(str(tmp_path / "model"), **package(model, tmp_path / "files"))
    sessions = [["i1", "i2"], [], ["never seen"], ["i7"]]
    answer = mlflow.pyfunc.load_model(str(tmp_path / "model")).predict(pd.DataFrame({"items": sessions}))
    ids, scores = model.recommend(sessions, k=20)
    assert answer["items"].tolist() == ids
    for ours, expected in zip(answer["scores"], scores, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)


def test_popularity_is_not_served(tmp_path):
    with pytest.raises(ModelError, match="popularity"):
        package(create("popularity"), tmp_path)
