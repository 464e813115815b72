"""The command line: a thin skin over the same functions that the DAGs call."""

from __future__ import annotations

import logging
import sys

import typer
from rich.logging import RichHandler

from lastaisle.cli import learning, logs, tables
from lastaisle.cli.terminal import errors

app = typer.Typer(
    name="lastaisle",
    help="Session logs in, registered checkout recommendation models out.",
    epilog="Exit codes: 0 done; 1 error, or a file left out; 2 wrong usage or settings; 3 source unreadable; "
    "4 row counts do not add up; 5 not enough data; 6 no such version; 10 done, but the gate refused the "
    "candidate; 11 a source's fields or a contract's change breaks; 12 a contract's version does not say "
    "what changed; 13 something drifted. Settings come from LASTAISLE_* environment variables.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for _command in (
    *(logs.ingest, logs.lag, logs.collect),
    *(learning.train, learning.tune, learning.evaluate, learning.release, learning.rollback),
    *(learning.online, tables.maintain, tables.drift, tables.abandonment, learning.replay, logs.simulate),
):
    app.command()(_command)

_benchmark = typer.Typer(help="Measure Lastaisle on data of your own.", no_args_is_help=True)
_benchmark.command()(learning.accuracy)
app.add_typer(_benchmark, name="benchmark")

_contracts = typer.Typer(help="Look after the data contracts.", no_args_is_help=True)
_contracts.command()(tables.diff)
app.add_typer(_contracts, name="contracts")


def main() -> None:
    """Run the command line; an error that the user can mend is printed without its traceback."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[RichHandler(console=errors)])
    try:
        app()
    except Exception as error:
        code = getattr(error, "exit_code", None)  # the mark of an error raised on purpose, on any floor
        if code is None:
            raise
        errors.print(f"error: {error}", style="red", markup=False, highlight=False)
        sys.exit(code)
