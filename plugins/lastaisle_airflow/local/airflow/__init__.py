"""Airflow on one machine: its setup, a client of its API, and steps that start or follow its runs."""
