"""The id of a list says how the list was made and in which trial, to Python and to SQL alike."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastaisle.feedback.origin import (
    MAX_ID,
    TrialLabel,
    arm_propensity_sql,
    arm_sql,
    choice_sql,
    context_sql,
    context_value,
    experiment_sql,
    is_ours_sql,
    list_id,
    origin_of,
    policy_sql,
    propensity_sql,
    refuses_sql,
    version_sql,
)

DIGITS = "0123456789abcdef01234567"
NAMES = st.from_regex("[a-z0-9][a-z0-9_-]{0,23}", fullmatch=True)
PROBABILITIES = st.floats(1e-8, 1)
CONTEXTS = st.lists(st.text("abXZ019_-", max_size=16), min_size=1, max_size=4).map(tuple)
BANDIT_LABELS = st.builds(TrialLabel, NAMES, NAMES, PROBABILITIES, CONTEXTS, NAMES)
LABELS = st.none() | st.builds(TrialLabel, NAMES, NAMES, PROBABILITIES) | BANDIT_LABELS
READERS = {
    "ours": is_ours_sql,
    "version": version_sql,
    "policy": policy_sql,
    "experiment": experiment_sql,
    "arm": arm_sql,
    "propensity": propensity_sql,
    "arm_propensity": arm_propensity_sql,
    "context": context_sql,
    "choice": choice_sql,
    "refuses": refuses_sql,
}
_QUERY = f"SELECT {', '.join(read('$list') for read in READERS.values())}"


def read_by_sql(listed: str) -> dict[str, Any]:
    with duckdb.connect() as connection:
        found = connection.execute(_QUERY, {"list": listed}).fetchone()
    assert found
    return dict(zip(READERS, found, strict=True))


@settings(deadline=None)
@given(
    st.text("7v.-m~", min_size=1, max_size=20),
    st.sampled_from(["model", "popular"]),
    LABELS,
    st.booleans(),
)
def test_python_and_sql_read_what_was_written(version, policy, label, is_drawn):
    listed = list_id(version, policy, DIGITS, consent=True, is_drawn=is_drawn, label=label)
    origin = origin_of(listed)
    assert (origin.version, origin.policy, origin.consent) == (version, policy, True)
    found = read_by_sql(listed)
    assert (found["ours"], found["version"], found["policy"], found["refuses"]) == (
        True, version, policy, False,
    )  # fmt: skip
    if label is None:
        assert origin.label is None
        assert {found[name] for name in ("experiment", "arm", "arm_propensity", "context", "choice")} == {
            None
        }
        assert origin.propensity == (None if is_drawn else 1.0)
        return
    assert (origin.label.experiment, origin.label.arm) == (label.experiment, label.arm)
    assert (origin.label.context, origin.label.choice) == (label.context, label.choice)
    assert origin.label.propensity == pytest.approx(label.propensity, abs=5.1e-9)
    assert origin.propensity == (None if is_drawn else origin.label.propensity)
    assert (found["experiment"], found["arm"], found["choice"]) == (
        label.experiment, label.arm, label.choice,
    )  # fmt: skip
    assert found["context"] == (None if label.context is None else ".".join(label.context))
    assert float(found["arm_propensity"]) == origin.label.propensity
    assert found["propensity"] == (None if is_drawn else found["arm_propensity"])


@pytest.mark.parametrize(
    "end",
    [
        "~demo",
        "~demo~new",
        "~demo~new~0",
        "~demo~new~0.0",
        "~demo~new~1.5",
        "~demo~new~0.5~mobile",
        "~demo~new~0.5~mobile~",
        "~Demo~new~0.5",
        "~demo~new~0.5\n",
        f"~{'d' * 25}~new~0.5",
        f"~demo~new~0.5~{'m' * 17}~new",
        "~demo~new~0.5~~new~more",
        "~",
    ],
)
def test_an_id_with_another_end_is_none_of_ours(end):
    listed = f"7-m-{DIGITS}{end}"
    assert origin_of(listed) is None
    found = read_by_sql(listed)
    assert found.pop("ours") is False
    assert found.pop("refuses") is False
    assert set(found.values()) == {None}


def test_a_list_without_consent_has_no_trial_and_ids_of_before_go_on():
    assert list_id("7", "model", DIGITS, consent=False, is_drawn=False) == f"7-n-{DIGITS}"
    assert read_by_sql(f"7-n-{DIGITS}")["refuses"] is True
    assert read_by_sql(f"7-p-{DIGITS}")["propensity"] == "1.0"
    assert origin_of(f"7-r-{DIGITS}").propensity is None


def test_a_bandit_without_context_has_an_empty_context():
    listed = list_id(
        "7", "model", DIGITS, consent=True, is_drawn=False, label=TrialLabel("b", "x", 0.5, ("",), "y")
    )
    assert listed.endswith("~b~x~0.5~~y")
    found = read_by_sql(listed)
    assert (found["context"], found["choice"]) == ("", "y")


@given(st.none() | st.text(max_size=40) | st.integers() | st.floats())
def test_a_value_of_context_fits_an_id(value):
    text = context_value(value)
    label = TrialLabel("b", "x", 0.5, (text, text), "y")
    listed = list_id("7", "model", DIGITS, consent=True, is_drawn=False, label=label)
    assert origin_of(listed).label == label
    assert len(listed) <= MAX_ID
