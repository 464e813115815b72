"""The packed model without MLflow and TensorFlow answers as the trained model does."""

import gc
import json
import os
import subprocess
import sys
import threading
from datetime import date
from decimal import Decimal

import numpy as np
import pandas as pd
import psutil
import pytest

from models.by_name import create
from models.checkout_model import CheckoutModel, best_of
from models.data.sequences import SessionLog
from models.options import TrainingOptions
from models.serving.export import export_artifact
from models.stored import write_manifest
from tests.docs.pages import ROOT, blocks
from tests.models.toys import rings

pytestmark = pytest.mark.training

OPTIONS = TrainingOptions(embedding_size=16, epochs=2, max_length=8, members="attention+gru+neighbours")
ARCHITECTURES = (
    "attention", "gru", "transformer", "hybrid", "neighbours", "factorization", "ncf", "cooccurrence",
    "ensemble",
)  # fmt: skip


def packed(model, folder):
    return CheckoutModel(export_artifact(model, folder)["light"])


def trained(name):
    model = create(name, OPTIONS)
    model.fit(rings(300, 0))
    return model


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """Return a small packed model."""
    return packed(trained("cooccurrence"), tmp_path_factory.mktemp("packed"))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_answers_as_it_was_trained(name, tmp_path):
    model = trained(name)
    light = packed(model, tmp_path)
    log = rings(40, 1)
    ids = log.ids()
    sessions = [list(ids[at:end]) for at, end in zip(log.offsets, log.offsets[1:], strict=False)]
    sessions += [[], ["never seen"], ["never seen", "i3", "never seen", "i4"]]
    sessions += [[f"i{step % 40}" for step in range(30)], ["i1"] * 30]
    expected = model.recommend(sessions, k=40)
    for session, their_items, their_scores in zip(sessions, *expected, strict=True):
        items, scores = light.recommend(session, k=40)
        np.testing.assert_allclose(scores, their_scores, atol=1e-4, rtol=1e-4)
        by_item = dict(zip(their_items, their_scores, strict=True))
        np.testing.assert_allclose(scores, [by_item[item] for item in items], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "items",
    [
        ("i1", "i2"),
        np.array(["i1", "i2"], dtype=object),
        np.array(["i1", "i2"]),
        pd.Series(["i1", "i2"]),
        ["i1", None, "i2"],
        [float("nan"), "i1", pd.NA, "i2", pd.NaT],
        (item for item in ("i1", "i2")),
        pd.Categorical(["i1", "i2"]),
        pd.Index(["i1", "i2"]),
        pd.array(["i1", None, "i2"], dtype="string"),
        np.ma.array(["i1", "i9", "i2"], mask=[False, True, False]),
        [np.str_("i1"), Decimal("NaN"), np.datetime64("NaT"), "", "i2"],
    ],
)
def test_every_form_of_a_list_is_read(counted, items):
    assert counted.recommend(items) == counted.recommend(["i1", "i2"])


@pytest.mark.parametrize("items", [None, float("nan"), pd.NA, [], (), [None]])
def test_a_missing_list_is_an_empty_list(counted, items):
    assert counted.recommend(items) == counted.recommend([])


def test_ids_may_be_whole_numbers(tmp_path):
    model = create("cooccurrence", OPTIONS)
    model.fit(rings(200, 0, prefix="").select(slice(0, 200)))
    numbers = create("cooccurrence", OPTIONS)
    log = rings(200, 0)
    log.catalogue[:] = [item[1:] for item in log.catalogue]
    numbers.fit(log)
    light = packed(numbers, tmp_path)
    expected = light.recommend(["1", "2"])
    for items in ([1, 2], np.array([1, 2]), [np.int64(1), 2.0], pd.Series([1, None, 2]), [1, "2"]):
        assert light.recommend(items) == expected
    assert light.recommend(["1", "2"], exclude=[3]) == light.recommend(["1", "2"], exclude=("3",))


@pytest.mark.parametrize(
    ("items", "named"),
    [
        ("i1", "'i1'"),
        (b"i1", "b'i1'"),
        ({"i1": 1}, "{'i1': 1}"),
        (5, "received 5"),
        ([["i1"]], r"\['i1'\]"),
        ([1.5], "1.5"),
        ([True], "True"),
        ([float("inf")], "inf"),
        ([2.0**60], "1.15"),
        ([{"id": "i1"}], "{'id': 'i1'}"),
        (["i1", ("i2",)], r"\('i2',\)"),
        ([date(2026, 1, 2)], r"datetime.date\(2026, 1, 2\)"),
        ([pd.Timestamp("2026-01-02")], r"Timestamp\('2026-01-02"),
        ([np.datetime64("2026-01-02")], "2026-01-02"),
        ([np.timedelta64(5, "s")], r"timedelta64\(5"),
        ([Decimal("5")], r"Decimal\('5'\)"),
        ([Decimal("sNaN")], "sNaN"),
        ([np.True_], "True"),
        ([10**5000], "type int that is too long to show"),
        (["i" * 300, b"i" * 300], "i{197}…"),
        ([bytearray(b"i1")], "i1"),
        ([np.array("i1")], r"array\('i1'"),
        ([pd.Series(["i1"])], "i1"),
        ([1j], "1j"),
        (bytearray(b"i1"), "i1"),
        (np.array("i1"), r"array\('i1'"),
        (np.array([["i1"], ["i2"]]), r"array\(\[\['i1'\]"),
        (pd.DataFrame({"items": ["i1"]}), "i1"),
    ],
)
def test_a_list_that_cannot_be_read_is_an_error_with_its_name_and_value(counted, items, named):
    with pytest.raises(ValueError, match=f"(?s)^items should be .*{named}"):
        counted.recommend(items)
    with pytest.raises(ValueError, match=f"(?s)^exclude should be .*{named}"):
        counted.recommend(["i1"], exclude=items)


def test_a_set_has_no_order_so_it_can_be_left_out_but_is_no_session(counted):
    assert counted.recommend(["i1"], exclude={"i2"}) == counted.recommend(["i1"], exclude=["i2"])
    with pytest.raises(ValueError, match=r"items should be a list, received \{'i1'\}"):
        counted.recommend({"i1"})


def test_a_whole_number_of_any_size_is_an_id(counted):
    assert counted.recommend([10**400, -3, "i1"]) == counted.recommend(["i1"])


@pytest.mark.parametrize("name", ["cooccurrence", "hybrid"])
def test_several_sessions_are_scored_at_once_as_one_by_one(name, tmp_path):
    light = packed(trained(name), tmp_path)
    sessions = [(["i1", "i2"], None), ([], {}), (("never seen",), {"device_type": "mobile"}), (["i7"], None)]
    scores, is_scored = light.score(sessions)
    assert scores.shape == (4, 41)
    assert scores.dtype == np.float32
    assert is_scored.tolist() == [True, False, False, True]
    for row, (items, context) in zip(scores, sessions, strict=True):
        ids, values = light.recommend(items, k=40, context=context)
        assert row[0] == -np.inf
        np.testing.assert_allclose(row[[light.index[item] for item in ids]], values, atol=1e-6)
    scores[:] = 0.0
    again, _ = light.score(sessions)
    assert again[1].sum() != 0.0, "the caller may change the scores"
    nothing, none = light.score([])
    assert nothing.shape == (0, 41)
    assert none.shape == (0,)


def test_an_unreadable_session_among_several_is_named_by_its_position(counted):
    with pytest.raises(ValueError, match=r"^session 1: items should be a list, received 'i1'"):
        counted.score([(["i1"], None), ("i1", None)])
    with pytest.raises(ValueError, match=r"^the second: items should be a list, received 'i1'"):
        counted.recommend_all([(["i1"], None), ("i1", None)], names=["the first", "the second"])
    with pytest.raises(ValueError, match=r"^session 1: exclude should be a list, received 'i1'"):
        counted.recommend_all([(["i1"], None)] * 2, exclude=[None, "i1"])


def test_scores_can_be_used_without_a_copy(counted):
    sessions = [([f"i{n}"] if n % 3 else [], None) for n in range(80)]
    expected, is_scored = counted.score(sessions)
    found = {}

    def use(place, scores, is_scored):
        found[place] = scores.copy(), is_scored
        scores[:] = 0.0

    counted.score_each(sessions, use)
    assert sorted(found) == list(range(80))
    assert [found[place][1] for place in range(80)] == is_scored.tolist()
    np.testing.assert_array_equal([found[place][0] for place in range(80)], expected)
    np.testing.assert_array_equal(counted.score(sessions)[0], expected)


def test_a_failure_in_the_use_of_scores_leaves_the_model_as_it_was(counted):
    expected = counted.recommend(["i1"])
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            counted.score_each([(["i1"], None)] * 3, lambda *given: 1 / 0)
    assert counted.recommend(["i1"]) == expected


def test_a_packed_model_tells_by_which_lists_it_was_judged(tmp_path):
    model = trained("cooccurrence")
    assert not packed(model, tmp_path / "all").exclude_seen
    assert CheckoutModel(export_artifact(model, tmp_path / "new", exclude_seen=True)["light"]).exclude_seen
    older = tmp_path / "all" / "light"
    inputs = json.loads((older / "inputs.json").read_text())
    del inputs["exclude_seen"]
    (older / "inputs.json").write_text(json.dumps(inputs))
    write_manifest(older)
    assert not CheckoutModel(older).exclude_seen


def test_the_index_names_the_row_of_each_item(counted):
    assert [counted.items[row] for row in counted.index.values()] == list(counted.index)
    assert 0 not in counted.index.values()


def test_the_best_are_the_highest_finite_scores_and_ties_go_to_the_lower_index():
    generator = np.random.default_rng(0)
    for size in (1, 2, 31, 32, 33, 1000, 5000):
        scores = generator.integers(-50, 50, size).astype(np.float32)
        scores[generator.random(size) < 0.2] = -np.inf
        scores[generator.random(size) < 0.1] = np.nan
        finite = np.flatnonzero(np.isfinite(scores))
        expected = finite[np.argsort(-scores[finite], kind="stable")]
        for k in (1, 2, 20, 40, size, size + 1):
            np.testing.assert_array_equal(best_of(scores.copy(), k), expected[:k])
    assert len(best_of(np.full(100, np.nan, np.float32), 20)) == 0
    assert len(best_of(np.full(100, -np.inf, np.float32), 20)) == 0


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_many_sessions_are_answered_as_one_by_one(name, tmp_path):
    light = packed(trained(name), tmp_path)
    sessions = [([f"i{n % 40}", f"i{(n * 7) % 40}"][: n % 3], None) for n in range(75)]
    for several in (sessions[:1], sessions[:2], sessions, sessions[:7]):  # graphs grow and shrink
        together = light.recommend_all(several, k=5, exclude=[("i1",)] * len(several), exclude_seen=True)
        for (items, scores), (session, _) in zip(together, several, strict=True):
            alone, alone_scores = light.recommend(session, k=5, exclude=["i1"], exclude_seen=True)
            np.testing.assert_allclose(scores, alone_scores, atol=1e-4)
            assert items == alone or np.min(-np.diff(alone_scores)) < 1e-4


def test_twenty_loads_and_drops_do_not_grow(tmp_path):
    folder = export_artifact(trained("attention"), tmp_path)["light"]

    def resident():
        gc.collect()
        return psutil.Process().memory_info().rss / 2**20

    def ask():
        model = CheckoutModel(folder)
        for sessions in (1, 9, 32, 2):
            model.score([(["i1"], None)] * sessions)

    for _ in range(3):
        ask()
    before = resident()
    for _ in range(20):
        ask()
    assert resident() - before < 5


def test_the_lines_of_the_docs_load_a_model_without_mlflow(tmp_path):
    model = create("cooccurrence", OPTIONS)
    model.fit(SessionLog.from_lists([["214821026", "214821371"], ["214821371", "other"]] * 5))
    export_artifact(model, tmp_path / "model" / "artifacts")
    (lines,) = [block for block in blocks(ROOT / "docs" / "models.md", "python") if "checkout_model" in block]
    script = (
        f"{lines}\nassert items == ['other'], items\nassert not {{'mlflow', 'pandas'}} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_k_and_exclusions_change_the_list(counted):
    items, scores = counted.recommend(["i1", "i2"])
    assert counted.recommend(["i1", "i2"], k=3) == (items[:3], scores[:3])
    left_out = counted.recommend(["i1", "i2"], exclude=[items[0], "never seen", None])[0]
    assert items[0] not in left_out
    assert not {"i1", "i2"} & set(counted.recommend(["i1", "i2"], k=40, exclude_seen=True)[0])
    assert len(counted.recommend(["i1"], k=1000)[0]) == 40
    with pytest.raises(ValueError, match="received 0"):
        counted.recommend(["i1"], k=0)


def test_eight_threads_get_the_answers_of_one(tmp_path):
    light = packed(trained("gru"), tmp_path)
    sessions = [([f"i{start}", f"i{(start + 1) % 40}"], None) for start in range(40)]
    expected = [light.recommend(session) for session, _ in sessions]
    failures = []

    def ask():
        for turn in range(20):
            several = turn % 5 + 1
            for at in range(0, len(sessions), several):
                answers = light.recommend_all(sessions[at : at + several])
                for (items, scores), (theirs, their_scores) in zip(answers, expected[at:], strict=False):
                    if items != theirs or not np.allclose(scores, their_scores, atol=1e-5):
                        failures.append((items, theirs))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_a_model_answers_in_a_forked_process(tmp_path):
    light = packed(trained("attention"), tmp_path)
    expected = light.recommend(["i1"])
    child = os.fork()
    if not child:
        os._exit(0 if light.recommend(["i1"]) == expected else 1)
    assert os.waitpid(child, 0)[1] == 0
