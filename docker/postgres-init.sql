-- Airflow and MLflow both keep a table alembic_version, so each needs a database of its own.
CREATE DATABASE mlflow OWNER lastaisle;
