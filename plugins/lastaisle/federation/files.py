"""The files by which the coordinator's process and the training speak with each other."""

from __future__ import annotations

from typing import Final

AGREEMENT: Final = "agreement.json"
ROUNDS: Final = "rounds.jsonl"
WEIGHTS_FILE: Final = "weights.npz"
POPULARITY_ARRAY: Final = "popularity"
LOG: Final = "coordinator.log"
