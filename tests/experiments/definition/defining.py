"""Definitions and a registry for the tests of definitions."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from lastaisle.experiments.definition.apply import ApplyReport, apply_definitions
from lastaisle.experiments.traffic import TrafficMove, read_traffic
from lastaisle.lake import Lake
from lastaisle.settings import Settings

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
EXPERIMENT = """\
name: {name}
arms:
  - name: control
  - {{name: popular, policy: popular}}
analysis: {{primary: conversion, minimum_effect: 0.03}}
"""
BANDIT = """\
name: {name}
kind: bandit
arms: [{{name: control}}, {{name: popular, policy: popular}}]
bandit: {{algorithm: thompson, floor: 0.1}}
"""


def experiment(name: str = "demo", *more: str, template: str = EXPERIMENT) -> str:
    """Return the text of a definition, with further lines."""
    return template.format(name=name) + "".join(f"{line}\n" for line in more)


@dataclass
class MadeUpRegistry:
    """Versions and aliases, as the registry gives them."""

    versions: tuple[str, ...] = ("1", "2", "3")
    held: dict[str, str] = field(default_factory=lambda: {"champion": "1", "challenger": "3"})
    model_name: str = "recommender"
    asked: int = 0

    def aliases(self) -> dict[str, str]:
        self.asked += 1
        return self.held

    def find_run_of(self, version: str) -> str | None:
        self.asked += 1
        return f"run-{version}" if version in self.versions else None


class Shop:
    """A lake, a folder of definitions, and a registry."""

    def __init__(self, folder: Path) -> None:
        self.lake = Lake(folder / "lake")
        self.settings = Settings.of(home=str(folder), lake=self.lake.url)
        self.folder = folder / "experiments"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.registry = MadeUpRegistry()

    def write(self, text: str, file: str = "demo.yaml") -> Path:
        path = self.folder / file
        path.write_text(text)
        return path

    def apply(self, now: datetime = NOW, place: Path | None = None) -> ApplyReport:
        return apply_definitions(self.lake, self.settings, self.registry, now, "tests", place=place)

    def outcomes(self, now: datetime = NOW) -> dict[str, str]:
        """Apply, and return what became of each experiment, and of each file that is refused."""
        report = self.apply(now)
        return {one.name: one.outcome for one in report.applied} | {
            one.path.name: " | ".join(reason for _, reason in one.problems) for one in report.refused
        }

    def refused(self, now: datetime = NOW) -> str:
        """Apply, and return the lines of all problems."""
        return "\n".join(line for one in self.apply(now).refused for line in one.lines())

    def newest(self, name: str = "demo") -> TrafficMove:
        return read_traffic(self.lake).newest()[name]

    def moves(self) -> list[tuple[str, str]]:
        return [(move.trial.name, move.state) for move in read_traffic(self.lake).moves]
