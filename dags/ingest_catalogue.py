"""Ingest the shop's catalogue: what is for sale, at which price, since when.

## What it does

- New and changed files of `LASTAISLE_CATALOGUE`, or the messages that wait in its Kafka topic, become rows of
  the table `items`: one row each change of an item.
- Rows that break the contract go to `quarantine`. Their items stay as they were.
- An item that a full file no longer lists is removed. A full file that would remove a greater share than
  `LASTAISLE_CATALOGUE_MAX_REMOVED` (0.5) of the items for sale is refused.
- If something changed, the asset `items` is announced. Running services read the table by themselves, within
  `LASTAISLE_SERVE_CATALOGUE_POLL_SECONDS`.

## When it runs

At the times of `LASTAISLE_CATALOGUE_CRON`, such as `*/10 * * * *`. Without that setting only on request:

```
bin/airflow dags trigger ingest_catalogue
```

**Skipped runs:** `LASTAISLE_CATALOGUE` names no catalogue. The announcement is skipped if nothing changed.

## When it fails

- **`ingest_items`:** there is no file that can be read, or the place cannot be reached.
- **`check_sources`:** a file was left out; the message names the file and the reason. The other files were
  taken in. Mend the file: the next run reads it, since it changed.
- **A full file was refused because it removes too much:** if the items are really gone, accept it once:

```
bin/lastaisle catalogue ingest --accept-removals
```

## Run it again

Safe at any time, also after a kill at any moment. A file or message that was taken in changes nothing again.
"""

from datetime import timedelta

from airflow.sdk import dag

from lastaisle.settings import Settings
from lastaisle_airflow.runtime.defaults import DEFAULT_ARGS, INGEST_POOL
from lastaisle_airflow.runtime.schedules import catalogue_schedule
from lastaisle_airflow.tasks.catalogue import announce_items, check_sources, ingest_items

SETTINGS = Settings.from_env()


@dag(
    schedule=catalogue_schedule(SETTINGS),
    catchup=False,
    max_active_runs=1,
    default_args={**DEFAULT_ARGS, "pool": INGEST_POOL},
    dagrun_timeout=timedelta(hours=2),
    doc_md=__doc__,
    tags=["lastaisle", "data"],
)
def ingest_catalogue() -> None:
    """Ingest the shop's catalogue: what is for sale, at which price, since when."""
    report = ingest_items()
    announce_items(report)
    # A broken file makes the run red after the other files were taken in and announced.
    check_sources(report)


ingest_catalogue()
