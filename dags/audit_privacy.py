"""Audit privacy once a month, for a page that a privacy officer reads and signs.

## What it does

`audit_month` asks whether the promises of privacy were kept in a month:

- rows are deleted in time, and their files too;
- requests of shoppers are answered in time, and erasures have signed receipts;
- device, place and hour single out nobody;
- the privacy budget holds, the key is young enough, and only its owner can read its file;
- how many shoppers agree to what, who asked to see data, and which fields held data of persons.

The findings are a row of the table `audits`. The page, as HTML and PDF, lies in the folder `audits` of
`LASTAISLE_HOME`. The dashboard shows it under **Privacy**.

## When it runs

On the first day of a month at 05:00 UTC, for the month before; after the maintenance of that night.

## Parameters

`month` audits another month:

```
bin/airflow dags trigger audit_privacy --conf '{"month": "2026-10"}'
```

`bin/lastaisle privacy audit --month 2026-10` does the same without Airflow.

## When findings failed

The run succeeds, its note names the findings that failed, and the alert `audit` stays open until an audit
finds nothing that failed. `docs/audit.md` says what to do about each finding. A finding that is **not known**
is one that nothing answers yet, such as the table of a part that was never used.

## When it fails

- **`WrongMonthError`:** `month` is not written like 2026-10, or has not begun.
- **`LakeConflictError`:** other writers were faster in each attempt. Clear the task.
- Other errors: read the log of the failed task, and clear the task.

## Run it again

Safe at any time, also after a kill. An audit that finds the same adds no second row.
"""

from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, dag

from lastaisle_airflow.runtime.defaults import DEFAULT_ARGS, MAINTENANCE_POOL
from lastaisle_airflow.runtime.params import optional_param
from lastaisle_airflow.tasks.privacy_audit import audit_month

PARAMS = {
    "month": optional_param(
        "string", "The month (UTC), such as 2026-10; empty for the last one.", pattern="^[0-9]{4}-[0-9]{2}$"
    )
}


@dag(
    schedule=CronTriggerTimetable("0 5 1 * *", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    params=PARAMS,
    default_args={**DEFAULT_ARGS, "execution_timeout": timedelta(hours=2), "pool": MAINTENANCE_POOL},
    dagrun_timeout=timedelta(hours=4),
    doc_md=__doc__,
    tags=["lastaisle", "privacy"],
)
def audit_privacy() -> None:
    """Audit privacy once a month, for a page that a privacy officer reads and signs."""
    audit_month()


audit_privacy()
