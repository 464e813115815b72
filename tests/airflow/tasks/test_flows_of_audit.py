"""The data map of the audit and the lineage of the tasks tell of the same flows between tables."""

from __future__ import annotations

import pytest

from lastaisle.audit.data_map import FLOWS
from lastaisle_airflow.tasks import flows


@pytest.mark.parametrize("tell", [flows.tell_anonymized, flows.tell_attributed, flows.tell_counted])
def test_each_flow_of_the_lineage_stands_in_the_data_map(tell, monkeypatch):
    told = []
    monkeypatch.setattr(flows, "tell", lambda flow: told.append(flow()))
    monkeypatch.setattr(flows, "open_lake", lambda settings: None)
    monkeypatch.setattr(flows, "tables", lambda lake, *names: list(names))
    tell()
    (flow,) = told
    for made in flow.wrote:
        assert set(flow.read) == set(FLOWS[made])
