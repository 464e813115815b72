import json

import pytest

from models.private.mechanism import Mechanism, MechanismError, Release

MECHANISM = Mechanism("shopper", 0.01, 1.1, 500, 0.5, 1200, (Release("counts of items", 20.0, 1e-8),))


def test_a_mechanism_survives_json():
    assert Mechanism.from_dict(json.loads(json.dumps(MECHANISM.to_dict()))) == MECHANISM


def test_a_mechanism_without_steps_needs_no_noise_of_steps():
    counted = Mechanism("session", 1.0, 0.0, 0, 1.0, 10, (Release("counts of items", 2.0),))
    assert Mechanism.from_dict(counted.to_dict()) == counted


def test_the_delta_of_a_mechanism_is_that_of_its_releases():
    assert MECHANISM.delta == 1e-8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"unit": "shop"}, "unit cannot be 'shop'"),
        ({"sampling_rate": 1.5}, "sampling_rate cannot be 1.5"),
        ({"noise_multiplier": 0.0}, "noise_multiplier cannot be 0.0"),
        ({"noise_multiplier": float("nan")}, "noise_multiplier cannot be nan"),
        ({"clip": -1.0}, "clip cannot be -1.0"),
        ({"steps": -1}, "steps and shoppers cannot be -1"),
        ({"releases": [{"name": "x", "noise_multiplier": 0.0}]}, "of a release cannot be 0.0"),
        ({"releases": [{"name": "x", "noise_multiplier": 1.0, "delta": 1.0}]}, "delta of a release"),
        ({"colour": 3}, "describes no private training"),
    ],
)
def test_a_mechanism_that_cannot_be_true_is_refused(changes, message):
    with pytest.raises(MechanismError, match=message):
        Mechanism.from_dict({**MECHANISM.to_dict(), **changes})


def test_a_missing_field_is_refused_and_not_taken_for_none():
    values = MECHANISM.to_dict()
    del values["steps"]
    with pytest.raises(MechanismError, match="steps"):
        Mechanism.from_dict(values)
