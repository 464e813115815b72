"""Watch the releases: roll a bad champion back, and let the shadow and the canary take their steps.

## What it does

- `watch` compares what shoppers did since the champion serves with the same hours of past weeks: conversion,
  revenue a session, CTR, cart additions and abandonment. It also looks at errors, empty lists and latency.
- A drop that is surely there, and that the version is to blame for, rolls the champion back to `previous`.
- With release rules (`LASTAISLE_RELEASE_RULES`), `watch` judges the canary against its control, and the
  shadow by what services measure. Each goes on to its next step, waits, or is retired.
- The log of `watch` has the decision tables: rule, value, threshold and verdict. The ledger and MLflow have
  them too. docs/releases.md explains the rules.
- `announce_champion` announces the asset `checkout_recommender` if the champion moved.
- `send_announcements` sends the webhooks that are due (`LASTAISLE_WEBHOOKS`), also those that failed before.
- `raise_alarm` fails if the champion was rolled back, so that people see it. There is nothing to repair.

## When it runs

After each run of `attribute_outcomes` that changed the shop's figures, which follows each ingestion.

**Skipped tasks:** the champion did not move, or nothing was rolled back.

## When it fails

- **`raise_alarm`:** the guardrails rolled the champion back. Another version serves already. Read the
  decision table in the log of `watch`, and find out why the version is worse. Then mark the task as success.
- **`ReleaseRulesError` in `watch`:** the file of release rules has a mistake. The log names the line. Nothing
  moves until the file is right.
- **`ArtifactsUnreachableError`:** MLflow's folder of artifacts is not mounted.
- Other errors: read the log, and clear the task.
- **`NotAnnouncedError` in `send_announcements`:** a service did not get its webhook. The log names the
  service and the answer. The release stands. Later runs of this and other DAGs try again.

## Run it again

Safe at any time, also after a kill at any moment. The same figures move nothing twice.
"""

from datetime import timedelta

from airflow.sdk import chain, dag

from lastaisle.settings import Settings
from lastaisle_airflow.runtime.defaults import DEFAULT_ARGS
from lastaisle_airflow.runtime.schedules import figures_schedule
from lastaisle_airflow.tasks.release import announce_champion
from lastaisle_airflow.tasks.watching import raise_alarm, watch
from lastaisle_airflow.tasks.webhooks import send_announcements


@dag(
    schedule=figures_schedule(Settings.from_env()),
    catchup=False,
    max_active_runs=1,
    default_args={**DEFAULT_ARGS, "owner": "machine-learning"},
    dagrun_timeout=timedelta(hours=1),
    doc_md=__doc__,
    tags=["lastaisle", "models"],
)
def watch_releases() -> None:
    """Watch the releases: roll a bad champion back, and let the shadow and the canary take their steps."""
    report = watch()
    # The new champion is announced before the run fails.
    chain(announce_champion(report), raise_alarm(report))
    report >> send_announcements()


watch_releases()
