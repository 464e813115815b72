"""Airflow, MLflow and the service on one machine, and the demo."""
