"""A stored model is read whole or not at all: each damage is named, with the file that has it."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from models.by_name import create, load
from models.data.sequences import SessionLog
from models.stored import DamagedModelError, ModelError, digest_of, read_arrays

LOG = SessionLog.from_lists([["a", "b", "c"], ["b", "c", "d"]] * 5)


@pytest.fixture
def saved(tmp_path):
    model = create("cooccurrence")
    model.fit(LOG)
    model.save(tmp_path)
    return tmp_path


def as_an_older_release_saved_it(folder):
    (folder / "manifest.json").unlink()
    description = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(description | {"format": 1}))


def truncate(file):
    file.write_bytes(file.read_bytes()[:-40])


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def shorten_vocabulary(folder):
    file = folder / "vocabulary.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps({name: values[:-1] for name, values in content.items()}))


def reverse_vocabulary(folder):
    file = folder / "vocabulary.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"items": content["items"][::-1]}))


DAMAGES = {
    "truncated state": (lambda folder: truncate(folder / "state.npz"), "state.npz"),
    "flipped bit": (lambda folder: flip(folder / "state.npz"), "state.npz"),
    "empty state": (lambda folder: (folder / "state.npz").write_bytes(b""), "state.npz"),
    "no state": (lambda folder: (folder / "state.npz").unlink(), "state.npz"),
    "truncated vocabulary": (lambda folder: truncate(folder / "vocabulary.json"), "vocabulary.json"),
    "no vocabulary": (lambda folder: (folder / "vocabulary.json").unlink(), "vocabulary.json"),
    "short vocabulary": (shorten_vocabulary, "vocabulary"),
    "truncated description": (lambda folder: truncate(folder / "model.json"), "model.json"),
    "description of nothing": (
        lambda folder: (folder / "model.json").write_text('{"format": 1}'),
        "model.json",
    ),
    "description that is a list": (lambda folder: (folder / "model.json").write_text("[1]"), "model.json"),
}


@pytest.mark.parametrize("is_older", [False, True])
@pytest.mark.parametrize("damage", DAMAGES)
def test_each_damage_is_named_with_its_file(saved, damage, is_older):
    if is_older:
        as_an_older_release_saved_it(saved)
    change, file = DAMAGES[damage]
    change(saved)
    with pytest.raises(DamagedModelError, match=file):
        load(saved)


def test_a_reversed_vocabulary_is_named_by_the_manifest(saved):
    reverse_vocabulary(saved)
    with pytest.raises(DamagedModelError, match=r"vocabulary\.json has changed: expected the SHA-256"):
        load(saved)


def test_a_model_of_an_older_release_is_read(saved):
    before = load(saved).arrays()
    as_an_older_release_saved_it(saved)
    assert {name: list(array) for name, array in load(saved).arrays().items()} == {
        name: list(array) for name, array in before.items()
    }


def resave(folder, **changes):
    arrays = read_arrays(folder / "state.npz")
    arrays |= changes
    np.savez(folder / "state.npz", **{name: array for name, array in arrays.items() if array is not None})


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_named_with_their_array(saved, wrong):
    as_an_older_release_saved_it(saved)
    resave(saved, weight=np.array([1.0, wrong, 2.0]))
    with pytest.raises(DamagedModelError, match=r"state\.npz: the array 'weight' .* 1 of 3 are NaN"):
        load(saved)


def test_arrays_that_do_not_fit_the_vocabulary_are_named(saved):
    as_an_older_release_saved_it(saved)
    resave(saved, first=np.array([1, 9], np.int32))
    with pytest.raises(DamagedModelError, match=r"'first' should hold indices .* from 0 to 4; received 9"):
        load(saved)


@pytest.mark.training
@pytest.mark.parametrize(
    ("name", "array"),
    [("attention", "table"), ("factorization", "items"), ("ncf", "items"), ("hybrid", "items/seen")],
)
def test_each_model_with_a_row_for_each_item_checks_its_rows(name, array, tmp_path):
    from models.options import TrainingOptions

    model = create(name, TrainingOptions(embedding_size=4, epochs=1))
    model.fit(LOG)
    model.save(tmp_path)
    assert load(tmp_path).recommend([["a"]]) == model.recommend([["a"]])
    as_an_older_release_saved_it(tmp_path)
    whole = read_arrays(tmp_path / "state.npz")[array]
    resave(tmp_path, **{array: whole[:-1]})
    with pytest.raises(DamagedModelError, match=f"'{array}' should have 5 rows.*received 4"):
        load(tmp_path)
    resave(tmp_path, **{array: None})
    with pytest.raises(DamagedModelError, match=r"state\.npz does not hold the state"):
        load(tmp_path)


@pytest.mark.training
def test_a_damaged_member_of_an_ensemble_is_named(tmp_path):
    from models.options import TrainingOptions

    model = create("ensemble", TrainingOptions(members="cooccurrence+neighbours"))
    model.fit(LOG)
    model.save(tmp_path)
    load(tmp_path)
    members = (tmp_path / "members.json").read_text()
    for damaged in ("{", "[1]", '["one", "two", "three"]'):
        (tmp_path / "members.json").write_text(damaged)
        with pytest.raises(DamagedModelError, match=r"members\.json has changed"):
            load(tmp_path)
    (tmp_path / "members.json").write_text(members)
    flip(tmp_path / "member-1" / "state.npz")
    with pytest.raises(DamagedModelError, match=r"member-1/state\.npz"):
        load(tmp_path)


KILLED = """
import os, sys
from pathlib import Path
import models.data.vocabulary, models.stored, numpy
from models.by_name import load
model = load(Path(sys.argv[1]))
module, _, name = sys.argv[2].rpartition(".")
owner = eval(module)
whole = getattr(owner, name)
def killed(*arguments, **named):
    if sys.argv[3] == "after":
        whole(*arguments, **named)
    os._exit(9)
setattr(owner, name, killed)
import models.recommender
for place in (models.recommender,):
    if hasattr(place, name):
        setattr(place, name, killed)
model.vocabulary = model.vocabulary.grow(["new"])
model.save(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    "step",
    ["models.stored.write_description", "models.data.vocabulary.Vocabulary.save", "numpy.savez"],
)
@pytest.mark.parametrize("is_older", [False, True])
def test_a_save_that_was_killed_is_never_read_as_whole(saved, step, when, is_older):
    if is_older:
        as_an_older_release_saved_it(saved)
    before = digest_of(saved)
    done = subprocess.run([sys.executable, "-c", KILLED, str(saved), step, when], check=False, env=os.environ)
    assert done.returncode == 9
    if digest_of(saved) == before:
        assert "new" not in load(saved).vocabulary
    else:
        with pytest.raises(ModelError, match="not saved to its end"):
            load(saved)


def test_the_digest_counts_names_and_contents_and_nothing_that_mlflow_adds_later(saved):
    before = digest_of(saved)
    (saved / "registered_model_meta").write_text("model_version: '1'")
    assert digest_of(saved) == before
    (saved / "extra.pyc").write_bytes(b"")
    assert digest_of(saved) != before
    (saved / "extra.pyc").unlink()
    (saved / "state.npz").rename(saved / "other.npz")
    assert digest_of(saved) != before


def test_sha256sum_prints_the_same_digest(saved):
    (saved / "folder").mkdir()
    (saved / "folder" / "file").write_text("x")
    files = r"find . -type f ! -name registered_model_meta -printf '%P\n' | LC_ALL=C sort"
    command = f"{files} | xargs sha256sum | sha256sum"
    shown = subprocess.run(command, shell=True, cwd=saved, capture_output=True, text=True, check=True)
    assert shown.stdout.split()[0] == digest_of(saved)
