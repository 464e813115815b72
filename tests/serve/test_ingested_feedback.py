"""Whatever feedback the service acknowledges becomes clean rows of the table `exposures`."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lastaisle.feedback.exposures.formats import exposure_adapter
from lastaisle.feedback.exposures.job import ExposureJob
from lastaisle.feedback.exposures.report import ExposureReport
from lastaisle.feedback.exposures.run import ingest_exposures
from lastaisle.ingest.options import IngestOptions
from lastaisle.lake import Lake
from tests.serve.conftest import Client
from tests.serve.toys import LAKE_KEY, ToyService

PATH = "/v1/feedback"


@pytest.fixture
def ingest(tmp_path):
    """Ingest what a service stored; return the report and the rows of the table."""
    lake = Lake(tmp_path / "lake")

    def ingest_lines(lines: list[bytes]) -> tuple[ExposureReport, list[dict[str, Any]]]:
        file = tmp_path / "feedback-1.jsonl"
        file.write_bytes(b"".join(lines))
        job = ExposureJob(lake, exposure_adapter("feedback"), options=IngestOptions(gx_sample_rows=500))
        report = ingest_exposures(str(file), job)
        assert report.files_failed == {}
        return report, lake.scan("exposures").to_pylist()

    return ingest_lines


def test_a_list_its_clicks_and_a_list_of_another_service_become_rows(service, ingest):
    listed = service.ask("i1", policy="popular")["recommendation_id"]
    shopper = {"session_id": "visit 1", "user_id": "anna"}
    arm = {"experiment": "demo", "arm": "popular"}
    one = {"recommendation_id": listed, "placement": "cart", **shopper, **arm}
    other = {"recommendation_id": "list of others", "version": "3", "policy": "thompson"}
    bodies: list[Any] = [
        {**one, "kind": "shown", "items": ["i1", 2]},
        [{**one, "kind": "clicked", "items": [2]}, {**one, "kind": "added", "items": [2], "positions": [2]}],
        {**one, "kind": "bought", "items": [2], "at": "2025-10-09T14:00:00.750+02:00"},
        {**other, "kind": "shown", "items": ["i5"], "propensities": [0.25]},
        {**other, "kind": "shown", "items": ["i6"]},
    ]
    for body in [*bodies, bodies[0]]:  # the first is sent again, as after a lost answer
        assert service.post(PATH, json=body).status_code == 200
    report, rows = ingest(service.service.sink.lines)
    assert (report.rows_in, report.rows_clean, report.rows_duplicate, report.rows_shown) == (9, 7, 2, 4)
    kinds = Counter(row["kind"] for row in rows)
    assert kinds == {"shown": 4, "clicked": 1, "added": 1, "bought": 1}
    by_item = {row["item_id"]: row for row in rows if row["kind"] == "shown"}
    first, thompson = by_item["i1"], by_item["i5"]
    assert (first["user_id"], first["session_id"]) == (
        LAKE_KEY.pseudonym("user_id", "anna"),
        LAKE_KEY.pseudonym("session_id", "visit 1"),
    )
    assert (first["recommendation_id"], first["placement"], first["position"]) == (listed, "cart", 1)
    assert [first[name] for name in ("model_version", "policy", "experiment", "arm", "propensity")] == [
        "7", "popular", "demo", "popular", 1.0,
    ]  # fmt: skip
    assert (thompson["propensity"], thompson["experiment"]) == (0.25, None)
    assert by_item["i6"]["propensity"] is None
    bought = next(row for row in rows if row["kind"] == "bought")
    assert bought["occurred_at"] == datetime(2025, 10, 9, 12, tzinfo=UTC), "cut to the second"


IDS = st.one_of(
    st.text(min_size=1, max_size=8),
    st.sampled_from(
        ["undefined", "null", "1.0", "1e+5", "true", "[1]", "\ufeffx", "x\u2028y", "é" * 200, "'", "-"]
    ),
    st.integers(-(10**220), 10**220),
)
LABELS = st.one_of(st.text(min_size=1, max_size=8), st.sampled_from(["NaN", "x\u0085y", "💳" * 100, " a "]))
NOW = datetime.now(UTC)
FIELDS = {
    "recommendation_id": IDS.map(str),
    "kind": st.sampled_from(["shown", "clicked", "added", "bought"]),
    "items": st.lists(IDS, min_size=1, max_size=2),
    "positions": st.lists(st.integers(1, 1000), min_size=1, max_size=1),
    "placement": LABELS,
    "session_id": IDS,
    "at": st.sampled_from([NOW, NOW + timedelta(minutes=4), NOW - timedelta(days=900)]).map(
        datetime.isoformat
    ),
    "version": IDS.map(str),
    "policy": LABELS,
    "propensities": st.lists(st.floats(5e-324, 1.0), min_size=1, max_size=1),
    "experiment": LABELS,
    "arm": LABELS,
}
OWN = {"recommendation_id": f"7-m-{0:024x}", "kind": "shown", "items": ["i1"]}
OTHER = {**OWN, "recommendation_id": "list", "version": "3", "policy": "thompson"}
IN_TEST = {"experiment": "demo", "arm": "model"}
CHANGES = st.lists(st.sampled_from(sorted(FIELDS)), max_size=2, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: FIELDS[name] for name in names})
)
FEEDBACK = st.builds(
    lambda good, changes: good | changes,
    st.sampled_from([OWN, OTHER, OWN | IN_TEST, OTHER | IN_TEST]),
    CHANGES,
)


def test_feedback_that_the_service_takes_breaks_no_rule_of_the_contract(ingest):
    with Client(ToyService()) as client:
        accepted = Counter[bool]()

        @settings(max_examples=400, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(FEEDBACK)
        def send(body):
            content = json.dumps(body).encode()
            reply = client.post(PATH, content=content, headers={"Content-Type": "application/json"})
            assert reply.status_code in (200, 422), reply.text
            accepted[reply.status_code == 200] += 1

        send()
        assert min(accepted.values()) > 50
        report, _ = ingest(client.service.sink.lines)
    assert report.quarantined_by_rule == {}
    assert (report.rows_quarantined, report.rows_ignored) == (0, 0)
    assert report.rows_in == report.rows_clean + report.rows_duplicate >= accepted[True]
