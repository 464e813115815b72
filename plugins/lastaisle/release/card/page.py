"""A model card as one HTML file that loads nothing, and the way of both forms to a version."""

from __future__ import annotations

import html
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from lastaisle.evaluation.plots import comparison, png, slice_bars
from lastaisle.registry.links import artifact_page, run_list_page
from lastaisle.release.card.card import model_card
from lastaisle.release.card.facts import Facts
from lastaisle.release.card.place import MARKDOWN, PAGE
from lastaisle.release.description import describe_decision, with_decision

if TYPE_CHECKING:
    from lastaisle.evaluation.report import EvaluationReport
    from lastaisle.registry.plan import TrainingPlan
    from lastaisle.registry.registry import Registry
    from lastaisle.release.gate import Decision

TAG = "lastaisle.model_card"


def card_page(title: str, markdown: str, images: Mapping[str, bytes]) -> str:
    """Turn a card into an HTML page that loads nothing.

    HTML inside the Markdown is shown as text, never run.

    Args:
        title: of the page.
        markdown: CommonMark with tables.
        images: the address of an image in the Markdown to the PNG that the page holds in its place.
    """
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    for address, image in images.items():
        body = body.replace(
            f'src="{html.escape(address)}"', f'src="data:image/png;base64,{b64encode(image).decode()}"'
        )
    environment = Environment(
        loader=PackageLoader("lastaisle.release.card"),
        autoescape=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )
    page = environment.get_template("model_card.html.j2")
    return page.render(title=title, body=body)


def log_card(
    version: str,
    plan: TrainingPlan,
    report: EvaluationReport,
    decision: Decision,
    registry: Registry,
    *,
    forced: str | None = None,
) -> None:
    """Log the card of a version to its run, and describe version and run by the decision.

    `forced` says who made the version champion against the gate, when and why.
    """
    run_id = report.run_id
    facts = Facts(
        version=version,
        plan=plan,
        report=report,
        decision=decision,
        tags=registry.tags(run_id),
        measured=registry.metrics(run_id),
        trained_at=datetime.fromtimestamp(registry.times(run_id)[1] / 1000, UTC),
        forced=forced,
    )
    card = model_card(facts)
    images = {
        "../plots/comparison.png": png(comparison(report)),
        "../plots/slices.png": png(slice_bars(report)),
    }
    registry.log_text(run_id, card, MARKDOWN)
    registry.log_text(run_id, card_page(facts.title, card, images), PAGE)
    registry.set_version_tags(version, {TAG: f"runs:/{run_id}/{PAGE}", **facts.privacy.tags})
    pages = {
        "Model card": artifact_page("", registry.experiment_id, run_id, PAGE),
        "All runs": run_list_page("", registry.experiment_id),
    }
    told = describe_decision(facts, pages)
    registry.describe_version(version, with_decision(registry.description_of(version), told))
    registry.set_tag(run_id, MLFLOW_RUN_NOTE, told)
