"""Keys are made once, for their owner only, outside the lake."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from lastaisle.privacy.keys import ENVIRONMENT, KeyFileError, PseudonymKeys


def load(path, **given) -> PseudonymKeys:
    return PseudonymKeys.load_or_create(path, **({"environ": {}} | given))


def test_the_file_is_made_on_first_use_for_its_owner_only(tmp_path):
    path = tmp_path / "keys" / "pseudonym.json"
    keys = load(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o077 == 0
    assert len(keys.key) == 32
    assert load(path).key == keys.key
    assert [entry.name for entry in path.parent.iterdir()] == ["pseudonym.json"]


def test_two_processes_at_once_get_one_key(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        keys = {found.key for found in pool.map(lambda _: load(tmp_path / "keys.json"), range(16))}
    assert len(keys) == 1


def test_two_installations_differ(tmp_path):
    assert load(tmp_path / "a.json").key != load(tmp_path / "b.json").key


def test_the_lake_holds_no_key(tmp_path):
    with pytest.raises(KeyFileError, match="inside the lake"):
        load(tmp_path / "lake" / "keys.json", lake_url=str(tmp_path / "lake"))
    assert not (tmp_path / "lake").exists()


def test_rotation_keeps_the_old_keys(tmp_path):
    first = load(tmp_path / "keys.json")
    second = first.rotate()
    assert (second.current, second.versions[1]) == (2, first.key)
    assert second.key != first.key
    again = load(tmp_path / "keys.json")
    assert (again.current, dict(again.versions)) == (2, dict(second.versions))
    assert (tmp_path / "keys.json").stat().st_mode & 0o777 == 0o600


def test_the_environment_goes_before_the_file(tmp_path):
    keys = load(tmp_path / "keys.json", environ={ENVIRONMENT: "3:" + "ab" * 32})
    assert (keys.current, keys.key) == (3, b"\xab" * 32)
    assert load(tmp_path / "keys.json", environ={ENVIRONMENT: "ab" * 32}).current == 1
    assert not (tmp_path / "keys.json").exists()
    with pytest.raises(KeyFileError, match="set it to 4:"):
        keys.rotate()


def test_two_rotations_at_once_never_give_one_version_to_two_keys(tmp_path):
    """Otherwise the events of the first would be made by a key that no file holds."""
    keys = load(tmp_path / "keys.json")
    first = keys.rotate()
    with pytest.raises(KeyFileError, match="another process changed the key file"):
        keys.rotate()
    assert load(tmp_path / "keys.json").key == first.key


def test_a_new_version_is_above_all_that_events_have(tmp_path):
    assert load(tmp_path / "keys.json").rotate(above=7).current == 8


def test_a_fingerprint_tells_keys_apart_and_holds_none(tmp_path):
    first = load(tmp_path / "keys.json")
    second = first.rotate()
    assert first.fingerprint() == second.fingerprint(1) != second.fingerprint()
    assert len(first.fingerprint()) == 12
    assert first.fingerprint() not in first.key.hex()


def test_loading_makes_no_file(tmp_path):
    assert PseudonymKeys.load(tmp_path / "keys.json", environ={}) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["secret", "ab" * 31, "x:" + "ab" * 32, "0:" + "ab" * 32, "ab" * 31 + "zz"])
def test_a_key_of_the_environment_that_is_none_is_refused_without_showing_it(tmp_path, text):
    with pytest.raises(KeyFileError) as raised:
        load(tmp_path / "keys.json", environ={ENVIRONMENT: text})
    assert text not in str(raised.value)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"current": 1, "keys": {}}',
        '{"current": 1, "keys": {"1": "zz"}}',
        '{"current": 1, "keys": {"1": "ab"}}',
    ],
)
def test_a_damaged_file_is_refused(tmp_path, content):
    path = tmp_path / "keys.json"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="restore it"):
        load(path)


def test_a_file_that_others_may_read_is_refused(tmp_path):
    path = tmp_path / "keys.json"
    load(path)
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        load(path)
    assert json.loads(path.read_text())["current"] == 1
