"""The alert rules for Prometheus: promtool accepts them, each fires in a case, and their metrics exist."""

import re
import shutil
import subprocess
from pathlib import Path

import airflow._shared.observability.metrics as airflow_metrics
import pytest
import yaml

from lastaisle.collect.metrics import Metrics as CollectorMetrics
from lastaisle.monitor.metrics import families
from lastaisle.serve.metrics import Metrics as ServiceMetrics
from tests.services.required import require_service

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docker" / "prometheus"
CASES = sorted((Path(__file__).parent / "prometheus").glob("*.test.yml"))
PAGE = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
RULES = [
    rule
    for file in sorted((FOLDER / "rules").glob("*.yml"))
    for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
OF_SERVERS = [
    metric for server in (ServiceMetrics(), CollectorMetrics()) for metric in server._registry.collect()
]


def promtool(folder, *arguments):
    program = shutil.which("promtool")
    if program is None:
        require_service("the alert rules need promtool: apt-get install prometheus")
    ended = subprocess.run(
        [program, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.fixture
def folder(tmp_path):
    """The configuration and the cases in one folder, since a case names its rules beside it."""
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    for case in CASES:
        shutil.copy(case, tmp_path)
    return tmp_path


@pytest.mark.service
def test_promtool_accepts_the_configuration_and_the_rules(folder):
    promtool(folder, "check", "config", "--syntax-only", "prometheus.yml")
    promtool(folder, "check", "rules", *(f"rules/{file.name}" for file in (folder / "rules").iterdir()))


@pytest.mark.service
@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_each_alert_fires_in_a_broken_shop_and_none_in_a_quiet_shop(folder, case):
    promtool(folder, "test", "rules", case.name)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_has_a_severity_a_summary_a_runbook_and_a_case(rule):
    assert rule["labels"]["severity"] in ("info", "warning", "critical")
    assert rule["annotations"]["summary"].endswith((".", ")."))
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert (page, anchor) == ("docs/metrics.md", rule["alert"].lower())
    section = PAGE.partition(f"\n### {rule['alert']}\n")[2].partition("\n#")[0]
    assert len(section.split()) > 10, "the runbook says what to do"
    assert any(f'alertname="{rule["alert"]}"' in case.read_text(encoding="utf-8") for case in CASES)


def airflow_names():
    """Return the names of Airflow's metrics, as Prometheus reads them by OTLP."""
    template = Path(airflow_metrics.__file__).with_name("metrics_template.yaml")
    listed = yaml.safe_load(template.read_text(encoding="utf-8"))["metrics"]
    suffixes = {"counter": "_total"}
    return {
        f"airflow_{metric['name'].replace('.', '_')}{suffixes.get(metric['type'], '')}" for metric in listed
    }


def test_every_metric_that_a_rule_names_is_exported():
    exported = {family.name for family in families.FAMILIES} | airflow_names()
    for metric in OF_SERVERS:
        ends = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(metric.type, ("",))
        exported |= {f"{metric.name}{end}" for end in ends}
    named = {
        name
        for rule in RULES
        for name in re.findall(r"\b(?:lastaisle|airflow)_\w+", re.sub(r'"[^"]*"', "", rule["expr"]))
    }
    assert len(named) > 20
    assert named <= exported


def rows():
    """Return kind, labels and meaning of each metric that the page lists, by name."""
    lines = [line.strip("|").split("|") for line in PAGE.splitlines() if line.startswith("| `lastaisle_")]
    return {cells[0].strip(" `"): [cell.strip() for cell in cells[1:]] for cells in lines}


def test_the_page_lists_every_metric_with_its_meaning():
    listed = rows()
    for family in families.FAMILIES:
        labels = ", ".join(f"`{label}`" for label in family.labels)
        assert listed.pop(family.name) == [family.kind, labels, family.help]
    for metric in OF_SERVERS:
        kind, _, meaning = listed.pop(metric.name + ("_total" if metric.type == "counter" else ""))
        assert (kind, meaning) == (metric.type, metric.documentation)
    assert not listed, "the page lists metrics that nobody exports"
