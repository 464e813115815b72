"""The description of a version tells every move, keeps the words of people, and never stops a move."""

import logging
import re

import pytest
from markdown_it import MarkdownIt
from mlflow.exceptions import MlflowException

from lastaisle.registry.ledger import Ledger
from lastaisle.release.description import LONGEST_REASON, NOW, with_decision, with_state
from lastaisle.release.release import sync_aliases
from lastaisle.release.rollback import rollback


def test_the_first_paragraph_says_where_the_version_is_and_the_rest_stays():
    told = with_state("**Refused.** It is worse.\n\n[Model card](#/x)", "Version 3 never was champion.")
    assert told == f"{NOW}Version 3 never was champion.\n\n**Refused.** It is worse.\n\n[Model card](#/x)"
    again = with_state(f"Anna's words.\n\n{told}", "Version 3 is champion.")
    assert again.startswith(f"Anna's words.\n\n{NOW}Version 3 is champion.\n\n**Refused.**")
    assert with_state(again, "Version 3 is champion.") == again
    assert with_state("", "It waits.") == f"{NOW}It waits."


def test_another_decision_leaves_the_state():
    assert with_decision(f"{NOW}It waits.\n\nold", "new") == f"{NOW}It waits.\n\nnew"
    assert with_decision("old", "new") == "new"


@pytest.mark.parametrize("reason", ["a\n\n# head", "<script>", "[x](http://y)", "| a | b |", "Now: I"])
def test_a_reason_of_people_is_text_in_one_paragraph(reason):
    told = with_state("rest", f"Version 1 was rolled back: {reason}")
    assert told.count("\n\n") == 1
    assert told == with_state(told, f"Version 1 was rolled back: {reason}")
    page = MarkdownIt("commonmark").enable("table").render(told)
    assert re.findall(r"<(\w+)", page) == ["p", "p"], "one paragraph of text, and the rest"


def test_a_very_long_reason_is_cut():
    assert len(with_state("", "word " * 2000)) < LONGEST_REASON + len(NOW) + 10


def descriptions(home):
    return home.registry.descriptions()


def test_each_move_is_told_also_if_mlflow_refused_at_first(home, monkeypatch, caplog):
    home.released(1, 2)
    assert descriptions(home)["1"].startswith(f"{NOW}replaced by 2. Version 1 was replaced on ")
    assert "(promote of version 2)" in descriptions(home)["1"].partition("\n\n")[0]
    assert descriptions(home)["2"].startswith(f"{NOW}champion. Version 2 is champion since ")
    runs = home.registry.client.search_runs([home.registry.experiment_id], order_by=["start_time"])
    assert [run.info.run_name for run in runs] == ["2025-10-06", "2025-10-07"]
    assert [run.data.tags["state"] for run in runs] == ["replaced by 2", "champion"]

    def refuse(*_):
        raise MlflowException("no disk")

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(home.registry, "describe_version", refuse)
        back = rollback(home.lake, home.registry, reason="bad", dry_run=False)
    assert (back.moved, home.registry.aliases()["champion"]) == (True, "1")
    assert "version 1 could not be described: no disk" in caplog.text

    (gone,) = [run.info.run_id for run in runs if run.data.tags["version"] == "2"]
    home.registry.delete_run(gone)
    sync_aliases(home.lake, home.registry)
    assert descriptions(home)["1"].startswith(f"{NOW}champion. Version 1 is champion since ")
    assert descriptions(home)["2"].startswith(f"{NOW}rolled back to 1. Version 2 was rolled back on ")
    (*_, move) = Ledger(home.lake, home.registry.model_name).moves()
    assert home.registry.are_states_told(move.move_id)
