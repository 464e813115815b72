"""Let bandits learn from what shoppers did, and show the better arms more often.

## What it does

- `update_bandits` reads the lists of each running bandit from the table `outcomes`. It computes anew what the
  bandit has learned, and the probability of each arm.
- The gate decides about the share of lists that follow the policy. At first the share is 0: the policy only
  observes. See `docs/bandits.md`.
- What changed is one row in the table `traffic`. Services follow it within seconds. The table `bandit_arms`
  gets one row for each arm. `bin/lastaisle bandits show` prints the arms.

## When it runs

After each run of `attribute_outcomes` that changed the shop's figures.

**Skipped tasks:** no bandit runs. An update without news writes nothing.

## Parameters

`bandits` is empty by default: all running bandits learn. To let some of them learn:

```
bin/airflow dags trigger update_bandit --conf '{"bandits": ["which-list"]}'
```

## When it fails

- **`BanditError`:** the message names the bandit whose row in `traffic` cannot run, and the reason. The other
  bandits learned. Correct the definition, and apply it. To stop a bandit at once:
  `bin/lastaisle experiments stop NAME --reason TEXT`.
- **`LakeConflictError`:** other writers were faster in each attempt. Clear the task.
- Other errors: read the log of the failed task, and clear the task.

## Run it again

Safe at any time, also after a kill at any moment. What a bandit has learned follows from the outcomes alone.
`bin/lastaisle bandits replay NAME` computes it again, and says whether it is equal.
"""

from datetime import timedelta

from airflow.sdk import dag

from lastaisle.settings import Settings
from lastaisle_airflow.runtime.defaults import DEFAULT_ARGS, INGEST_POOL
from lastaisle_airflow.runtime.params import optional_param
from lastaisle_airflow.runtime.schedules import figures_schedule
from lastaisle_airflow.tasks.bandits import update_bandits

NAME = {"type": "string", "minLength": 1}
PARAMS = {"bandits": optional_param("array", "Bandits that learn; empty for all.", items=NAME)}


@dag(
    schedule=figures_schedule(Settings.from_env()),
    catchup=False,
    max_active_runs=1,
    params=PARAMS,
    default_args={**DEFAULT_ARGS, "pool": INGEST_POOL},
    dagrun_timeout=timedelta(hours=2),
    doc_md=__doc__,
    tags=["lastaisle", "experiments"],
)
def update_bandit() -> None:
    """Let bandits learn from what shoppers did, and show the better arms more often."""
    update_bandits()


update_bandit()
