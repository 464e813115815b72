"""The results of runs in one sentence each."""

import json

import pytest

from lastaisle_airflow.tasks import sentences

ROWS = {"rows_in": 13600, "rows_clean": 13581, "rows_quarantined": 0, "rows_duplicate": 0, "rows_late": 0}
MOVE = {
    "version": "7",
    "promoted": True,
    "step": "champion",
    "metric": "recall@20",
    "value": 0.6688,
    "champion_value": 0.636,
    "rule": "",
    "reasons": ["v7 beats the popularity baseline. The lower end has to lie above 0."],
}


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({}, "13,581 rows clean, 0 quarantined"),
        ({"rows_clean": 1, "rows_quarantined": 2}, "1 row clean, 2 quarantined"),
        ({"rows_late": 12, "rows_duplicate": 3}, "13,581 rows clean, 0 quarantined, 12 late, 3 duplicate"),
    ],
)
def test_rows(changed, sentence):
    assert sentences.of_rows(ROWS | changed) == sentence


def test_an_ingestion_tells_what_it_did_not_take_in():
    taken_in = {"chains": 1, "counts": ROWS}
    assert sentences.of_ingestion(taken_in, 0, {}, []) == "13,581 rows clean, 0 quarantined"
    assert sentences.of_ingestion(taken_in, 1, {"/x": "closed"}, ["a", "b"]) == (
        "13,581 rows clean, 0 quarantined; 1 source not taken in; 1 place not readable; 2 gaps in Kafka"
    )
    assert sentences.of_ingestion({"chains": 0}, 2, {}, []) == "no rows taken in; 2 sources not taken in"


def test_exposures():
    report = {"counts": ROWS | {"rows_clean": 120}, "failed": {}}
    assert sentences.of_exposures(["a"], [report], {}, []) == "120 rows of exposures clean, 0 quarantined"
    broken = report | {"failed": {"b.gz": "no gzip"}}
    told = sentences.of_exposures(["a", "b"], [broken], {"b.gz": "no gzip", "/x": "closed"}, [])
    assert told.endswith("; 1 source not taken in; 2 places not readable")


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({}, "v7 promoted, recall@20 0.669 against 0.636"),
        ({"champion_value": None}, "v7 promoted as the first champion, recall@20 0.669"),
        ({"step": "canary"}, "v7 passed the gate and is canary, recall@20 0.669 against 0.636"),
        (
            {"step": ""},
            "v7 passed the gate, recall@20 0.669 against 0.636, but another version serves since",
        ),
        (
            {"promoted": False, "rule": "not_worse_than_champion", "value": 0.19},
            "v7 refused: recall@20 0.190 against 0.636",
        ),
        (
            {"promoted": False, "rule": "enough_targets", "reasons": ["40 targets are too few (200). Wait."]},
            "v7 refused, recall@20 0.669 against 0.636: 40 targets are too few (200)",
        ),
    ],
)
def test_releases(changed, sentence):
    assert sentences.of_release(MOVE | changed) == sentence


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({}, "rolled back: v8 to v7: CTR fell"),
        ({"dry_run": True, "moved": False}, "dry run: v8 to v7 would be the move, nothing moved"),
        ({"from_version": "7", "moved": False}, "v7 is champion already: nothing moved"),
        ({"from_version": None}, "rolled back: v7: CTR fell"),
        ({"moved": False}, "nothing moved, v7 was champion already"),
    ],
)
def test_rollbacks(changed, sentence):
    report = {"from_version": "8", "to_version": "7", "dry_run": False, "moved": True, "reason": "CTR fell"}
    assert sentences.of_rollback(report | changed) == sentence


KEPT, OPEN, BROKEN = ({"rule": "conversion", "verdict": verdict} for verdict in ("passed", "open", "broken"))


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({}, "v7 serves, 2 guardrails kept"),
        ({"guardrails": [KEPT, OPEN]}, "v7 serves, 1 guardrail kept, 1 without enough figures"),
        (
            {"guardrails": [KEPT, BROKEN], "held_back": "two rollbacks a day are enough."},
            "v7 serves, broken: conversion, but held back: two rollbacks a day are enough",
        ),
        ({"unjudged": "no hour is complete yet."}, "v7 serves, not judged: no hour is complete yet"),
        ({"version": None, "unjudged": "no figures yet."}, "not judged: no figures yet"),
        ({"rolled_back": "conversion fell"}, "rolled back, v7 serves: conversion fell"),
        (
            {"steps": [{"step": "canary", "version": "9", "outcome": "go_on"}]},
            "v7 serves, 2 guardrails kept; canary v9 takes its next step",
        ),
    ],
)
def test_guardrails(changed, sentence):
    report = {"version": "7", "rolled_back": None, "steps": [], "held_back": "", "unjudged": ""}
    assert sentences.of_watch(report | {"guardrails": [KEPT, KEPT]} | changed) == sentence


def test_plans():
    window = {"start": "2025-09-29T16:00:00+00:00", "end": "2025-10-01T16:00:00+00:00"}
    plan = {"architecture": "gru", "window": window, "holdout_end": "2025-10-02T00:00:00+00:00"}
    hours = "2025-09-29T16:00 to 2025-10-01T16:00"
    judged = "the hours up to 2025-10-02T00:00 judge"
    told = sentences.of_plan(plan | {"warm_start_version": "7"})
    assert told == f"gru learns {hours} from v7, {judged}"
    told = sentences.of_plan(plan | {"warm_start_version": None})
    assert told == f"gru learns {hours} from scratch, {judged}"


def test_drift():
    report = {"day": "2025-10-09", "alarmed": 0, "compared": 41}
    assert sentences.of_drift(report) == "nothing drifted in 41 comparisons of 2025-10-09"
    told = sentences.of_drift(report | {"alarmed": 3, "first": "prices rose by 31 %: PSI 0.34"})
    assert told == "3 of 41 comparisons of 2025-10-09 drifted: prices rose by 31 %: PSI 0.34"


def test_outcomes_and_figures():
    report = {"days": ["2025-10-09"], "exposures": 1200, "clicks": 90, "adds": 20, "orders": 1}
    assert sentences.of_outcomes(report) == (
        "1,200 exposures, 90 clicks, 20 additions to the cart, 1 order on 1 day"
    )
    assert sentences.of_metrics({"changed_days": ["a", "b"]}) == "figures of 2 days changed"


def test_abandonment_catalogue_and_online_updates():
    burst = {"sessions": 12, "reasons": {"abandoned": 8, "no_order": 4}}
    assert sentences.of_abandonment(burst) == "12 checkouts abandoned (abandoned 8, no_order 4)"
    report = {"rows_clean": 1204, "items_removed": 3, "rows_quarantined": 0, "failed": {}}
    assert sentences.of_catalogue(report) == "1,204 items changed, 3 removed, 0 quarantined"
    assert sentences.of_catalogue(report | {"failed": {"a": "b"}}).endswith("; 1 file left out")
    online = {"champion": "7", "sessions": 320, "items_moved": 45, "new_items": 2}
    assert sentences.of_online(online) == "v7 learned 320 sessions online, 45 items moved, 2 of them new"
    assert "no session ended" in sentences.of_online(online | {"sessions": 0})


def test_bandits_and_experiments_name_three_and_count_the_others():
    bandit = {"name": "rails", "problem": "", "share": 0.4, "changed": True, "lists": 1200}
    assert sentences.of_bandits([bandit]) == "rails: 40% of lists by its policy, learned from 1,200 lists"
    assert sentences.of_bandits([bandit | {"changed": False}] * 5).endswith("nothing new; and 2 more")
    assert sentences.of_bandits([bandit | {"problem": "no arms"}]) == "rails: no arms"
    found = {"name": "gru", "state": "decided", "reason": "B wins: CTR +4 %. It ends.", "problem": None}
    assert sentences.of_experiments([found]) == "gru decided: B wins: CTR +4 %"
    applied = [{"name": "gru", "outcome": "started"}, {"name": "old", "outcome": "as before"}]
    refused = [{"name": None, "file": "x.yaml"}]
    assert sentences.of_definitions({"applied": applied, "refused": refused}) == "gru started; x.yaml refused"
    assert sentences.of_definitions({"applied": applied[1:], "refused": []}) == ""


def test_maintenance():
    report = {"rows_deleted": 1204, "partitions_compacted": 1, "files_deleted": 0, "dry_run": False}
    told = "2 tables, 2,408 expired rows deleted, 2 partitions compacted, 0 old files deleted"
    assert sentences.of_maintenance([report] * 2) == told
    assert sentences.of_maintenance([report | {"dry_run": True}] * 2) == f"dry run, nothing changed: {told}"
    pruned = {"pruned": ["1"], "kept": {"2": "champion"}, "dry_run": False}
    assert sentences.of_pruning(pruned) == "1 model version deleted, 1 kept"


def test_what_airflow_stores_reads_the_same():
    assert sentences.of_release(json.loads(json.dumps(MOVE))) == sentences.of_release(MOVE)
