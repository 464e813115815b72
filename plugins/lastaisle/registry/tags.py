"""The tags of MLflow runs and versions that more than one module reads."""

RUN_KEY = "run_key"
KIND = "lastaisle.kind"
PLAN = "lastaisle.plan"
GIT_REVISION = "lastaisle.git_revision"
