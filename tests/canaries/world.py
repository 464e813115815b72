"""An installation whose logs are full of planted values; all that it made and said is kept."""

from __future__ import annotations

import io
import json
import logging
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from typer.testing import CliRunner

from lastaisle import cli
from tests.dashboard.test_access import endpoints

from .planting import KINDS, Planter
from .records import CANONICAL, EXPOSURE_FORMS, FORMS, Form, lines

DAYS, SESSIONS, ITEMS = 3, 120, 40
FIRST = datetime(2025, 10, 6, tzinfo=UTC)
SETTINGS = {
    "LASTAISLE_ARCHITECTURE": "cooccurrence",
    "LASTAISLE_GX_SAMPLE_ROWS": "0",
    "LASTAISLE_MIN_TARGETS": "20",
    "LASTAISLE_MAX_QUARANTINED": "1",
    "LASTAISLE_MAX_CHURN": "1",
}
_TOKEN = "a-token-of-the-tests"


@dataclass
class World:
    """An installation, its logs, and all that it said.

    Attributes:
        folder: holds `home`, the installation, and `logs`, what the shop sent.
        planter: knows what was planted where.
        said: each command and each address, with what it answered.
        log: what all loggers wrote.
    """

    folder: Path
    planter: Planter = field(default_factory=Planter)
    said: dict[str, bytes] = field(default_factory=dict)
    log: io.StringIO = field(default_factory=io.StringIO)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def environ(self) -> dict[str, str]:
        return SETTINGS | {"LASTAISLE_HOME": str(self.home)}

    def call(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> Any:
        """Run a command, keep what it prints, and return its report."""
        report = self.folder / "report.json"
        report.unlink(missing_ok=True)
        name = " ".join(part.replace(str(self.folder), "") for part in arguments)
        ended = CliRunner().invoke(cli.app, [*arguments, "--report", str(report)])
        told = report.read_bytes() if report.exists() else b"{}"
        failure = ended.exception
        code = getattr(failure, "exit_code", ended.exit_code)
        self.said[f"lastaisle {name}"] = ended.output.encode() + told + str(failure or "").encode()
        assert code in codes, f"{arguments}: {code} {failure} {ended.output[-2000:]}"
        return json.loads(told)

    def ingest(self) -> None:
        """Write and take in the logs of each format."""
        logs = self.folder / "logs"
        logs.mkdir()
        (logs / "visits.jsonl").write_text(lines(self._visits()))
        self.call("ingest", "--source", str(logs / "visits.jsonl"))
        for name, form in FORMS.items():
            self._write(logs / form.file, name, form)
            self.call("ingest", "--source", str(logs / form.file), "--format", name, "--accept-schema-change")
        for suffix in ("csv", "parquet"):
            path = logs / f"flat.{suffix}"
            self._write_flat(path)
            self.call("ingest", "--source", str(path), "--accept-schema-change")
        for name, form in EXPOSURE_FORMS.items():
            path = logs / f"exposures-{form.file}"
            self._write(path, f"exposures {name}", form)
            self.call("exposures", "ingest", str(path), "--format", name, "--accept-schema-change")

    def run(self) -> None:
        """Run all that makes something of the logs."""
        self.call("attribute")
        run_id = self.call("train")["run_id"]
        self.call("evaluate", "--run-id", run_id)
        assert self.call("release", "--run-id", run_id)["promote"]
        self.call("abandonment", codes=(0, 5))
        self.call("drift", "--day", "2025-10-08", codes=(0, 5, 13))
        self.call("maintain")
        for command in ("status", "tables", "quarantine", "metrics"):
            self.call(command)
        self.call("alerts", "check", codes=(0, 29))
        self.call("keys", "rotate")

    def ask(self) -> None:
        """Ask every page of the dashboard, and the endpoint of metrics."""
        from starlette.testclient import TestClient

        from lastaisle.dashboard.access import token_access
        from lastaisle.dashboard.app import create_app
        from lastaisle.dashboard.source import Source
        from lastaisle.settings import Settings

        source = Source(Settings.from_env())
        app = create_app(source, token_access(_TOKEN), roll_back=lambda _: "")
        with TestClient(app, headers={"Authorization": f"Bearer {_TOKEN}"}) as client:
            for method, path in endpoints(app):
                if method == "GET":
                    answer = client.get(path)
                    assert answer.status_code < 500, (path, answer.text[:500])
                    self.said[f"GET {path}"] = answer.content + str(dict(answer.headers)).encode()

    def _visits(self) -> Iterator[dict[str, Any]]:
        """Return visits from which a model learns; all identifiers and unknown fields are planted."""
        random_ = random.Random(7)
        plant = self.planter.plant
        for day in range(DAYS):
            for number in range(SESSIONS):
                item = random_.randrange(ITEMS)
                begin = FIRST + timedelta(days=day, seconds=700 * number)
                user, session = plant("visits: user_id", "email"), plant("visits: session_id")
                for step in range(5):
                    last = step == 4
                    yield CANONICAL | {
                        "event_id": plant("visits: event_id"),
                        "event_type": "order_completed" if last else "item_viewed",
                        "occurred_at": f"{begin + timedelta(seconds=20 * step):%Y-%m-%dT%H:%M:%SZ}",
                        "received_at": f"{begin + timedelta(seconds=20 * step + 1):%Y-%m-%dT%H:%M:%SZ}",
                        "user_id": user,
                        "session_id": session,
                        "item_id": f"i{item}",
                        "order_id": plant("visits: order_id", "phone") if last else None,
                        "referrer": plant("visits: referrer", "email", "url"),
                        "customer": {kind: [plant(f"visits: customer.{kind}", kind)] for kind in KINDS}
                        if step == 0
                        else {},
                        "note": plant("visits: note", "card", "json"),
                        "token": plant("visits: token", "email", "base64"),
                    }
                    item = (item * 3 + random_.randrange(2) + 1) % ITEMS

    def _write(self, path: Path, name: str, form: Form) -> None:
        records = [form.record, *self.planter.in_every_field(name, form.record, form.name)]
        path.write_text(form.write(records))

    def _write_flat(self, path: Path) -> None:
        """Write the canonical format as columns; in a table of columns each value is a text."""
        flat = {name: value for name, value in CANONICAL.items() if name not in ("consent", "customer")}
        name = f"canonical {path.suffix[1:]}"
        form = FORMS["rees46"]  # columns with a header
        records = list(self.planter.in_every_field(name, flat, FORMS["canonical"].name))
        if path.suffix == ".csv":
            path.write_text(form.write(records))
        else:
            texts = [{key: str(value) for key, value in record.items()} for record in records]
            pq.write_table(pa.Table.from_pylist(texts), path)


def open_log(world: World) -> logging.Handler:
    """Return a handler that keeps every message of every logger."""
    handler = logging.StreamHandler(world.log)
    handler.setLevel(logging.DEBUG)
    return handler
