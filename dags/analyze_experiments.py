"""Start the experiments that are defined, compare their arms, and end those that have a verdict.

## What it does

- `apply_definitions` reads the files in the folder `LASTAISLE_EXPERIMENTS`. It starts, changes and stops
  experiments and bandits as the files say. See `docs/experiments.md`.
- `analyze` looks at each running experiment at the end of each hour that is over. The intervals hold for any
  number of looks. The table `experiment_results` gets one row for each hour, metric and arm.
- An experiment with a verdict ends: the arm that wins, no difference, a guardrail that got worse, a wrong
  sample ratio, or the planned end. The table `traffic` gets one row, and within seconds services show the
  champion to all shoppers. The log of `analyze` holds the verdict in words.

## When it runs

After each run of `attribute_outcomes` that changed the shop's figures. The clock is the newest event, and not
the time of day: a run without new events finds nothing new.

**Skipped tasks:** nothing is defined, or no experiment runs.

## Parameters

`experiments` is empty by default: all running experiments are analysed. To analyse some of them:

```
bin/airflow dags trigger analyze_experiments --conf '{"experiments": ["two-models"]}'
```

## When an experiment ends

Read the log of `analyze`, or:

```
bin/lastaisle experiments show two-models --chart two-models.png
```

1. **An arm wins:** release the version that the arm shows.
2. **A guardrail stopped it:** the new version harms the shop. Find out why before the next experiment.
3. **The sample ratio is wrong:** lists of one arm are not reported as shown. Mend that, and start a new
   experiment under another name. The results say nothing.

## When it fails

- **`DefinitionError`:** a file cannot be used; the message names the file and the line. The other files were
  applied, and `analyze` runs. Correct the file.
- **`AnalysisError`:** the message names the experiment and the reason. The other experiments were analysed.
- **`LakeConflictError`:** other writers were faster in each attempt. Clear the task.
- Other errors: read the log of the failed task, and clear the task.
- **`NotAnnouncedError` in `send_announcements`:** a service did not get its webhook. The log names the
  service and the answer. The verdict stands. Later runs of this and other DAGs try again.

## Run it again

Safe at any time, also after a kill at any moment. The results of an hour are written once and never change.
"""

from datetime import timedelta

from airflow.sdk import chain, dag

from lastaisle.settings import Settings
from lastaisle_airflow.runtime.defaults import DEFAULT_ARGS, INGEST_POOL
from lastaisle_airflow.runtime.params import optional_param
from lastaisle_airflow.runtime.schedules import figures_schedule
from lastaisle_airflow.tasks.experiments import analyze, apply_definitions
from lastaisle_airflow.tasks.webhooks import send_announcements

NAME = {"type": "string", "minLength": 1}
PARAMS = {"experiments": optional_param("array", "Experiments to analyse; empty for all.", items=NAME)}


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
def analyze_experiments() -> None:
    """Start the experiments that are defined, compare their arms, and end those that have a verdict."""
    # An experiment whose file stops it is stopped before it is analysed.
    chain(apply_definitions(), analyze(), send_announcements())


analyze_experiments()
