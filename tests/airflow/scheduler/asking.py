"""A light load on the service while the demo runs: a shop's backend that asks again and again."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx

PAUSE = 0.05  # seconds between two requests


@dataclass(frozen=True)
class Asked:
    """One request.

    Attributes:
        at: when its answer came.
        status: the status of the answer; 0 if none came.
        version: the version that answered.
        told: the answer, or why none came.
    """

    at: datetime
    status: int
    version: str
    told: str


class Backend:
    """Asks the service during a block, about 20 times a second.

    Args:
        home: LASTAISLE_HOME of the service; its key is used as soon as it is there.
        port: the port of the service.

    Attributes:
        port: the port of the service.
    """

    def __init__(self, home: Path, port: int) -> None:
        self.port = port
        self._key_file = home / "keys" / "serve"
        self._url = f"http://127.0.0.1:{port}/v1/recommendations"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ask, name="backend")
        self._asked: list[Asked] = []

    def __enter__(self) -> Backend:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(30)

    def answered(self) -> list[Asked]:
        """Return all requests from the first list to the last: before and after them no service runs."""
        lists = [number for number, one in enumerate(self._asked) if one.status == 200]
        return self._asked[lists[0] : lists[-1] + 1] if lists else []

    def _ask(self) -> None:
        with httpx.Client(trust_env=False, timeout=10) as client:
            while not self._ended.wait(PAUSE):
                if self._key_file.exists():
                    self._asked.append(self._once(client))

    def _once(self, client: httpx.Client) -> Asked:
        headers = {"Authorization": f"Bearer {self._key_file.read_text().strip()}"}
        try:
            answer = client.post(self._url, json={"items": ["sim-00001"], "k": 5}, headers=headers)
        except httpx.HTTPError as error:
            time.sleep(0.2)  # the service has not started, or has ended
            return Asked(datetime.now(UTC), 0, "", repr(error))
        version = answer.json()["version"] if answer.status_code == 200 else ""
        return Asked(datetime.now(UTC), answer.status_code, version, answer.text)
