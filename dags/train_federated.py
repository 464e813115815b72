"""Let silos that share no rows train one model.

## What it does

1. `plan_window` plans the hours that the silos learn, and the hours that judge. The items of the model are
   those of this installation's catalogue.
2. `train_and_evaluate` starts a coordinator at `LASTAISLE_FEDERATION_ADDRESS`, and waits for the silos. In
   each round every silo learns on its own sessions and sends a change of the weights. No row leaves a silo.
3. The version is registered, evaluated on this installation's own sessions, and released by the gate, as any
   other version.

[Federated training](docs/federated.md) says how a silo joins, and which aggregation protects against what.

## When it runs

By hand: `bin/airflow dags trigger train_federated`. A silo joins by the command `federated join`, which may
run all the time: between trainings it waits for the coordinator.

## Parameters

- `rounds`, `aggregation`: as `LASTAISLE_FEDERATION_ROUNDS` and `LASTAISLE_FEDERATION_AGGREGATION`.
- `architecture`: one of the models that silos can share; `embedding_size` and `hyperparameters` shape it.
- `window_hours`, `half_life_hours`: the hours that each silo reads of its own lake.
- `data_end`: read no events from this moment on.
- `allow_older`: let a training with `data_end` replace a champion of newer hours.

An empty parameter stands for the value of the settings.

## When it fails

- **`FederationError`: in no round enough silos answered.** The message names each silo and the kind of its
  error. The log of the silo says more. Start the missing silos, and clear `train_and_evaluate`.
- **`FederationError`: the coordinator ended.** The message has the end of its log. If the port is taken, free
  it or change `LASTAISLE_FEDERATION_ADDRESS`.
- **`EnvironmentUnmadeError`:** the package index is away. The task tries again by itself.
- **`AgreementError`:** values that do not go together, such as too few silos for the aggregation, or the
  hyperparameter `epsilon`. The message says which value, and what to set instead.
- **No catalogue:** run `ingest_catalogue` first, then trigger this DAG again.
- **A silo is slow or dies:** the round goes on without it after `LASTAISLE_FEDERATION_ROUND_SECONDS`. With
  fewer than `LASTAISLE_FEDERATION_MIN_SILOS` answers, a round changes nothing.
- **A refused candidate** is not a failure. The registry keeps it, and no service gets it.
- **`NotAnnouncedError` in `send_announcements`:** a service did not get its webhook. The log names the
  service and the answer. The release stands. Later runs of this and other DAGs try again.

## Run it again

Safe at any time. A finished training is reused by its run key. A training that was killed starts again with
its first round, since silos keep nothing between rounds.
"""

from datetime import timedelta

from airflow.sdk import chain, dag

from lastaisle.settings import Settings
from lastaisle_airflow.runtime.defaults import DEFAULT_ARGS
from lastaisle_airflow.runtime.links import link_to_mlflow
from lastaisle_airflow.runtime.params import federated_training_params
from lastaisle_airflow.tasks.approval import release_with_approval, time_to_answer
from lastaisle_airflow.tasks.release import announce_champion
from lastaisle_airflow.tasks.training import plan_federated_window, train_and_evaluate
from lastaisle_airflow.tasks.webhooks import send_announcements


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    params=federated_training_params(Settings.from_env()),
    default_args={**DEFAULT_ARGS, "owner": "machine-learning", "execution_timeout": timedelta(hours=4)},
    dagrun_timeout=timedelta(hours=8) + time_to_answer(),
    doc_md=__doc__,
    tags=["lastaisle", "models"],
)
def train_federated() -> None:
    """Let silos that share no rows train one model."""
    planned = plan_federated_window()
    trained = train_and_evaluate(planned)
    released = release_with_approval(trained)
    link_to_mlflow(trained, released)
    chain(planned, trained, released, [announce_champion(released), send_announcements()])


train_federated()
