"""The tasks of `raise_alerts`."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from airflow.sdk import TriggerRule, task
from airflow.sdk.exceptions import AirflowFailException

from lastaisle.settings import Settings
from lastaisle_airflow.runtime.channels import AirflowResolver
from lastaisle_airflow.runtime.notes import note, skipped
from lastaisle_airflow.runtime.stores import open_lake

# Tasks import the pipeline inside their functions: nothing heavy may be loaded before a worker forks.

log = logging.getLogger(__name__)


@task(execution_timeout=timedelta(minutes=15))
def check_rules() -> dict[str, Any]:
    """Check all rules, and write what changed into the table `alerts`; return the numbers.

    Raises:
        AirflowFailException: the configuration of alerts has a mistake; a retry would not help.
        ExceptionGroup: faults in rules; the alerts of the other rules are written.
    """
    from lastaisle.monitor.alerts.config import AlertConfigError, read_config
    from lastaisle.monitor.alerts.raise_alerts import raise_alerts
    from lastaisle.registry.registry import Registry

    settings = Settings.from_env()
    try:
        config = read_config(settings)
    except AlertConfigError as wrong:
        raise AirflowFailException(str(wrong)) from wrong
    report = raise_alerts(open_lake(settings), lambda: Registry(settings), settings, config)
    *changes, summary = report.lines()
    for line in changes:
        log.warning("%s", line)
    note(summary, warn=bool(report.open))
    kinds = ("opened", "changed", "resolved", "open")
    return {kind: len(getattr(report, kind)) for kind in kinds} | {"skipped": report.skipped}


# Also after a fault in a rule: the alerts of the other rules are there.
@task(trigger_rule=TriggerRule.ALL_DONE, execution_timeout=timedelta(minutes=15))
def act_on_alerts() -> dict[str, Any]:
    """Roll back, and name the training that is to be started, as rules with an action say; return the report.

    Raises:
        ExceptionGroup: rollbacks that failed; all other actions were carried out.
    """
    from lastaisle.monitor.alerts.actions import act
    from lastaisle.monitor.alerts.config import read_config
    from lastaisle.registry.registry import Registry

    settings = Settings.from_env()
    report = act(open_lake(settings), lambda: Registry(settings), read_config(settings), dry_run=False)
    for line in report.lines():
        log.warning("%s", line)
    moved = [one.sentence for one in report.actions if one.acted and one.action == "rollback"]
    if moved:
        note(" ".join(moved), warn=True)
    return report.to_dict()


@task
def name_training(report: dict[str, Any]) -> dict[str, str]:
    """Return the id and the note of the training that alerts ask for.

    Raises:
        AirflowSkipException: no alert asks for a training.
    """
    if report["training"] is None:
        raise skipped("no open alert has a rule with the action retrain")
    return dict(report["training"])


# Also after a rollback that failed: people have to hear of the alert.
@task(trigger_rule=TriggerRule.ALL_DONE, execution_timeout=timedelta(minutes=15))
def send_alerts() -> dict[str, Any]:
    """Send the messages that are due; return the report.

    Raises:
        AirflowSkipException: LASTAISLE_ALERTS names no channel.
        NotDeliveredError: a message did not arrive; a retry, or a later run, tries again.
    """
    from lastaisle.monitor.alerts.config import read_config
    from lastaisle.monitor.alerts.send import send_alerts as send

    settings = Settings.from_env()
    config = read_config(settings)
    if not config.channels:
        raise skipped("LASTAISLE_ALERTS names no channel: alerts are shown, and not sent")
    report = send(open_lake(settings), config, resolver=AirflowResolver())
    for line in report.lines():
        log.info("%s", line)
    report.require_delivered()
    return report.to_dict()
