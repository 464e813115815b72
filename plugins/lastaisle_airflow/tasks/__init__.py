"""The tasks of the DAGs, one file a family of DAGs."""
