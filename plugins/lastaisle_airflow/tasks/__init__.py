"""The `@task` functions of the DAGs, a file for each family of DAGs.

DAG files import this package, and Airflow reads DAG files every few seconds in many processes. A worker then
forks for each task, and TensorFlow, DuckDB and delta-rs must not be loaded before a fork. So these modules
import at their top only light modules, and each task imports the pipeline inside its function.
"""

from lastaisle.telemetry.quiet import quiet_libraries

# Each task's process reads its DAG file, and so this package, before it loads any library.
quiet_libraries()
