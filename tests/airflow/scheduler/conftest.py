"""The Airflow that the test files of this folder share, each in turn."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.services.airflow import Airflow, running_airflow


@pytest.fixture(scope="session")
def hourly_airflow(tmp_path_factory) -> Iterator[Airflow]:
    """An Airflow that ingests hours of files and learns days by counting; a refresh has three seconds."""
    home = tmp_path_factory.mktemp("hourly")
    given = {
        "LASTAISLE_PARTITION": "hour",
        "LASTAISLE_LEARN_EVERY": "day",
        "LASTAISLE_ARCHITECTURE": "cooccurrence",
        "LASTAISLE_SETTLE_SECONDS": "0",
        "LASTAISLE_GX_SAMPLE_ROWS": "0",
        "LASTAISLE_SOURCE": str(home / "landing" / "{hour}"),
        "LASTAISLE_REFRESH_DEADLINE_MINUTES": "0.05",
    }
    with running_airflow(home, (), **given) as started:
        yield started
