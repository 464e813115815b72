"""Airflow and MLflow on one machine, and the demo."""
