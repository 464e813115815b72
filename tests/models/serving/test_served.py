"""What is judged is what is served: the ranking of a packed model equals the lists that a service gets."""

import json
import shutil

import mlflow
import numpy as np
import pandas as pd
import pytest

from models.by_name import create
from models.checkout_model import CheckoutModel
from models.data.sequences import SessionLog, next_item_examples
from models.evaluation.ranking import rank_targets, summarize
from models.options import TrainingOptions
from models.serving.export import package
from models.serving.served import ServedModel, frame_of
from models.stored import DamagedModelError, ModelError

pytestmark = pytest.mark.training

SERVED = ("attention", "gru", "transformer", "hybrid", "neighbours", "factorization", "ncf", "cooccurrence")
OPTIONS = TrainingOptions(embedding_size=8, epochs=2, batch_size=64, negatives=16, max_length=4)


def shop(sessions=80, seed=1):
    """Return sessions of returning shoppers, who each walk on their own shelf, some of them unknown."""
    generator = np.random.default_rng(seed)
    users = [None if n % 5 == 0 else f"u{n % 8}" for n in range(sessions)]
    shelves = [generator.integers(0, 6, 6) + 5 * (n % 8) for n in range(sessions)]
    log = SessionLog.from_lists([[f"i{item}" for item in shelf] for shelf in shelves])
    context = {
        "user": np.array(users, object),
        "device_type": np.array(["mobile", None] * (sessions // 2), object),
        "started_at": np.linspace(1.7e9, 1.7e9 + 86_400, sessions),
    }
    types = np.array(["item_viewed", "item_added", None], object)[np.arange(log.n_events) % 3]
    events = {"event_type": types, "added": types == "item_added"}
    return SessionLog(log.items, log.offsets, log.catalogue, log.ended_at, context, events)


def packed(name, folder, options=OPTIONS):
    model = create(name, options)
    model.fit(shop())
    mlflow.pyfunc.save_model(str(folder / "model"), **package(model, folder / "files"))
    return model, folder / "model"


@pytest.mark.parametrize("exclude_seen", [False, True])
@pytest.mark.parametrize("name", [*SERVED, "ensemble"])
def test_the_recall_is_that_of_the_lists_that_a_service_gets(name, exclude_seen, tmp_path):
    options = OPTIONS.but(members="factorization+ncf+cooccurrence") if name == "ensemble" else OPTIONS
    _, folder = packed(name, tmp_path, options)
    examples = next_item_examples(shop(30, seed=2))
    ranking = ServedModel(folder, name).rank(examples, 5, exclude_seen=exclude_seen)
    service = mlflow.pyfunc.load_model(str(folder))
    log, requests = examples.log, []
    for row, (session, position) in enumerate(zip(examples.session, examples.position, strict=True)):
        start = log.offsets[session]
        request = {column: values[session] for column, values in log.context.items()}
        types = log.event_context["event_type"][start : start + position]
        requests.append(request | {"items": examples.prefix(row), "event_type": list(types)})
    answer = service.predict(pd.DataFrame(requests), params={"k": 5, "exclude_seen": exclude_seen})
    hits = [target in items for target, items in zip(examples.targets, answer["items"], strict=True)]
    assert summarize(ranking, (5,))["recall@5"] == pytest.approx(np.mean(hits))
    ids = np.array(
        ["", *json.loads((folder / "artifacts" / "light" / "vocabulary.json").read_text())["items"]], object
    )
    assert [list(ids[shown[shown > 0]]) for shown in ranking.top] == answer["items"].tolist()


BLENDS = ("hybrid+factorization+cooccurrence", "hybrid+factorization+ncf", "ncf+attention")


@pytest.mark.parametrize("name", [*SERVED, *BLENDS])
def test_a_packed_model_reads_shopper_and_context_as_the_trained_model_does(name, tmp_path):
    options = OPTIONS.but(epochs=4, members=name) if "+" in name else OPTIONS.but(epochs=4)
    model, folder = packed("ensemble" if "+" in name else name, tmp_path, options)
    light = CheckoutModel(folder / "artifacts" / "light")
    examples = next_item_examples(shop(30, seed=2))
    rows = np.flatnonzero(
        [bool(set(examples.prefix(row)) & set(light.index)) for row in range(len(examples))]
    )
    examples = examples.select(rows)
    frame = frame_of(examples, {"items", *light.columns})
    sessions = [(row.pop("items"), row) for row in frame.to_dict("records")]
    found, is_scored = light.score(sessions)
    assert is_scored.all()
    encoded, every = examples.encode(model.vocabulary), np.arange(len(examples))
    context = encoded.context(every, options.max_length)
    expected = model.scores(encoded.prefixes(every, options.max_length), context)
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-4)
    reads_shoppers = any(part in name for part in ("hybrid", "factorization", "ncf"))
    assert ("user" in light.columns) == reads_shoppers
    without, _ = light.score([(items, None) for items, _ in sessions])
    assert np.allclose(found, without, atol=1e-4) != reads_shoppers


def test_a_model_that_learns_shoppers_is_judged_with_the_shoppers_that_services_name(tmp_path):
    model, folder = packed("factorization", tmp_path, OPTIONS.but(embedding_size=16, epochs=6))
    examples = next_item_examples(shop())
    first = examples.select(examples.position == 1)
    with_shopper = summarize(rank_targets(model, first), (5,))["recall@5"]
    assert summarize(ServedModel(folder, "it").rank(first), (5,))["recall@5"] == with_shopper
    log = SessionLog(first.log.items, first.log.offsets, first.log.catalogue, first.log.ended_at)
    unnamed = next_item_examples(log)
    unnamed = unnamed.select(unnamed.position == 1)
    assert summarize(ServedModel(folder, "it").rank(unnamed), (5,))["recall@5"] < with_shopper


def test_a_request_has_the_items_and_the_columns_that_model_and_sessions_have():
    examples = next_item_examples(shop(2))
    frame = frame_of(examples, {"items", "user", "event_type", "country"})
    assert set(frame) == {"items", "user", "event_type"}
    assert frame["items"].tolist() == [examples.prefix(row) for row in range(len(examples))]
    assert [len(types) for types in frame["event_type"]] == examples.position.tolist()
    assert "added" not in frame, "what happens later is no input"


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    return packed("cooccurrence", tmp_path_factory.mktemp("packed"))[1]


def shorten(folder):
    file = folder / "vocabulary.json"
    file.write_text(json.dumps({name: values[:-3] for name, values in json.loads(file.read_text()).items()}))


def reverse(folder):
    file = folder / "vocabulary.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"items": content["items"][::-1]}))


def truncate(folder):
    largest = max(
        (file for file in folder.rglob("*") if file.is_file()), key=lambda file: file.stat().st_size
    )
    largest.write_bytes(largest.read_bytes()[:-100])


def cut_the_code(folder):
    file = folder / "checkout_model" / "__init__.py"
    file.write_bytes(file.read_bytes()[:-30])


def delete_code(folder):
    (folder / "checkout_model" / "values.py").unlink()


def add_code(folder):
    (folder / "checkout_model" / "numpy.py").write_text("")


def delete(folder):
    (folder / "inputs.json").unlink()


def swap(folder):
    file = folder / "manifest.json"
    content = json.loads(file.read_text())
    content["sha256"] = dict.fromkeys(content["sha256"], "0" * 64)
    file.write_text(json.dumps(content))


DAMAGES = (shorten, reverse, truncate, cut_the_code, delete_code, add_code, delete, swap)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_service_does_not_load_a_damaged_model(artifact, damage, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(artifact, folder)
    damage(folder / "artifacts" / "light")
    with pytest.raises(ValueError, match=r"SHA-256"):
        mlflow.pyfunc.load_model(str(folder))
    with pytest.raises(DamagedModelError, match=r"version 7 cannot be opened: .*SHA-256"):
        ServedModel(folder, "version 7")


def test_a_model_that_scores_nothing_but_nan_is_named(artifact, monkeypatch):
    model = ServedModel(artifact, "version 7")
    nothing = pd.DataFrame({"items": [[]] * 10, "scores": [[]] * 10})
    monkeypatch.setattr(model._model, "predict", lambda frame, params: nothing[: len(frame)])
    with pytest.raises(ModelError, match="version 7 answers a session of 1 items with an empty list"):
        model.rank(next_item_examples(shop(2)))
    monkeypatch.setattr(model._model, "predict", lambda frame, params: nothing[:1])
    with pytest.raises(ModelError, match="answered 1 lists for 10 sessions"):
        model.rank(next_item_examples(shop(2)))
