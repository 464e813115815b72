"""An agreement travels whole, and one that cannot be trained by is refused with its reason."""

import json

import pytest

from models.federated.agreement import Agreement, AgreementError


def agreement(**changes):
    return Agreement("gru", {"embedding_size": 8}, ("a", "b"), **changes)


def test_an_agreement_is_read_as_it_was_written():
    made = agreement(rounds=3, aggregation="trimmed", window_start="2025-10-06T00:00:00+00:00")
    assert Agreement.from_json(made.to_json()) == made


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"rounds": 0}, "rounds cannot be 0"),
        ({"aggregation": "median"}, "aggregation cannot be 'median'"),
        ({"clip": float("nan")}, "clip cannot be nan"),
        ({"noise": -1.0}, "noise cannot be -1.0"),
        ({"momentum": "much"}, "momentum cannot be 'much'"),
        ({"aggregation": "trimmed", "hostile": 2, "min_silos": 4}, "at least 5"),
        ({"aggregation": "krum", "hostile": 2, "min_silos": 3}, "at least 4"),
        (
            {"aggregation": "secure", "min_silos": 2},
            "min_silos cannot be 2 with aggregation secure: it is at least 3",
        ),
    ],
)
def test_a_value_that_cannot_be_trained_by_is_refused(changes, reason):
    with pytest.raises(AgreementError, match=reason):
        agreement(**changes)


def test_an_epsilon_is_refused_since_nobody_counts_what_the_rounds_spend():
    with pytest.raises(AgreementError, match=r"epsilon cannot be 2 in a federated.*--set epsilon=null"):
        Agreement("gru", {"epsilon": 2.0, "delta": 1e-6}, ("a",))
    assert Agreement("gru", {"epsilon": None}, ("a",)).training_options().epsilon is None


def test_an_agreement_needs_items():
    with pytest.raises(AgreementError, match="items cannot be empty"):
        Agreement("gru", {}, ())


@pytest.mark.parametrize(
    ("text", "reason"),
    [("{", "no JSON"), ("[]", "no JSON object"), (json.dumps({"shell": "rm"}), "shell")],
)
def test_a_text_that_is_no_agreement_is_refused(text, reason):
    with pytest.raises(AgreementError, match=reason):
        Agreement.from_json(text)
