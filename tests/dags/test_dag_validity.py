"""Every DAG can be read, and keeps the rules of the house."""

from datetime import timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BASELINES = {"popularity", "cooccurrence"}
OWNERS = {"data-engineering", "machine-learning"}


def test_all_dags_are_read_without_an_error(dagbag):
    assert dagbag.import_errors == {}
    assert sorted(dagbag.dags) == sorted(path.stem for path in (ROOT / "dags").glob("*.py"))


def test_a_dag_file_stays_small():
    long = {path.name: len(path.read_text().splitlines()) for path in (ROOT / "dags").glob("*.py")}
    assert {name: lines for name, lines in long.items() if lines > 120} == {}


def test_runbook_is_the_docstring(dag):
    assert dag.doc_md and "**" in dag.doc_md, "doc_md=__doc__, with a runbook in the module's docstring"


def test_dag_has_tags_and_limits(dag):
    assert {"lastaisle"} < set(dag.tags)
    assert dag.max_active_runs == 1
    assert dag.dagrun_timeout is not None
    assert not dag.catchup


def test_tasks_have_owner_timeout_and_callbacks(dag):
    for task in dag.tasks:
        assert task.owner in OWNERS, task.task_id
        assert task.execution_timeout and task.execution_timeout <= timedelta(hours=4), task.task_id
        assert task.on_failure_callback, task.task_id


def test_tasks_try_again_with_growing_pauses(dag):
    for task in dag.tasks:
        if task.task_id == "check_sources":
            assert task.retries == 0, "it only reports what has failed already"
            continue
        assert task.retries >= 2, task.task_id
        assert task.retry_exponential_backoff > 1, task.task_id


def test_heavy_tasks_wait_for_a_slot(dagbag):
    for task in dagbag.dags["ingest_sessions"].tasks:
        assert task.pool == "ingest", task.task_id
    assert {task.pool for task in dagbag.dags["maintain_tables"].tasks} == {"maintenance"}
    for name in ("retrain_incremental", "retrain_full", "refresh_on_abandonment"):
        assert dagbag.dags[name].get_task("train_and_evaluate").pool == "training"
    assert dagbag.dags["detect_drift"].get_task("measure_drift").pool == "training"
    assert dagbag.dags["update_online"].get_task("learn_sessions").pool == "training"


def test_every_pool_is_created_by_the_setup(dagbag):
    from lastaisle_airflow.local.setup import POOLS

    used = {task.pool for dag in dagbag.dags.values() for task in dag.tasks}
    assert used <= {"default_pool", *POOLS}
    assert POOLS["training"][0] == 1, "TensorFlow takes all cores"


def test_destructive_dags_do_nothing_by_default(dagbag):
    assert dagbag.dags["rollback_model"].params["dry_run"] is True


def test_maintenance_runs_by_itself_and_can_be_asked_first(dagbag):
    dag = dagbag.dags["maintain_tables"]
    assert dag.params["dry_run"] is False, (
        "what it deletes is bounded by settings; unmaintained tables slow down"
    )
    assert dag.timetable.expression == "30 4 * * *"


def test_every_model_that_can_be_served_is_offered(dagbag):
    from models.recommender import MODEL_NAMES

    described = dagbag.dags["retrain_full"].params.get_param("architecture").description
    assert [name for name in MODEL_NAMES if name not in BASELINES and name not in described] == []


def test_params_are_typed(dagbag):
    for dag in dagbag.dags.values():
        for name in dag.params:
            param = dag.params.get_param(name)
            assert param.schema.get("type"), f"{dag.dag_id}.{name}"
            assert param.description, f"{dag.dag_id}.{name}"
