"""Parts that all DAGs share: assets, partitions, schedules, stores, operators, deadlines, links, defaults."""
