"""The glue between Airflow and the pipeline: assets, defaults, links, shared steps, services, the demo."""
