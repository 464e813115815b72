"""An apply that ends at any commit is run again, and the table is the same."""

from __future__ import annotations

import pytest

from lastaisle.experiments.traffic import read_traffic
from lastaisle.lake import Lake

from .defining import NOW, Shop, experiment


class KilledError(BaseException):
    """Ends a run as SIGKILL would: nothing catches it."""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_apply_that_ends_at_any_commit_is_made_good(tmp_path, monkeypatch, when, number):
    shops = [Shop(tmp_path / name) for name in ("calm", "disturbed")]
    for shop in shops:
        shop.write(experiment("a", "buckets: [0, 3000]"), "a.yaml")
        shop.apply()
        shop.write(experiment("a", "kill: true"), "a.yaml")
        shop.write(experiment("b", "buckets: [3000, 6000]"), "b.yaml")
        shop.write(experiment("c", "buckets: [6000, 9000]"), "c.yaml")
    calm, disturbed = shops
    calm.apply()
    real, commits = Lake.append, 0

    def deadly(*given, **options):
        nonlocal commits
        commits += 1
        if (when, commits) == ("before", number):
            raise KilledError
        written = real(*given, **options)
        if (when, commits) == ("after", number):
            raise KilledError
        return written

    monkeypatch.setattr(Lake, "append", deadly)
    with pytest.raises(KilledError):
        disturbed.apply()
    monkeypatch.setattr(Lake, "append", real)
    disturbed.apply(NOW)
    assert read_traffic(disturbed.lake).moves == read_traffic(calm.lake).moves
    assert len(disturbed.moves()) == 4
