"""The versions on a service's disk: kept while they are used, pruned otherwise."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from lastaisle.serve.following.cache import KEPT, VersionCache, VersionInfo


def info(number, **changes):
    return VersionInfo(**{"name": "m", "version": str(number), "run_id": "r", "created": 1} | changes)


def fill(folder):
    folder.mkdir()
    (folder / "model").write_text(folder.parent.name)
    return "the digest"


def added(cache, number):
    found = cache.add(info(number), fill)
    os.utime(found.folder.parent, (1_000_000 + number, 1_000_000 + number))
    return found


def names(folder):
    return sorted(path.name.partition("-")[0] for path in (folder / "versions").iterdir())


def test_a_version_is_found_again(tmp_path):
    cache = VersionCache(tmp_path)
    assert cache.open(info(1).key) is None
    found = cache.add(info(1), fill)
    os.close(found.lock)
    again = VersionCache(tmp_path).open(info(1).key)
    assert (again.info, again.digest, again.folder) == (info(1), "the digest", found.folder)
    os.close(again.lock)


def test_the_same_number_of_another_mlflow_is_another_version():
    keys = {
        info(1, **change).key
        for change in ({}, {"run_id": "s"}, {"created": 2}, {"name": "n"}, {"digest": "d"}, {"version": "2"})
    }
    assert len(keys) == 6


def test_the_versions_that_were_used_last_stay_and_those_in_use(tmp_path):
    cache = VersionCache(tmp_path)
    cache.note("m@champion", info(KEPT + 3).key)
    held = added(cache, 1)
    for number in range(2, KEPT + 4):
        os.close(added(cache, number).lock)
    cache.prune()
    assert names(tmp_path) == sorted(["1", *(str(number) for number in range(4, KEPT + 4))])
    os.close(held.lock)
    cache.prune()
    assert names(tmp_path) == sorted(str(number) for number in range(4, KEPT + 4))


def test_the_version_that_a_follower_starts_with_stays(tmp_path):
    cache = VersionCache(tmp_path)
    for number in range(1, KEPT + 4):
        os.close(added(cache, number).lock)
    cache.note("m@champion", info(1).key)
    cache.note("m@online", info(KEPT + 3).key)
    (tmp_path / "following" / "damaged.json").write_text("{")
    cache.prune()
    assert names(tmp_path) == sorted(["1", *(str(number) for number in range(4, KEPT + 4))])


def test_a_lock_ends_with_the_process_that_was_killed(tmp_path):
    VersionCache(tmp_path).note("m@champion", info(2).key)
    for number in range(1, KEPT + 2):
        os.close(added(VersionCache(tmp_path), number).lock)
    script = """
import os, signal, sys
from pathlib import Path
from lastaisle.serve.following.cache import VersionCache
found = VersionCache(Path(sys.argv[1])).open(sys.argv[2])
os.utime(found.folder.parent, (1, 1))
VersionCache(Path(sys.argv[1])).prune()
print(found.folder.exists(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    command = [sys.executable, "-c", script, str(tmp_path), info(1).key]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    assert done.stdout == "True\n"
    VersionCache(tmp_path).prune()
    assert "1" not in names(tmp_path)


def test_an_addition_that_fails_leaves_nothing(tmp_path):
    def fail(folder):
        fill(folder)
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        VersionCache(tmp_path).add(info(1), fail)
    assert VersionCache(tmp_path).open(info(1).key) is None
    assert not any((tmp_path / "fetching").iterdir())


def test_a_version_that_another_process_added_meanwhile_is_used(tmp_path):
    cache, other = VersionCache(tmp_path), VersionCache(tmp_path)

    def fill_late(folder):
        os.close(other.add(info(1), fill).lock)
        return fill(folder)

    found = cache.add(info(1), fill_late)
    assert found.digest == "the digest"
    assert names(tmp_path) == ["1"]
    os.close(found.lock)


def test_each_follower_has_a_note_of_its_own(tmp_path):
    cache = VersionCache(tmp_path)
    assert cache.noted("m@champion") is None
    cache.note("m@champion", info(1).key)
    cache.note("m@online", info(2).key)
    cache.note("m@champion", info(3).key)
    assert (cache.noted("m@champion"), cache.noted("m@online")) == (info(3).key, info(2).key)
