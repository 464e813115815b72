"""Commands that show alerts, check the rules, and silence: `lastaisle alerts`.

Imports stand inside the commands, so that `--help` and other commands load nothing heavy.
"""

from __future__ import annotations

import dataclasses
import getpass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from lastaisle.cli.options import LakeUrl, Report, moment_of
from lastaisle.cli.terminal import console, errors, read_settings, write
from lastaisle.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lastaisle.monitor.alerts.log import AlertLog
    from lastaisle.monitor.alerts.model import Alert
    from lastaisle.settings import Settings

LONGEST_SILENCE_HOURS = 24 * 366
Target = Annotated[
    str, typer.Argument(help="The start of an alert's id, or the name of a rule.", show_default=False)
]
Scope = Annotated[
    list[str] | None,
    typer.Option("--scope", metavar="KIND=NAME", help="With a rule: only this scope, such as source=clicks."),
]


def show_alerts(context: typer.Context, lake: LakeUrl = "", report: Report = None) -> None:
    """Show the open alerts, check the rules, and silence alerts.

    Without a command, the open alerts are listed, the worst first.
    """
    if context.invoked_subcommand is None:
        list_alerts(lake, report)


def list_alerts(lake: LakeUrl = "", report: Report = None) -> None:
    """List the open alerts, the worst first. Exits with 0, also if alerts are open."""
    log = _read(read_settings(lake))
    alerts = log.open()
    write({"open": [alert.to_dict() for alert in alerts], "problems": list(log.problems)}, report)
    _print_alerts(alerts)


def check(
    dry_run: Annotated[bool, typer.Option(help="Only show the changes; write and send nothing.")] = False,
    send: Annotated[bool, typer.Option(help="Also send the messages that are due.")] = True,
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Check all rules now, and act where a rule says so, as the DAG raise_alerts does every ten minutes.

    Exits with 0 if no alert is open that is not silenced, with 29 if one is, and with 28 if a message did not
    arrive.
    """
    from lastaisle.lake.opening import open_lake
    from lastaisle.monitor.alerts.actions import act
    from lastaisle.monitor.alerts.config import read_config
    from lastaisle.monitor.alerts.raise_alerts import raise_alerts
    from lastaisle.monitor.alerts.send import send_alerts
    from lastaisle.registry.registry import Registry

    settings = read_settings(lake)
    config, tables = read_config(settings), open_lake(settings)
    found = raise_alerts(tables, lambda: Registry(settings), settings, config, dry_run=dry_run)
    acted = act(tables, lambda: Registry(settings), config, dry_run=dry_run)
    sent = send_alerts(tables, config) if send and not dry_run else None
    write({**found.to_dict(), **acted.to_dict(), "sent": None if sent is None else sent.to_dict()}, report)
    for line in [*found.lines(), *acted.lines(), *(sent.lines() if sent is not None else ())]:
        _say(line)
    if sent is not None:
        sent.require_delivered()
    if any(alert.silence is None for alert in found.open):
        raise typer.Exit(ExitCode.ALERTS_OPEN)


def show(
    alert_id: Annotated[str, typer.Argument(metavar="ID", help="The start of its id.", show_default=False)],
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Show one alert with its evidence and its history. Exits with 0 also for an open alert."""
    log = _read(read_settings(lake))
    alert = log.find(alert_id)
    changes = [change for change in log.changes if change.alert_id == alert.id]
    write(alert.to_dict() | {"changes": [dataclasses.asdict(change) for change in changes]}, report)
    _say(f"{alert.id} [{alert.severity}] {alert.rule}: {alert.summary}")
    _say(f"{alert.subject or 'the whole installation'}, {_state_of(alert)}, since {_moment(alert.since)}")
    for one in alert.evidence:
        _say(f"  {one.text}")
        for place in (one.query, f"run {one.run_id} in MLflow" if one.run_id else None, one.url):
            if place:
                _say(f"    {place}")
    _say(f"What to do: {alert.runbook}")
    for change in changes:
        _say(f"  {_moment(change.at)} {change.kind}{_told_by(change.actor, change.reason)}")


def history(
    last: Annotated[int, typer.Option(min=1, max=100_000, help="How many changes are shown.")] = 50,
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """List the newest changes of all alerts, the newest first."""
    log = _read(read_settings(lake))
    changes = log.recent(last)
    write({"changes": [dataclasses.asdict(change) | {"id": change.alert_id} for change in changes]}, report)
    table = Table("time (UTC)", "change", "alert", "rule", "scope", "what")
    for change in changes:
        what = change.summary or f"{change.reason}{_until(change.until)}"
        cells = (
            _moment(change.at),
            change.kind,
            change.alert_id or "",
            change.rule,
            _words(change.scope),
            what,
        )
        table.add_row(*map(Text, cells))
    console.print(table)


def silence(
    target: Target,
    reason: Annotated[str, typer.Option(help="Why no messages should come.", show_default=False)],
    hours: Annotated[
        float, typer.Option("--for", min=0.02, max=LONGEST_SILENCE_HOURS, help="For so many hours.")
    ] = 4.0,
    until: Annotated[str, typer.Option(help="Until this day or time (UTC), instead of --for.")] = "",
    scope: Scope = None,
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Send no messages about an alert, or about a rule, for a while. The alerts stay open and are shown."""
    from lastaisle.lake.opening import open_lake
    from lastaisle.monitor.alerts.log import silence as write_silence

    settings = read_settings(lake)
    rule, of_scope = _target_of(target, scope, settings)
    end = moment_of(until, "--until") or datetime.now(UTC) + timedelta(hours=hours)
    actor = getpass.getuser()
    write_silence(open_lake(settings), rule, of_scope, until=end, reason=reason, actor=actor)
    write({"rule": rule, "scope": of_scope, "until": end.isoformat(), "actor": actor}, report)
    _say(f"{_named(rule, of_scope)} is silent until {_moment(end)}")


def unsilence(target: Target, scope: Scope = None, lake: LakeUrl = "", report: Report = None) -> None:
    """End a silence now. Exits with 0, also if there was none."""
    from lastaisle.lake.opening import open_lake
    from lastaisle.monitor.alerts.log import unsilence as end_silence

    settings = read_settings(lake)
    rule, of_scope = _target_of(target, scope, settings)
    ended = end_silence(open_lake(settings), rule, of_scope, actor=getpass.getuser())
    write({"rule": rule, "scope": of_scope, "ended": ended}, report)
    _say(
        f"{_named(rule, of_scope)} is silent no more" if ended else f"{_named(rule, of_scope)} was not silent"
    )


def test(
    channel: Annotated[str, typer.Argument(help="The name of one channel; default: all.")] = "",
    report: Report = None,
) -> None:
    """Send a test message through the channels, and say what came back; exits with 28 if one fails.

    Channels that need Airflow (a connection, a notifier) are tried by the DAG send_test_alert.
    """
    from lastaisle.delivery.channels import channels_of, named
    from lastaisle.delivery.deliver import send_test
    from lastaisle.monitor.alerts.config import read_config

    channels = channels_of(read_config(read_settings("")).channels)
    sent = send_test(named(channels, [channel] if channel else None))
    write(sent.to_dict(), report)
    for line in sent.lines():
        _say(line)
    sent.require_delivered()


def _read(settings: Settings) -> AlertLog:
    """Read the table `alerts`; rows that cannot be read are named on standard error."""
    from lastaisle.lake.opening import open_lake
    from lastaisle.monitor.alerts.log import read_alerts

    log = read_alerts(open_lake(settings))
    for problem in log.problems:
        errors.print(problem, markup=False, highlight=False, soft_wrap=True)
    return log


def _target_of(
    target: str, scope: list[str] | None, settings: Settings
) -> tuple[str, Mapping[str, str] | None]:
    """Return the rule and the scope that a target names; the scope is None for a whole rule."""
    from lastaisle.monitor.alerts.rules.registered import BY_NAME

    if target not in BY_NAME:
        if scope:
            raise typer.BadParameter("--scope goes with the name of a rule; an id has its scope")
        alert = _read(settings).find(target)
        return alert.rule, alert.scope
    pairs = [text.partition("=") for text in scope or ()]
    if any(not name.strip() or not equals or not value for name, equals, value in pairs):
        raise typer.BadParameter(f"a scope is KIND=NAME such as source=clicks, received {scope}")
    return target, {name.strip(): value for name, _, value in pairs} or None


def _print_alerts(alerts: Iterable[Alert]) -> None:
    alerts = list(alerts)
    if not alerts:
        console.print("no alerts are open")
        return
    table = Table("alert", "severity", "rule", "since (UTC)", "what", "state")
    for alert in alerts:
        cells = (alert.id, alert.severity, alert.rule, _moment(alert.since), alert.summary, _state_of(alert))
        table.add_row(*map(Text, cells))
    console.print(table)
    console.print("`lastaisle alerts show ID` shows the evidence, and what to do.", highlight=False)


def _state_of(alert: Alert) -> str:
    if alert.silence is not None:
        return f"{alert.state}, silent until {_moment(alert.silence.until)} ({alert.silence.reason})"
    if alert.is_open:
        return "open" if alert.quiet_since is None else f"open, not found since {_moment(alert.quiet_since)}"
    return f"resolved {_moment(alert.resolved_at)}{_told_by('', alert.resolved_because)}"


def _told_by(actor: str, reason: str) -> str:
    return f"{f' by {actor}' if actor else ''}{f': {reason}' if reason else ''}"


def _until(moment: datetime | None) -> str:
    return "" if moment is None else f" (until {_moment(moment)})"


def _named(rule: str, scope: Mapping[str, str] | None) -> str:
    return f"{rule} ({_words(scope)})" if scope else rule


def _words(scope: Mapping[str, Any] | None) -> str:
    return ", ".join(f"{kind} {name}" for kind, name in (scope or {}).items())


def _moment(at: datetime | None) -> str:
    return "" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"


def _say(line: str) -> None:
    console.print(line, soft_wrap=True, markup=False, highlight=False)
