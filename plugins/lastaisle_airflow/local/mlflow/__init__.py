"""MLflow's server, with accounts and without."""
