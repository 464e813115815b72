"""Join what shoppers did to what they were shown, and count the shop's figures.

## What it does

- `attribute_outcomes` finds the exposure from which each click, view, cart addition and order follows. The
  table `outcomes` has one row for each exposure, the table `unattributed` the clicks without an exposure.
- `count_metrics` counts the outcomes by hour, placement, version, policy, arm, segment and position into the
  table `shop_metrics`. `bin/lastaisle metrics` shows them.
- Only the days are computed anew whose events or exposures changed. So late events and late exposures
  correct the rows of their day in place.
- The assets `outcomes` and `shop_metrics` are announced with the days that changed.

## When it runs

- **Source files:** after each partition of `events`, and after each run of `ingest_sessions` that stored
  exposures.
- **Source Kafka:** after each run of `ingest_sessions` that stored events or exposures.

A run of `ingest_sessions` may start two runs: the first has the events without the exposures, or the
exposures without the events. The second run completes the figures.

**Skipped tasks:** nothing changed.

## Parameters

`days` is empty by default. Days that you name are computed anew, even if none of their rows changed:

```
bin/airflow dags trigger attribute_outcomes --conf '{"days": ["2025-10-09"]}'
```

## When it fails

- **`ReconciliationError`:** the clicks in `exposures` are not the clicks of `outcomes` and `unattributed`
  together. Rows of one of the tables were changed by hand, or went away. Compute the day anew.
- **`LakeConflictError`:** other writers were faster in each attempt. Clear the task.
- Other errors: read the log of the failed task, and clear the task.

## Run it again

Safe at any time, also after a kill at any moment. The same events and exposures give the same tables.
"""

from datetime import timedelta

from airflow.sdk import chain, dag

from lastaisle.settings import Settings
from lastaisle_airflow.runtime.defaults import DEFAULT_ARGS, INGEST_POOL
from lastaisle_airflow.runtime.params import optional_param
from lastaisle_airflow.runtime.schedules import attribution_schedule
from lastaisle_airflow.tasks.outcomes import attribute_outcomes as attribute
from lastaisle_airflow.tasks.outcomes import count_metrics

DAY = {"type": "string", "format": "date"}
PARAMS = {"days": optional_param("array", "Days to compute anew, such as 2025-10-09.", items=DAY)}


@dag(
    schedule=attribution_schedule(Settings.from_env()),
    catchup=False,
    max_active_runs=1,
    params=PARAMS,
    default_args={**DEFAULT_ARGS, "execution_timeout": timedelta(hours=2), "pool": INGEST_POOL},
    dagrun_timeout=timedelta(hours=6),
    doc_md=__doc__,
    tags=["lastaisle", "data"],
)
def attribute_outcomes() -> None:
    """Join what shoppers did to what they were shown, and count the shop's figures."""
    chain(attribute(), count_metrics())


attribute_outcomes()
