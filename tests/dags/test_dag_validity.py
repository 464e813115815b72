"""Every DAG can be read, and keeps the rules of DAGs in this project."""

import ast
from datetime import timedelta
from pathlib import Path

import pytest
from airflow.sdk.exceptions import ParamValidationError

from lastaisle.settings import Settings
from lastaisle.training.kinds.federated import SHARED
from lastaisle_airflow.runtime.operators import TriggerWithNote
from lastaisle_airflow.runtime.params import HYPERPARAMETERS, training_defaults

ROOT = Path(__file__).resolve().parents[2]
BASELINES = {"popularity", "repeat", "cooccurrence"}
DAG_FILES = sorted((ROOT / "dags").glob("*.py"))
HEADINGS = ("## What it does", "## When it runs", "## When it fails", "## Run it again")
OWNERS = {"data-engineering", "machine-learning"}


def test_all_dags_are_read_without_an_error(dagbag):
    assert dagbag.import_errors == {}
    assert sorted(dagbag.dags) == [path.stem for path in DAG_FILES]


def test_a_dag_file_stays_small():
    lengths = {path.name: len(path.read_text().splitlines()) for path in DAG_FILES}
    assert {name: lines for name, lines in lengths.items() if lines > 120} == {}


@pytest.mark.parametrize("path", DAG_FILES, ids=lambda path: path.stem)
def test_a_dag_file_holds_no_logic(path):
    """Its only function is the DAG. The DAG defines no task, imports nothing, and repeats nothing."""
    tree = ast.parse(path.read_text())
    defined = (ast.FunctionDef, ast.ClassDef, ast.Lambda)
    functions = [node for node in ast.walk(tree) if isinstance(node, defined)]
    assert [getattr(node, "name", "lambda") for node in functions] == [path.stem]
    (dag,) = functions
    assert [ast.unparse(call.func) for call in dag.decorator_list] == ["dag"]
    logic = (ast.For, ast.While, ast.Try, ast.With, ast.Import, ast.ImportFrom, ast.Return)
    assert [ast.unparse(node) for node in ast.walk(dag) if isinstance(node, logic)] == []


def function_of(task):
    """Return the function of a task; None for an operator."""
    return getattr(task, "python_callable", None)


def test_tasks_are_defined_in_the_packages_of_tasks_and_operators(dag):
    for task in dag.tasks:
        function = function_of(task)
        module = function.__module__ if function else type(task).__module__
        expected = "lastaisle_airflow.tasks." if function else "lastaisle_airflow.runtime.operators"
        assert module.startswith(expected), task.task_id


def test_the_runbook_is_the_docstring_with_its_headings(dag):
    headings = [line for line in dag.doc_md.splitlines() if line.startswith("#")]
    assert [heading for heading in HEADINGS if heading not in headings] == []
    assert ("## Parameters" in headings) == bool(dag.params), "each parameter of a DAG is explained"


def test_a_runbook_prints_commands_that_find_this_projects_airflow(dag):
    """`airflow` alone would use ~/airflow; the commands in bin/ set AIRFLOW_HOME and LASTAISLE_HOME."""
    blocks = dag.doc_md.split("```")[1::2]
    commands = [line.strip() for block in blocks for line in block.strip().splitlines()]
    assert [line for line in commands if not line.startswith(("bin/airflow ", "bin/lastaisle "))] == []
    for bare in ("`airflow dags", "`airflow backfill", "`lastaisle "):
        assert bare not in dag.doc_md


def test_each_task_says_what_it_does(dag):
    tasks = [task for task in dag.tasks if not isinstance(task, TriggerWithNote)]
    assert [task.task_id for task in tasks if not function_of(task).__doc__] == []


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
        if task.task_id in ("check_sources", "check_exposures", "raise_alarm"):
            assert task.retries == 0, "it only reports what has failed already"
            continue
        assert task.retries >= 2, task.task_id
        assert task.retry_exponential_backoff > 1, task.task_id


def test_heavy_tasks_wait_for_a_slot(dagbag):
    for task in dagbag.dags["ingest_sessions"].tasks:
        assert task.pool == "ingest", task.task_id
    assert {task.pool for task in dagbag.dags["attribute_outcomes"].tasks} == {"ingest"}
    for name in ("analyze_experiments", "update_bandit"):
        assert {task.pool for task in dagbag.dags[name].tasks} == {"ingest"}
    assert {task.pool for task in dagbag.dags["maintain_tables"].tasks} == {"maintenance"}
    for name in ("retrain_incremental", "retrain_full", "refresh_on_abandonment", "train_federated"):
        assert dagbag.dags[name].get_task("train_and_evaluate").pool == "training"
    assert dagbag.dags["detect_drift"].get_task("measure_drift").pool == "training"
    assert dagbag.dags["update_online"].get_task("learn_sessions").pool == "training"


def test_every_pool_is_created_by_the_setup(dagbag):
    from lastaisle_airflow.local.airflow.setup import POOLS

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


def test_requests_of_shoppers_are_done_every_day_and_no_parameter_takes_an_id_of_a_shopper(dagbag):
    dag = dagbag.dags["erase_subjects"]
    assert dag.timetable.expression == "10 5 * * *"
    assert set(dag.params) == {"request_id", "dry_run"}
    assert dag.params["dry_run"] is False, "a person counted the rows when they asked"
    with pytest.raises(ParamValidationError):
        dag.params.get_param("request_id").resolve("anna@example.org")
    assert dag.params.get_param("request_id").resolve("0123456789abcdef") == "0123456789abcdef"


def test_every_model_that_can_be_served_is_offered(dagbag):
    from models.by_name import MODEL_NAMES

    param = dagbag.dags["retrain_full"].params.get_param("architecture")
    assert param.schema["enum"] == [None, *(name for name in MODEL_NAMES if name not in BASELINES)]
    with pytest.raises(ParamValidationError):
        param.resolve("no-such-model")


def test_every_way_of_silos_is_offered(dagbag):
    from models.federated.agreement import AGGREGATIONS

    params = dagbag.dags["train_federated"].params
    assert set(params.get_param("aggregation").schema["enum"]) == {None, *AGGREGATIONS}
    assert params.get_param("architecture").schema["enum"] == [None, *SHARED]
    assert params.get_param("rounds").description.endswith("Empty: 8, as in the settings.")


def test_the_form_of_a_full_training_names_the_values_of_empty_fields(dagbag, monkeypatch):
    from models.options import TrainingOptions

    options = TrainingOptions()
    assert {name: getattr(options, name) for name in HYPERPARAMETERS} == HYPERPARAMETERS
    monkeypatch.setenv("LASTAISLE_HYPERPARAMETERS", '{"epochs": 3}')
    assert training_defaults(Settings.from_env()) == HYPERPARAMETERS | {"epochs": 3}
    params = dagbag.dags["retrain_full"].params
    assert params.get_param("window_hours").description.endswith("Empty: 720, as in the settings.")
    assert params.get_param("epochs").description.endswith("Empty: 6, as in the settings.")
    shown = params.get_param("architecture").schema["values_display"]
    assert shown == {"null": "as in the settings: attention"}, "a key None would name all entries"


def test_params_are_typed(dagbag):
    for dag in dagbag.dags.values():
        for name in dag.params:
            param = dag.params.get_param(name)
            assert param.schema.get("type"), f"{dag.dag_id}.{name}"
            assert param.description, f"{dag.dag_id}.{name}"


def test_every_form_opens_ready_to_trigger(dagbag):
    """A form's field is mandatory unless its type includes null, and it sends null when it is empty."""
    for dag in dagbag.dags.values():
        form = {name: dag.params[name] for name in dag.params}
        for name, value in form.items():
            kinds = dag.params.get_param(name).schema["type"]
            assert "null" in kinds or value not in (None, "", [], {}), f"{dag.dag_id}.{name}"
            dag.params.get_param(name).resolve(value)


def test_a_rollback_can_be_triggered_as_its_runbook_says(dagbag):
    params = dagbag.dags["rollback_model"].params
    assert {name: params[name] for name in params} == {
        "to_version": None,
        "reason": "Rolled back by hand in Airflow",
        "dry_run": True,
        "force": False,
    }
    for conf in ({"to_version": 3, "reason": "CTR fell", "dry_run": False}, {"reason": None}):
        for name, value in conf.items():
            assert params.get_param(name).resolve(value) == value
    for name, wrong in (("to_version", 0), ("reason", "x" * 501), ("dry_run", None), ("force", "yes")):
        with pytest.raises(ParamValidationError):
            params.get_param(name).resolve(wrong)


def test_days_to_attribute_anew_are_days(dagbag):
    days = dagbag.dags["attribute_outcomes"].params.get_param("days")
    assert days.resolve(["2025-10-09", "2025-10-10"]) == ["2025-10-09", "2025-10-10"]
    assert days.resolve(None) is None
    for wrong in ("2025-10-09", ["yesterday"], ["2025-10-09T14"], [3]):
        with pytest.raises(ParamValidationError):
            days.resolve(wrong)
