"""The values that hyperparameters can have."""

from dataclasses import fields

import pytest

from models.options import BOUNDS, OptionsError, TrainingOptions
from models.search_space import SEARCH_SPACES, Between


def test_every_number_has_bounds():
    numbers = {field.name for field in fields(TrainingOptions) if field.type != "str"}
    assert set(BOUNDS) == numbers


@pytest.mark.parametrize("name", BOUNDS)
def test_a_number_outside_its_bounds_is_refused_with_the_bounds(name):
    bounds, whole = BOUNDS[name], isinstance(getattr(TrainingOptions(), name), int)
    step = 1 if whole else 1e-9
    least = bounds.low + step if bounds.above else bounds.low
    most = bounds.high - step if bounds.below else bounds.high
    for value in (least, most):
        assert getattr(TrainingOptions(**{name: value}), name) == value
    for value in (bounds.low if bounds.above else bounds.low - step, bounds.high * 10, -(10**9)):
        with pytest.raises(OptionsError, match=f"^{name} cannot be .*: it is .* {bounds.low:,} and .*"):
            TrainingOptions(**{name: value})


def test_the_bounds_are_named_as_people_say_them():
    with pytest.raises(OptionsError) as refused:
        TrainingOptions(embedding_size=100_000_000)
    assert str(refused.value) == "embedding_size cannot be 100000000: it is at least 1 and at most 4,096"
    with pytest.raises(OptionsError, match=r"learning_rate cannot be 0: it is more than 0 and at most 10$"):
        TrainingOptions(learning_rate=0)


def test_the_search_stays_within_the_bounds():
    for space in SEARCH_SPACES.values():
        for name, values in space.items():
            tried = (values.low, values.high) if isinstance(values, Between) else values.values
            for value in tried:
                TrainingOptions(**{name: value})
