"""The metrics of the privacy budget."""

import math

import pytest

from lastaisle.lake import Lake
from lastaisle.monitor.metrics.privacy import read_budget
from lastaisle.privacy.budget.spent import record
from lastaisle.settings import Settings
from models.private.accounting import epsilon_of
from tests.privacy.budget.made import NOW, WEAK, spending


def values(lake, **given):
    samples = read_budget(lake, Settings.of(**given).privacy, NOW)
    return {(one.family.name.removeprefix("lastaisle_privacy_"), *one.labels): one.value for one in samples}


def test_what_was_spent_and_what_may_be(tmp_path):
    lake = Lake(tmp_path / "lake")
    without = {("trainings", "with"): 0, ("trainings", "without"): 0}
    assert values(lake) == without
    record(lake, spending("a", mechanism=WEAK))
    assert values(lake, privacy_epsilon=4) == {
        **without,
        ("trainings", "with"): 1,
        ("epsilon_budget",): 4,
        ("epsilon", "shopper"): pytest.approx(epsilon_of([WEAK], 1e-6).rdp),
    }


def test_a_spent_delta_has_no_bound(tmp_path):
    from models.private.mechanism import Mechanism, Release

    lake = Lake(tmp_path / "lake")
    leaky = Mechanism("session", 1.0, 4.0, 1, 1.0, 9, (Release("counts", 9.0, 1e-5),))
    record(lake, spending("a", mechanism=leaky))
    assert math.isinf(values(lake)["epsilon", "session"])
