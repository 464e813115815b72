"""How many events a second does one collector on one core store durably and acknowledge?

Senders on the other cores hold 32 connections open, and wait for each answer. A batch has 100 events, as in
Segment's own client. By default events go to a landing folder. With an address as argument
(kafka://cluster/topic; LASTAISLE_KAFKA configures the connection) they go to that topic. Takes half a minute.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

SECONDS = 8
CONNECTIONS = 32
KEY = "bench"


def main() -> None:
    """Measure batches and single calls, and print both."""
    with tempfile.TemporaryDirectory() as folder:
        to = sys.argv[1] if len(sys.argv) > 1 else f"{folder}/landing/{{day}}"
        port, server = start(to, Path(folder))
        try:
            event = track()
            batch = {"batch": [{**event, "messageId": f"{event['messageId']}-{n}"} for n in range(100)]}
            results = {
                "batches of 100": asyncio.run(load(port, "/v1/batch", batch, 100)),
                "single calls": asyncio.run(load(port, "/v1/track", event, 1)),
            }
        finally:
            server.terminate()
            server.wait()
    print(json.dumps({"to": to.partition(":")[0] if len(sys.argv) > 1 else "folder", **results}))
    table = Table("requests", "events/s", "requests/s", "median ms", "99th percentile ms")
    for name, found in results.items():
        table.add_row(name, *(f"{value:,.1f}" for value in found.values()))
    Console().print(table)


def track() -> dict[str, object]:
    """Return a call of about 500 bytes."""
    return {
        "type": "track",
        "event": "Product Viewed",
        "messageId": "ajs-next-1760011200000-5f3c2a",
        "userId": "user-1234567",
        "anonymousId": "0b7e2d34-63a1-4f6b-9a51-2f1f0b8f7c11",
        "timestamp": "2025-10-09T12:00:00.120Z",
        "properties": {"product_id": "i42", "price": 9.9, "currency": "EUR", "category": "shoes/running"},
        "context": {
            "locale": "de-DE",
            "userAgent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15",
            "consent": {"categoryPreferences": {"Analytics": True, "Personalization": True}},
        },
    }


def start(to: str, home: Path) -> tuple[int, subprocess.Popen[bytes]]:
    """Start a collector on the first core; the senders use the other cores."""
    cores = sorted(os.sched_getaffinity(0))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environ = {**os.environ, "LASTAISLE_HOME": str(home), "LASTAISLE_SEGMENT_WRITE_KEYS": KEY}
    os.sched_setaffinity(0, cores[:1])
    command = [sys.executable, "-m", "lastaisle.cli", "collect", "--to", to, "--port", str(port)]
    server = subprocess.Popen(command, env=environ)
    os.sched_setaffinity(0, cores[1:] or cores)
    while server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return port, server
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the collector did not start")


async def load(port: int, path: str, body: dict[str, object], events: int) -> dict[str, float]:
    """Send the same request again and again on each connection, and measure the time of each answer."""
    content = json.dumps({**body, "sentAt": "2025-10-09T12:00:00.500Z"}).encode()
    key = base64.b64encode(f"{KEY}:".encode()).decode()
    headers = f"Host: x\r\nAuthorization: Basic {key}\r\nContent-Length: {len(content)}"
    request = f"POST {path} HTTP/1.1\r\n{headers}\r\n\r\n".encode() + content
    seconds: list[float] = []
    end = time.perf_counter() + SECONDS

    async def send() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (began := time.perf_counter()) < end:
            writer.write(request)
            await reader.readuntil(b'{"success":true}')
            seconds.append(time.perf_counter() - began)
        writer.close()

    await asyncio.gather(*(send() for _ in range(CONNECTIONS)))
    rate = len(seconds) / SECONDS
    return {
        "events_per_second": round(rate * events),
        "requests_per_second": round(rate),
        "median_ms": round(statistics.median(seconds) * 1000, 1),
        "p99_ms": round(statistics.quantiles(seconds, n=100)[98] * 1000, 1),
    }


if __name__ == "__main__":
    main()
