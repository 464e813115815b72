"""Airflow, MLflow and the service on one machine, the demo and the loop."""
