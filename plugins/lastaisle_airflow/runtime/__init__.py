"""What the DAGs share: assets, partitions, stores, deadlines, links, and defaults."""
