"""The command line: each command calls the same functions as the DAGs."""

from __future__ import annotations

import io
import logging
import sys

import typer
from rich.logging import RichHandler

from lastaisle.cli import (
    alerts,
    announcing,
    bandit_evaluation,
    bandits,
    catalogue,
    contracts,
    dashboard,
    experiment_results,
    experiments,
    exposures,
    federation,
    ingest,
    keys,
    learning,
    logs,
    metrics,
    outcomes,
    privacy_audit,
    privacy_budget,
    quarantine,
    releases,
    reproduce,
    rules,
    serving,
    simulate,
    status,
    subjects,
    tables,
    watching,
)
from lastaisle.cli.failures import describe
from lastaisle.cli.terminal import errors, read_settings, where_searched
from lastaisle.errors import MEANINGS, ExitCode
from lastaisle.settings.private import create_private_files

app = typer.Typer(
    name="lastaisle",
    help="Session logs in, registered checkout recommendation models out.",
    epilog="Exit codes: "
    + "; ".join(f"{code.value} {meaning}" for code, meaning in MEANINGS.items())
    + ". Settings come from LASTAISLE_* environment variables: docs/settings.md lists them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.callback()(status.main_options)
for _command in (
    *(status.status, status.tables, quarantine.quarantine),
    *(ingest.ingest, logs.lag, logs.collect, serving.serve, dashboard.dashboard),
    *(learning.train, learning.tune, learning.evaluate, learning.release, learning.rollback),
    reproduce.reproduce,
    *(learning.online, tables.maintain, tables.drift, tables.abandonment, outcomes.attribute),
    *(metrics.metrics, serving.export_metrics, learning.replay, simulate.simulate),
):
    app.command()(_command)

_alerts = typer.Typer(invoke_without_command=True, callback=alerts.show_alerts)
_alerts.command(name="list")(alerts.list_alerts)
_alerts.command()(alerts.check)
_alerts.command()(alerts.show)
_alerts.command()(alerts.silence)
_alerts.command()(alerts.unsilence)
_alerts.command()(alerts.history)
_alerts.command()(alerts.test)
app.add_typer(_alerts, name="alerts")

_bandits = typer.Typer(help="Look after bandits, which draw the arms of lists.", no_args_is_help=True)
_bandits.command(name="show")(bandits.show_bandits)
_bandits.command()(bandits.update)
_bandits.command()(bandits.replay)
_bandits.command()(bandit_evaluation.evaluate)
app.add_typer(_bandits, name="bandits")

_benchmark = typer.Typer(help="Measure Lastaisle on data of your own.", no_args_is_help=True)
_benchmark.command()(learning.accuracy)
app.add_typer(_benchmark, name="benchmark")

_catalogue = typer.Typer(help="Look after the catalogue: what is for sale.", no_args_is_help=True)
_catalogue.command()(catalogue.ingest)
_catalogue.command(name="show")(catalogue.show_items)
app.add_typer(_catalogue, name="catalogue")

_contracts = typer.Typer(help="Look after the data contracts.", no_args_is_help=True)
_contracts.command()(contracts.check)
_contracts.command()(contracts.diff)
app.add_typer(_contracts, name="contracts")

_experiments = typer.Typer(
    help="Look after experiments: who sees what, and what is better.", no_args_is_help=True
)
_experiments.command()(experiments.plan)
_experiments.command()(experiments.apply)
_experiments.command(name="list")(experiments.list_experiments)
_experiments.command()(experiments.stop)
_experiments.command()(experiment_results.analyze)
_experiments.command()(experiment_results.show)
app.add_typer(_experiments, name="experiments")

_exposures = typer.Typer(help="Look after exposures: what shoppers saw and clicked.", no_args_is_help=True)
_exposures.command()(exposures.ingest)
_exposures.command(name="show")(exposures.show_exposures)
app.add_typer(_exposures, name="exposures")

_federated = typer.Typer(help="Train a model with silos that share no rows.", no_args_is_help=True)
_federated.callback()(lambda: None)
_federated.command()(federation.join)
app.add_typer(_federated, name="federated")

_keys = typer.Typer(help="Look after the pseudonym keys.", no_args_is_help=True)
_keys.command()(keys.show)
_keys.command()(keys.rotate)
app.add_typer(_keys, name="keys")

_privacy = typer.Typer(help="Look after privacy: budget and audit.", no_args_is_help=True)
_privacy.command()(privacy_budget.budget)
_privacy.command()(privacy_audit.audit)
app.add_typer(_privacy, name="privacy")

_releases = typer.Typer(invoke_without_command=True, callback=releases.show_moves)
_releases.command()(releases.at)
_releases.command()(releases.why)
_releases.command()(releases.public_text)
_releases.command()(releases.prune)
_releases.command()(releases.sync)
_releases.command()(releases.verify)
_releases.command()(watching.watch)
_releases.command()(watching.retire)
_releases.command()(announcing.announce)
app.add_typer(_releases, name="releases")

_rules = typer.Typer(help="Look after the rules that pin and promote items.", no_args_is_help=True)
_rules.command()(rules.check)
app.add_typer(_rules, name="rules")

_subjects = typer.Typer(
    help="Look after requests of shoppers: a copy of their data, erasure, restriction, objection.",
    no_args_is_help=True,
)
_subjects.command()(subjects.export)
_subjects.command()(subjects.erase)
_subjects.command()(subjects.restrict)
_subjects.command(name="object")(subjects.object_)
_subjects.command(name="list")(subjects.list_requests)
_subjects.command()(subjects.show)
_subjects.command()(subjects.resume)
_subjects.command()(subjects.reapply)
_subjects.command()(subjects.refuse)
_subjects.command()(subjects.verify)
app.add_typer(_subjects, name="subjects")


def main() -> None:
    """Run the command line; errors that the user can correct are printed without a traceback."""
    create_private_files()
    for stream in (sys.stdout, sys.stderr):  # a name that is no UTF-8 is shown with escapes
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    _set_up_logging()
    try:
        app()
    except Exception as error:
        described = describe(error)
        if described is None:
            raise
        message, code = described
        errors.print(f"error: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
        hint = where_searched() if _lacks_data(error, code) else ""
        if hint:
            errors.print(hint, markup=False, highlight=False, soft_wrap=True)
        sys.exit(code)


def _set_up_logging() -> None:
    """Log to standard error: in columns on a terminal, else each record in one line, however long it is."""
    if errors.is_terminal:
        handlers = [RichHandler(console=errors)]
        logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=handlers)
    else:
        logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")


def _lacks_data(error: Exception, code: int) -> bool:
    """Tell whether an empty home may explain an error: it names the home's lake, or misses a version."""
    if code == ExitCode.WRONG_REQUEST:  # the settings themselves may be wrong
        return False
    return code == ExitCode.NO_SUCH_VERSION or read_settings().lake.url in str(error)
