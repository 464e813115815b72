"""Where the model card lies among the artifacts of a run."""

from __future__ import annotations

from typing import Final

MARKDOWN: Final = "card/model_card.md"
PAGE: Final = "card/model_card.html"
