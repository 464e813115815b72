"""Make Airflow ready for our DAGs: its database and the pools. `python -m lastaisle_airflow.setup`."""

from __future__ import annotations

from lastaisle_airflow.defaults import INGEST_POOL, TRAINING_POOL

POOLS = {
    INGEST_POOL: (3, "Files ingested at once: each needs one core and some hundred MiB."),
    TRAINING_POOL: (1, "TensorFlow takes all cores: one training or evaluation at a time."),
}


def create_pools() -> None:
    """Create the pools; where they exist, leave the number of slots that someone chose."""
    from airflow.models.pool import Pool

    for name, (slots, description) in POOLS.items():
        if Pool.get_pool(name) is None:
            Pool.create_or_update_pool(name, slots, description, include_deferred=False)


def main() -> None:
    """Bring the database to this Airflow's schema and create the pools."""
    from airflow.utils.db import initdb

    initdb()
    create_pools()


if __name__ == "__main__":
    main()
