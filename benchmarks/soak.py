"""Does every row arrive exactly once while tasks, broker and collector are killed at random?

Senders write JSON and Avro to topics of a real broker, drop files into a folder, and call the collector. Some
messages are late, repeated, shuffled or broken. Two drains, ingestion of both folders, two runs that
anonymize shards, and the maintenance of the tables run at the same time. Tasks, broker and collector are
killed (SIGKILL) at random. At the end the rows in the tables are compared with all messages that were sent.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.faults.matrix import running_broker
from tests.faults.soak import Soak


def main() -> None:
    """Run the soak test, and print the counts as a table and as one line of JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0, help="minutes of sending")
    parser.add_argument("--rate", type=int, default=150, help="events a second, of all senders together")
    parser.add_argument("--seed", type=int, default=7, help="seed of traffic and faults")
    parser.add_argument("--output", type=Path, help="a file for the line of JSON as well")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lastaisle-soak-") as folder, running_broker() as broker:
        soak = Soak(Path(folder), broker, given.seed, given.rate)
        try:
            report = soak.run(given.minutes)
        finally:
            for kind, message in soak.examples.items():
                print(f"A task failed with {kind}:\n{message}\n", file=sys.stderr)
    table = Table("count", "value", title="Soak: every row accounted for")
    for name, value in report.items():
        table.add_row(name, f"{value:,}")
    Console().print(table)
    line = json.dumps({"benchmark": "soak", **report})
    if given.output:
        given.output.write_text(f"{line}\n")
    print(line)


if __name__ == "__main__":
    main()
