"""The first lists that a candidate answered when it was judged: its version has to answer the same later."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lastaisle.registry.registry import Registry
    from models.data.sequences import Examples
    from models.serving.served import ServedModel

ANSWERS = "evaluation/answers.json"
ASKED = 50  # judging targets
LENGTH = 20  # of the lists


def log_answers(run_id: str, model: ServedModel, examples: Examples, registry: Registry) -> None:
    """Log the lists that a candidate answers to the first judging targets. They name no session."""
    registry.log_json(run_id, {"lists": _answers(model, examples)}, ANSWERS)


def differing_share(run_id: str, model: ServedModel, examples: Examples, registry: Registry) -> float | None:
    """Return the share of items in which a model's lists differ from those that were judged.

    Args:
        run_id: the run of the candidate that was judged.
        model: the model to ask.
        examples: the judging targets, as they were judged.
        registry: where the run is.

    Returns:
        0 to 1; None if the run has no answers, as of older releases, or there is no target.
    """
    text = registry.read_text(run_id, ANSWERS)
    judged = json.loads(text)["lists"] if text else []
    if not judged:
        return None
    answered = _answers(model, examples)
    same = sum(len(set(one) & set(other)) for one, other in zip(judged, answered, strict=False))
    return 1.0 - same / max(sum(map(len, judged)), sum(map(len, answered)), 1)


def _answers(model: ServedModel, examples: Examples) -> list[list[str]]:
    ranking = model.rank(examples.select(slice(ASKED)), LENGTH)
    return [[str(item) for item in model.vocabulary.decode(shown[shown > 0])] for shown in ranking.top]
