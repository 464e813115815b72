"""The connection between Airflow and the pipeline: tasks, assets, schedules, local services, the demo."""
