"""Model cards of a made-up shop: they say the facts, name no person or item, and are safe to open."""

import contextlib
import dataclasses
import io
import json
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path

import mlflow
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from rich.console import Console

from data_contracts.contract import load_contract
from data_contracts.retention import retention_of
from lastaisle.cli.learning import _by_objective
from lastaisle.cli.releases import public_text as public_text_command
from lastaisle.errors import RegistryError
from lastaisle.evaluation.report import EvaluationReport, stored_report
from lastaisle.registry.links import artifact_page
from lastaisle.registry.tags import DELTA, EPSILON, MECHANISM, NOT_PRIVATE
from lastaisle.release.card.card import model_card
from lastaisle.release.card.facts import Facts
from lastaisle.release.card.page import TAG, card_page
from lastaisle.release.card.place import MARKDOWN, PAGE
from lastaisle.release.card.text import escape
from lastaisle.release.gate import Decision, GateRules, decide
from lastaisle.release.public import log as public
from lastaisle.release.public.text import public_text
from models.private.mechanism import Mechanism

pytestmark = pytest.mark.training

SECTIONS = [
    *("Model details", "Intended use", "Data", "Metrics", "Slices", "Limits", "Privacy", "How to use"),
]
EVIL = "<script>alert('i7')</script>"


def with_evil_names(table):
    """Put HTML into the names of items and addresses into the names of shoppers; one shopper refuses consent.

    The third item of each session goes into the cart, and the fifth is bought.
    """
    kinds = ["item_viewed", "item_viewed", "item_added", "item_viewed", "order_completed"]
    did = pc.take(pa.array(kinds), table["sequence"])
    table = table.set_column(table.column_names.index("event_type"), "event_type", did)
    items = pc.binary_join_element_wise(EVIL, table["item_id"], "")
    users = pc.binary_join_element_wise(table["user_id"], "@example.org", "")
    consent = pc.not_equal(table["user_id"], "u7")
    for name, column in (("item_id", items), ("user_id", users), ("consent_personalization", consent)):
        table = table.set_column(table.column_names.index(name), name, column)
    return table


def install(shop, empty_store, home, table):
    (home / "mlflow").mkdir(parents=True)
    shutil.copy(empty_store, home / "mlflow")
    return shop.Installation(home).with_events(table)


@pytest.fixture(scope="module")
def released(shop, empty_store, tmp_path_factory):
    """A shop with a promoted first version and a refused second one."""
    with pytest.MonkeyPatch.context() as patch:
        shop.pack_lightly(patch.setattr)
        table = with_evil_names(shop.events())
        installation = install(shop, empty_store, tmp_path_factory.mktemp("card") / "home", table)
        installation.day(1)
        installation.day(2, GateRules(margin=-1.0))
        yield installation


def card_of(installation, version, path=MARKDOWN):
    return installation.registry.read_text(installation.registry.run_of(version), path)


def facts_of(installation, version):
    registry, run_id = installation.registry, installation.registry.run_of(version)
    return Facts(
        version=version,
        plan=registry.plan_of(run_id),
        report=stored_report(run_id, registry),
        decision=Decision.from_json(registry.read_text(run_id, "release/decision.json")),
        tags=registry.tags(run_id),
        measured=registry.metrics(run_id),
        trained_at=datetime.fromtimestamp(registry.times(run_id)[1] / 1000, UTC),
    )


@pytest.mark.parametrize(("version", "verdict"), [("1", "Promoted"), ("2", "Refused")])
def test_every_version_has_its_card(released, version, verdict):
    card, page = card_of(released, version), card_of(released, version, PAGE)
    facts = facts_of(released, version)
    assert card == model_card(facts)
    assert re.findall(r"^## (.*)$", card, re.MULTILINE) == SECTIONS == re.findall(r"<h2>(.*)</h2>", page)
    assert f"**{verdict} by the gate.**" in card
    for check in facts.decision.checks:
        assert escape(check.reason) in card
    entry = released.registry.client.get_model_version(released.settings.registry.model_name, version)
    assert entry.tags[TAG] == f"runs:/{entry.run_id}/{PAGE}"
    recall = facts.report.candidate.overall.metrics["recall@20"]
    assert f"recall@20 {recall.value:.4f} [{recall.low:.4f}, {recall.high:.4f}]" in entry.description
    first, second, table, *_ = entry.description.split("\n\n")
    state = {"1": "champion. Version 1 is champion", "2": "refused. Version 2 never was champion"}[version]
    assert first.startswith(f"Now: {state}")
    assert second.startswith(f"**{verdict}.**")
    assert (facts.decision.reasons[0] in second) == (verdict == "Refused")
    for check in facts.decision.checks:
        row = re.search(rf"^\| {check.name} \| (.*) \| (.*) \| {check.says} \|$", table, re.MULTILINE)
        assert float(row[1]) == pytest.approx(check.value, abs=5e-5)
        assert "<" not in row[2], "MLflow's pages show a backslash before it"
    page = artifact_page("", released.registry.experiment_id, entry.run_id, PAGE)
    assert f"[Model card]({page})" in entry.description
    tags = released.registry.tags(entry.run_id)
    assert (tags["version"], tags["decision"]) == (version, verdict.lower())
    assert tags["state"] == ("champion" if version == "1" else "refused")


def test_the_card_counts_the_items_without_an_event(released):
    facts = facts_of(released, "2")
    assert "Items without an event" not in model_card(facts)
    before = {name: value for name, value in facts.measured.items() if "unseen" not in name}
    assert model_card(dataclasses.replace(facts, measured=before)) == model_card(facts)
    counted = {**facts.measured, "unseen_items": 7.0, "unseen_items_left_out": 2.0}
    card = model_card(dataclasses.replace(facts, measured=counted))
    assert "| Items without an event | 7 of the catalogue; 2 more are left out |" in card


def test_the_card_says_the_recorded_facts(released):
    facts, card = facts_of(released, "2"), card_of(released, "2")
    report = facts.report
    assert "| From | 2025-10-05 16:00 UTC | 2025-10-07 16:00 UTC |" in card
    assert "| To | 2025-10-07 16:00 UTC | 2025-10-08 00:00 UTC |" in card
    assert f"| Sessions used | {facts.measured['train_sessions']:.0f} | {report.sessions} |" in card
    assert facts.measured["left_out_without_consent"] == 2
    assert report.left_out == {"bots": 0, "without_consent": 0}
    assert "| Sessions left out for want of consent to personalization | 2 | 0 |" in card
    assert f"`events` at version {released.lake.version('events')}" in card
    assert f"version {facts.tags['lastaisle.contract_version']} of the data contract `events`" in card
    assert facts.tags["lastaisle.git_revision"] in card
    for name, scores in report.candidate.slices.items():
        assert re.search(rf"^\| {name} \| {scores.targets:,} \|", card, re.MULTILINE)
    for evaluation in report.models.values():
        for metric in ("precision@20", "mrr@20", "ndcg@20"):
            assert f"{evaluation.overall.metrics[metric].value:.4f}" in card
    assert "champion (1)" in card
    assert "`user_id`, `session_id`, `order_id` replaced by pseudonyms" in card
    assert "No differential privacy" in card


def test_no_item_session_or_shopper_is_named(released):
    events = released.lake.scan("events", ["item_id", "session_id", "user_id"])
    names = {name for column in events.columns for name in pc.unique(column).to_pylist()}
    assert len(names) > 1000
    for version in ("1", "2"):
        page = re.sub('base64,[^"]*|<style>[^<]*', "", card_of(released, version, PAGE))
        for text in (card_of(released, version), page):
            assert not [name for name in names if name in text]
            assert "example.org" not in text
            assert "alert" not in text


def test_no_name_of_a_shopper_reaches_mlflow(released, tmp_path):
    registry = released.registry
    for version in ("1", "2"):
        run_id = registry.run_of(version)
        folder = registry.client.download_artifacts(run_id, "", str(tmp_path))
        texts = [path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()]
        assert len(texts) > 5
        assert not [text for text in texts if b"example.org" in text]
        assert "example.org" not in str(registry.client.get_run(run_id).data.to_dictionary())


def test_each_objective_is_reported(released):
    report, card = facts_of(released, "2").report, card_of(released, "2")
    for evaluation in report.models.values():
        assert list(evaluation.objectives) == ["next_item", "new_item", "next_cart", "next_purchase"]
    for name, scores in report.candidate.objectives.items():
        recall = f"{scores.metrics['recall@20'].value:.4f}"
        assert re.search(rf"^\| {name} \| {scores.targets:,} \| {recall} ", card, re.MULTILINE)
    sizes = {name: scores.targets for name, scores in report.candidate.objectives.items()}
    assert sizes["next_item"] / 4 == pytest.approx(sizes["next_cart"], rel=0.1)
    assert sizes["next_purchase"] == pytest.approx(sizes["next_cart"], rel=0.1)
    assert EvaluationReport.from_json(report.to_json()) == report
    measured = facts_of(released, "2").measured
    assert measured["next_cart.recall_at_20"] == pytest.approx(
        report.candidate.slices["next_cart"].metrics["recall@20"].value
    )


def test_the_command_line_shows_each_objective(released):
    shown = Console(width=200, record=True, file=io.StringIO())
    shown.print(_by_objective(facts_of(released, "2").report))
    lines = shown.export_text().splitlines()
    assert "next_item (" in lines[2]
    assert "next_purchase (" in lines[2]
    assert "new_item (" in lines[2]
    assert [len(line.split(" / ")) for line in lines if "popularity" in line] == [5]


def test_other_data_make_another_card(released, shop, empty_store, tmp_path):
    table = with_evil_names(shop.events())
    fewer = table.filter(pc.invert(pc.is_in(table["session_id"], pa.array([f"s0-{n}" for n in range(50)]))))
    other = install(shop, empty_store, tmp_path / "home", fewer)
    other.day(1)
    timeless = [
        re.sub(r"\| (Trained|MLflow run|Training key) \|.*", "", card_of(installation, "1"))
        for installation in (released, other)
    ]
    assert timeless[0] != timeless[1]
    used = [re.search(r"Sessions used \| (\d+) \|", card)[1] for card in timeless]
    assert int(used[0]) - int(used[1]) == 50 - 1  # one of the 50 belongs to the shopper who refuses consent


def test_a_first_version_is_compared_with_popularity(released):
    card = card_of(released, "1")
    assert "the popularity baseline had" in card
    assert "| slice | targets | recall@20 | popularity's recall@20 |" in card
    assert "No shopper of the evaluation was seen before" not in card_of(released, "2")


def test_the_page_loads_no_other_file_and_runs_no_script(released):
    page = card_of(released, "2", PAGE)
    assert len(re.findall('<img src="data:image/png;base64,iVBOR', page)) == page.count("<img") == 2
    assert not re.findall(r"""(?:src|href|url)\s*[=(]\s*(?!"data:)""", page)
    assert "default-src 'none'" in page
    assert len(page) < 200_000


def test_html_and_markdown_in_names_are_shown_as_text(released):
    facts = facts_of(released, "2")
    candidate = facts.report.candidate
    slices = {f"{EVIL} | *x* [y](javascript:z)": next(iter(candidate.slices.values()))}
    models = {
        name: dataclasses.replace(model, slices=slices, version=f"1{EVIL}" if name == "champion" else None)
        for name, model in facts.report.models.items()
    }
    report = dataclasses.replace(facts.report, models=models, run_id=f"`{EVIL}`|")
    plan = dataclasses.replace(facts.plan, model_name=f"shop{EVIL}", architecture=EVIL)
    decision = decide(report.candidate, report.champion, GateRules(slice_min_targets=1))
    facts = dataclasses.replace(facts, report=report, plan=plan, decision=decision, version=EVIL)
    page = card_page(facts.title, model_card(facts), {})
    assert "<script" not in page
    assert page.count("&lt;script&gt;") > 8
    assert 'href="' not in page
    assert "<em>" not in page
    cells = {row.count("<td") for row in re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)}
    assert cells == {0, 2, 3, 5, 6}  # no name has added a cell
    assert escape("a\n# b") == "a # b"


def test_the_snippet_runs(released, monkeypatch):
    code = re.search("```python\n(.*?)```", card_of(released, "2"), re.DOTALL)[1]
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):  # MLflow leaves them to later processes
        monkeypatch.setenv(name, released.registry.uri)
    mlflow.set_tracking_uri(released.registry.uri)
    mlflow.set_registry_uri(released.registry.uri)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "model_card.md", "exec"), {})
    assert printed.getvalue().split()[:2] == ["items", "scores"]


@pytest.mark.parametrize("version", ["1", "2"])
def test_every_version_has_its_text_for_the_public(released, version, capsys):
    run_id = released.registry.run_of(version)
    logged = released.registry.read_text(run_id, public.MARKDOWN)
    facts = public.facts_of(version, released.registry)
    assert logged == public_text(facts)
    page = released.registry.read_text(run_id, public.PAGE)
    assert page.count("<h2>") == 5 and "default-src 'none'" in page and "<script" not in page
    entry = released.registry.client.get_model_version(released.settings.registry.model_name, version)
    assert entry.tags[public.TAG] == f"runs:/{run_id}/{public.PAGE}"
    sessions = f"{facts.measured['train_sessions']:,.0f} visits"
    assert sessions in logged and f"{facts.measured['items']:,.0f} items" in logged
    refused = {
        "1": "1 visit of visitors who do not agree was",
        "2": "2 visits of visitors who do not agree were",
    }
    assert f"Beside them, {refused[version]} left out." in logged
    assert f"weighs one half when it is {facts.plan.window.half_life_hours:g} hours older" in logged
    assert "There is no guarantee by noise" in logged and "epsilon" not in logged
    for field in load_contract("raw_events").fields:
        assert f"| {field.name.replace('_', ' ')} | {escape(field.description)} |" in logged


def test_the_text_for_the_public_names_no_item_session_or_shopper(released):
    events = released.lake.scan("events", ["item_id", "session_id", "user_id"])
    names = {name for column in events.columns for name in pc.unique(column).to_pylist()}
    written = public.public_page(public.facts_of("2", released.registry))
    assert not [name for name in names if name in written or escape(name) in written]


def test_the_text_for_the_public_follows_the_contracts_and_the_settings(released):
    facts = public.facts_of("2", released.registry)
    kept = dict(
        re.findall(r"^\| (.*?) \| .* \| (.*?) \|$", public_text(facts).split("## For how long")[1], re.M)
    )
    days = retention_of("events").days
    assert kept["the same under pseudonyms, from which recommendations learn"] == f"{days} days"
    assert kept["what the shop recorded"] == "400 days"
    changed = facts.settings.replace(
        keep_raw_days=0, keep_days='{"events": 30}', keep_releases_days=0, exclude_seen=True
    )
    other = public_text(dataclasses.replace(facts, settings=changed))
    kept = dict(re.findall(r"^\| (.*?) \| .* \| (.*?) \|$", other.split("## For how long")[1], re.M))
    assert kept["the same under pseudonyms, from which recommendations learn"] == "30 days"
    assert kept["what the shop recorded"] == "until it is erased"
    assert "Old versions of the program are kept." in other and "are left out" in other


def test_the_text_for_the_public_says_epsilon_in_plain_words(released):
    facts = public.facts_of("2", released.registry)
    mechanism = json.dumps(Mechanism("shopper", 0.1, 1.0, 10, 1.0, 400).to_dict())
    tags = {**facts.tags, MECHANISM: mechanism, EPSILON: "1.0986123", DELTA: "1e-06"}
    measured = {**facts.measured, "privacy_epsilon_year": 4.5}
    told = public_text(dataclasses.replace(facts, tags=tags, measured=measured))
    assert "at most 75 of 100 cases" in told, "e^1.0986 is 3, and 3 of 4 is 75 %"
    assert "epsilon 1.1, delta 1e-06" in told and "together have epsilon 4.5" in told
    refused = public_text(dataclasses.replace(facts, tags={**tags, NOT_PRIVATE: "it began with X"}))
    assert "no guarantee by noise" in refused and "it began with X" in refused


def test_the_command_writes_the_text_of_the_champion(released, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("LASTAISLE_HOME", str(released.settings.home))
    public_text_command(version="", html=False, to=None, lake="")
    assert capsys.readouterr().out.strip() == public_text(public.facts_of("1", released.registry)).strip()
    public_text_command(version="2", html=True, to=tmp_path / "page.html", lake="")
    assert (tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")
    with pytest.raises(RegistryError, match="'99'"):
        public_text_command(version="99", html=False, to=None, lake="")
