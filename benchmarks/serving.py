"""How many requests a second does `lastaisle serve` answer, and how fast?

The arguments are the numbers of items (default: 3000, 43000 and 1000000). For each number the script
registers the same `attention` model twice in a new MLflow (SQLite file), and starts the service. It measures:

- the start: from the start of the process until `/readyz` answers 200, with the version in the cache;
- fixed rates of requests: 500, 1,000 and 2,000 a second;
- the highest rate held, to a tenth: the rate grows by a half, then the last step is halved;
- 50 swaps at 1,000 requests a second, or at the highest rate held: the alias moves between the two versions.

A rate is held if no request fails, the generator reaches it, p90 <= 5 ms and p99 <= 15 ms. The load comes
from vegeta, which sends at a fixed rate and does not wait for answers. Service and vegeta share all cores of
the machine. Sessions have 1 to 20 items, the short ones most often, with a fixed seed. Where vegeta is
missing, Go builds it.

With `--feedback` the load is feedback instead: each request says that a list of ten items was shown, and is
answered when the ten rows are durable in the folder of feedback. The alias stays where it is then.

With `--shadow SHARE` the fixed rates are measured once more at the end, while version 2 scores this share of
the questions unseen.

    python benchmarks/serving.py [--quick] [--model cooccurrence] [--seconds 20] [--workers 2] [3000]
    python benchmarks/serving.py --feedback [--seconds 20] [--workers 2] [3000]
    python benchmarks/serving.py --shadow 0.1 [--seconds 20] [--workers 2] [3000]
    python benchmarks/serving.py --url http://127.0.0.1:8091 --key KEY 3000

`--url` puts the load on a service that runs already; sessions then have ids that its model may not know, such
as i0 and i1. `--quick` measures seconds, as a test of this script. All takes about half an hour on two
cores. The model is trained for one pass over made-up sessions, since only the sizes matter.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

SIZES = (3_000, 43_000, 1_000_000)
RATES = (500, 1_000, 2_000)
SWAP_RATE, SWAPS = 1_000, 50
P90_MS, P99_MS = 5.0, 15.0
REACHED = 0.98  # of a rate: the generator sends that many
SESSIONS, LONGEST = 5_000, 20
KEY = "benchmark"
VEGETA = "github.com/tsenart/vegeta/v12@v12.12.0"
INSTALL = f"go install {VEGETA}, and put Go's folder bin on the PATH"
LISTS, FEEDBACK = "/v1/recommendations", "/v1/feedback"
SHOWN = 10  # items of a list that was shown
COLUMNS = ("path", "items", "rate", "achieved", "p50_ms", "p90_ms", "p99_ms", "failed", "swaps", "shadow")
WARM_UP_SECONDS = 3
SHADOW_SECONDS = 10  # in which the process of the shadow starts and loads its version


def main() -> None:
    """Measure each number of items, and print each setting as JSON and all as a table."""
    asked = _arguments()
    if asked.register:
        register(asked.model, asked.items[0], asked.register)
        return
    vegeta = find_vegeta()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # the service ends with it
    results, starts = [], []
    for n_items in asked.items:
        with tempfile.TemporaryDirectory() as name, running(asked, n_items, Path(name)) as service:
            starts.append(f"{n_items:,} items: ready {service.ready_seconds:.2f} s after the start")
            load = Load(vegeta, service, Path(name), n_items, FEEDBACK if asked.feedback else LISTS)
            for result in measured(load, service, asked):
                print(json.dumps(result), flush=True)
                results.append(result)
    table = Table(*COLUMNS, "held")
    for result in results:
        table.add_row(
            *(f"{result[key]:{',' if key != 'path' else ''}}" for key in COLUMNS),
            "yes" if is_held(result) else "no",
        )
    Console(width=110).print(table)
    for start in starts:
        print(start)


def measured(load: Load, service: Running, asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Measure the fixed rates, the highest rate and the swaps, one after the other."""
    rates, seconds, swaps = ((50,), 2.0, 2) if asked.quick else (RATES, asked.seconds, SWAPS)
    load.run(rates[0], WARM_UP_SECONDS)
    found = []
    for rate in rates:
        found.append(load.run(rate, seconds))
        yield found[-1]
    if not asked.quick:
        found.append(highest_held(load, found, seconds))
        yield found[-1]
    if service.swap is not None and not asked.feedback:
        held = max((result["rate"] for result in found if is_held(result)), default=rates[0])
        yield load.run(min(SWAP_RATE, held), seconds, swaps)
    if asked.shadow and service.shadow is not None:
        service.shadow(asked.shadow)
        load.run(rates[0], WARM_UP_SECONDS if asked.quick else SHADOW_SECONDS)
        for rate in rates:
            yield load.run(rate, seconds) | {"shadow": asked.shadow}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("items", nargs="*", type=int)
    parser.add_argument("--model", default="attention")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--feedback", action="store_true")
    parser.add_argument("--shadow", type=float, default=0.0, metavar="SHARE")
    parser.add_argument("--url", default="")
    parser.add_argument("--key", default=KEY)
    parser.add_argument("--register", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    asked.items = asked.items or ([100] if asked.quick else list(SIZES))
    return asked


def find_vegeta() -> str:
    """Return the path of vegeta. Where it is missing, Go builds it into the user's cache (half a minute).

    Raises:
        SystemExit: there is neither vegeta nor Go, or Go cannot build it; the message says how to install it.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "lastaisle", "bin")
    found = shutil.which("vegeta") or shutil.which("vegeta", path=cache)
    if found:
        return found
    go = shutil.which("go")
    if go is None:
        raise SystemExit(f"this benchmark needs the load generator vegeta, or Go, which builds it: {INSTALL}")
    print(f"building vegeta into {cache}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as name:  # a rename at the end: two processes may build at once
        built = subprocess.run(
            [go, "install", VEGETA],
            env=os.environ | {"GOBIN": name},
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if built.returncode:
            raise SystemExit(
                f"Go cannot build the load generator vegeta: {built.stderr.strip()[-500:]}; {INSTALL}"
            )
        cache.mkdir(parents=True, exist_ok=True)
        part = cache / f"vegeta-{os.getpid()}"
        shutil.copy2(Path(name, "vegeta"), part)
    return str(part.rename(cache / "vegeta"))


class Running:
    """A service that answers.

    Attributes:
        url: its address.
        key: the API key.
        ready_seconds: the time from its start to its readiness.
        swap: moves the alias to the other version; None for a service that runs elsewhere.
        shadow: lets version 2 score a share of the questions unseen; None for a service that runs elsewhere.
    """

    def __init__(self, url: str, key: str) -> None:
        self.url, self.key = url, key
        self.ready_seconds = 0.0
        self.swap: Callable[[], str] | None = None
        self.shadow: Callable[[float], None] | None = None

    def version(self) -> str:
        """Return the version that answers now."""
        request = urllib.request.Request(f"{self.url}/v1/model", headers={"X-API-Key": self.key})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return str(json.load(answer)["version"])

    def is_ready(self) -> bool:
        """Tell whether requests can be answered."""
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@contextmanager
def running(asked: argparse.Namespace, n_items: int, home: Path) -> Iterator[Running]:
    """Start the service twice over a new MLflow, the second time with its cache; stop it after the block."""
    if asked.url:
        yield Running(asked.url.rstrip("/"), asked.key)
        return
    command = [sys.executable, __file__, "--model", asked.model, "--register", str(home), str(n_items)]
    subprocess.run(command, check=True, stdout=sys.stderr)  # TensorFlow's memory ends with the process
    with started(home, asked.workers):
        pass
    with started(home, asked.workers) as service:
        yield service


@contextmanager
def started(home: Path, workers: int) -> Iterator[Running]:
    """Start the service and wait until it is ready; stop it after the block."""
    from lastaisle.registry.registry import Registry
    from lastaisle.settings import Settings

    port = free_port()
    variables = {"HOME": home, "SERVE_KEYS": KEY, "SERVE_POLL_SECONDS": "0.2", "SERVE_PORT": port}
    environ = os.environ | {f"LASTAISLE_{name}": str(value) for name, value in variables.items()}
    environ["LASTAISLE_SERVE_WORKERS"] = str(workers)
    service = Running(f"http://127.0.0.1:{port}", KEY)
    log = home / "service.log"
    began = time.perf_counter()
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "lastaisle.cli", "serve"], env=environ, stdout=output, stderr=output
        )
    try:
        while not service.is_ready():
            if process.poll() is not None:
                raise SystemExit(f"the service ended: {log.read_text()[-2000:]}")
            time.sleep(0.02)
        service.ready_seconds = time.perf_counter() - began
        registry = Registry(Settings.of(home=home))

        def swap() -> str:
            version = "1" if registry.aliases()["champion"] == "2" else "2"
            registry.set_aliases({"champion": version})
            return version

        service.swap = swap
        service.shadow = partial(begin_shadow, home)
        yield service
    finally:
        process.terminate()
        process.wait()


def begin_shadow(home: Path, share: float) -> None:
    """Let version 2 score a share of the questions unseen."""
    from lastaisle.experiments.traffic import Arm, TrafficMove, Trial, read_traffic, write_move
    from lastaisle.lake.opening import open_lake
    from lastaisle.settings import Settings

    lake, now = open_lake(Settings.of(home=home)), datetime.now(UTC)
    arms = (Arm(name="shadow", version="2"),)
    trial = Trial(name="shadow-2", kind="shadow", arms=arms, starts_at=now, share=share)
    move = TrafficMove("shadow", now, "running", trial, "a benchmark", "a benchmark")
    write_move(lake, move, read_traffic(lake))


def register(model_name: str, n_items: int, home: Path) -> None:
    """Train a model for one pass, and register it as the versions 1 (champion) and 2."""
    from lastaisle.registry.registry import Registry
    from lastaisle.registry.tags import DIGEST, RUN_KEY
    from lastaisle.settings import Settings
    from models.by_name import create
    from models.options import TrainingOptions
    from scaling import sessions_of

    model = create(model_name, TrainingOptions(epochs=1, half_life=None))
    model.fit(sessions_of(n_items, 20_000))
    registry = Registry(Settings.of(home=home))
    for version in ("1", "2"):
        with registry.run("benchmark", {}) as run_id:
            registry.log_packed(model, home / "files" / version)
        tags = {RUN_KEY: version, DIGEST: registry.tags(run_id)[DIGEST]}
        assert registry.register(run_id, tags) == version
    registry.set_aliases({"champion": "1"})


class Load:
    """Sends requests at a fixed rate by vegeta.

    Args:
        vegeta: the program.
        service: what answers.
        folder: for the requests and the results.
        n_items: how many items the model has: i0, i1, and so on.
        path: what is asked: `LISTS` or `FEEDBACK`.
    """

    def __init__(self, vegeta: str, service: Running, folder: Path, n_items: int, path: str = LISTS) -> None:
        self._vegeta, self._service = vegeta, service
        self._targets, self._results = folder / "targets.jsonl", folder / "results.bin"
        self._n_items, self._path = n_items, path
        header = {"Authorization": [f"Bearer {service.key}"], "Content-Type": ["application/json"]}
        with self._targets.open("w") as file:
            for body in shown_lists(n_items) if path == FEEDBACK else questions(n_items):
                target = {
                    "method": "POST",
                    "url": f"{service.url}{path}",
                    "body": base64.b64encode(json.dumps(body).encode()).decode(),
                    "header": header,
                }
                file.write(json.dumps(target) + "\n")

    def run(self, rate: int, seconds: float, swaps: int = 0) -> dict[str, Any]:
        """Send `rate` requests a second for some time, or, if swaps are asked for, until they are done."""
        command = [self._vegeta, "attack", "-format=json", f"-targets={self._targets}", f"-rate={rate}/1s"]
        command += [f"-output={self._results}", "-timeout=10s", f"-duration={0 if swaps else seconds}s"]
        with subprocess.Popen(command) as attack:
            try:
                for _ in range(swaps):
                    self._swap()
            finally:
                if swaps:
                    attack.send_signal(signal.SIGINT)  # vegeta waits for the open requests then
        report = subprocess.run(
            [self._vegeta, "report", "-type=json", str(self._results)], check=True, stdout=subprocess.PIPE
        )
        found = json.loads(report.stdout)
        times = {f"p{rank}_ms": round(found["latencies"][f"{rank}th"] / 1e6, 2) for rank in (50, 90, 99)}
        failed = found["requests"] - found["status_codes"].get("200", 0)
        if failed:
            print(f"failed: {found['status_codes']} {found['errors'][:3]}", file=sys.stderr)
        return {
            "path": self._path,
            "items": self._n_items,
            "rate": rate,
            "achieved": round(found["throughput"]),
            **times,
            "failed": failed,
            "swaps": swaps,
            "shadow": 0.0,
        }

    def _swap(self) -> None:
        """Move the alias, and wait until the other version answers."""
        assert self._service.swap is not None
        version, end = self._service.swap(), time.monotonic() + 60
        while self._service.version() != version:
            if time.monotonic() > end:
                raise SystemExit(f"the service does not follow to version {version} within a minute")
            time.sleep(0.05)
        time.sleep(0.3)


def sessions(n_items: int) -> list[list[str]]:
    """Return sessions of 1 to 20 items, the short ones most often; popular items come often."""
    generator = np.random.default_rng(11)
    lengths = np.minimum(generator.geometric(0.25, SESSIONS), LONGEST)
    popularity = np.cumsum(1.0 / np.arange(1, n_items + 1))
    drawn = [generator.random(length) * popularity[-1] for length in lengths]
    return [[f"i{rank}" for rank in np.searchsorted(popularity, each, side="right")] for each in drawn]


def questions(n_items: int) -> Iterator[dict[str, Any]]:
    """Yield requests for recommendations."""
    for session in sessions(n_items):
        yield {"items": session, "k": 20, "consent": True, "placement": "checkout"}


def shown_lists(n_items: int) -> Iterator[dict[str, Any]]:
    """Yield feedback on lists of ten items that were shown."""
    generator = np.random.default_rng(12)
    for number in range(SESSIONS):
        yield {
            "recommendation_id": f"1-m-{number:024x}",
            "kind": "shown",
            "items": [f"i{item}" for item in generator.choice(n_items, SHOWN, replace=False)],
            "session_pseudonym": f"{number:032x}",
            "pseudonym": f"{number // 3:032x}",
            "experiment": "benchmark",
            "arm": "model",
        }


def is_held(result: dict[str, Any]) -> bool:
    """Tell whether a rate is held: all requests were sent and answered, fast enough."""
    fast = result["p90_ms"] <= P90_MS and result["p99_ms"] <= P99_MS
    return bool(fast and not result["failed"] and result["achieved"] >= REACHED * result["rate"])


def highest_held(load: Load, measured: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    """Halve the span between a rate that is held and one that is not, and return the best result."""
    best = max(filter(is_held, measured), key=lambda result: result["rate"], default=measured[0])
    held = best["rate"] if is_held(best) else 0
    fails = min((result["rate"] for result in measured if result["rate"] > held), default=0)
    while not fails or fails - held > max(0.1 * held, 25):
        result = load.run((held + fails) // 2 if fails else round(1.5 * held), seconds)
        if is_held(result):
            best, held = result, result["rate"]
        else:
            fails = result["rate"]
    return best


def free_port() -> int:
    """Return a free port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
