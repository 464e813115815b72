"""Make Airflow ready for our DAGs: `python -m lastaisle_airflow.local.airflow.setup`."""

from __future__ import annotations

from lastaisle_airflow.runtime.defaults import INGEST_POOL, MAINTENANCE_POOL, TRAINING_POOL

POOLS = {
    INGEST_POOL: (3, "Batches ingested at once: each needs one core and some hundred MiB."),
    MAINTENANCE_POOL: (1, "Compaction takes all cores and some GiB: one table at a time."),
    TRAINING_POOL: (1, "TensorFlow takes all cores: one training or evaluation at a time."),
}


def create_pools() -> None:
    """Create the missing pools; a pool that exists keeps its number of slots."""
    from airflow.models.pool import Pool  # Airflow's models may be imported only after airflow.cfg exists

    for name, (slots, description) in POOLS.items():
        if Pool.get_pool(name) is None:
            Pool.create_or_update_pool(name, slots, description, include_deferred=False)


def main() -> None:
    """Write airflow.cfg if it is missing, upgrade the database, and create the pools.

    airflow.cfg holds the secret that tasks and API server share. Without the file, each of Airflow's commands
    would write a secret of its own, and refuse the tasks of the other commands.
    """
    from airflow.configuration import write_default_airflow_configuration_if_needed
    from airflow.utils.db import initdb

    write_default_airflow_configuration_if_needed()
    initdb()
    create_pools()


if __name__ == "__main__":
    main()
