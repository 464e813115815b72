"""A model card as one HTML file that needs nothing else, and how both forms get to a version."""

from __future__ import annotations

import html
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lastaisle.evaluation.plots import comparison, png, slice_bars
from lastaisle.release.card.card import model_card, short_description
from lastaisle.release.card.facts import Facts

if TYPE_CHECKING:
    from lastaisle.evaluation.report import EvaluationReport
    from lastaisle.registry.plan import TrainingPlan
    from lastaisle.registry.registry import Registry
    from lastaisle.release.gate import Decision

FOLDER = "card"
MARKDOWN, PAGE = f"{FOLDER}/model_card.md", f"{FOLDER}/model_card.html"
TAG = "lastaisle.model_card"

_STYLE = """
:root { color-scheme: light }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1.5rem; color: #1f2933; background: #fff;
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .8rem }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; padding-bottom: .25rem; border-bottom: 1px solid #d9e0e6 }
h1 + p { padding: .7rem 1rem; background: #eef4f8; border-left: 4px solid #1b6ca8 }
table { border-collapse: collapse; display: block; overflow-x: auto; margin: .8rem 0; font-size: .88rem;
  font-variant-numeric: tabular-nums }
th, td { padding: .3rem .75rem; border-bottom: 1px solid #e4e9ed; text-align: left; vertical-align: top }
th { background: #f5f7f9; font-weight: 600 }
thead:not(:has(th:not(:empty))) { display: none }
td:not(:first-child) { white-space: nowrap }
td:first-child { font-weight: 500 }
code { font: .86em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; background: #f2f4f6;
  padding: .1em .3em; border-radius: 3px; overflow-wrap: anywhere }
pre { background: #f2f4f6; padding: .9rem 1rem; overflow-x: auto; border-radius: 4px }
pre code { padding: 0; background: none }
img { max-width: 100%; height: auto }
li { margin: .25rem 0 }
@media print { body { margin: 0; max-width: none } h2 { break-after: avoid } tr, img { break-inside: avoid } }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def card_page(title: str, markdown: str, images: Mapping[str, bytes]) -> str:
    """Turn a card into an HTML page that loads nothing.

    HTML inside the Markdown is shown as text, never run.

    Args:
        title: of the page.
        markdown: CommonMark with tables.
        images: the address that the Markdown gives an image to the PNG that is put into the page for it.
    """
    from markdown_it import MarkdownIt

    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    for address, image in images.items():
        body = body.replace(
            f'src="{html.escape(address)}"', f'src="data:image/png;base64,{b64encode(image).decode()}"'
        )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )


def log_card(
    version: str, plan: TrainingPlan, report: EvaluationReport, decision: Decision, registry: Registry
) -> None:
    """Log the card of a version to its run, and describe the version by it."""
    run_id = report.run_id
    facts = Facts(
        version=version,
        plan=plan,
        report=report,
        decision=decision,
        tags=registry.tags(run_id),
        measured=registry.metrics(run_id),
        trained_at=datetime.fromtimestamp(registry.times(run_id)[1] / 1000, UTC),
    )
    card = model_card(facts)
    images = {
        "../plots/comparison.png": png(comparison(report)),
        "../plots/slices.png": png(slice_bars(report)),
    }
    registry.log_text(run_id, card, MARKDOWN)
    registry.log_text(run_id, card_page(facts.title, card, images), PAGE)
    registry.set_version_tags(version, {TAG: f"runs:/{run_id}/{PAGE}"})
    page = f"#/experiments/{registry.experiment_id}/runs/{run_id}/artifacts/{PAGE}"
    registry.describe_version(version, f"{short_description(facts)}\n\n[Model card]({page})")
