"""The settings of experiments and bandits: where their definitions lie."""

from __future__ import annotations

from lastaisle.settings.fields import Section, setting


class ExperimentSettings(Section):
    """Experiments and bandits: where their definitions lie."""

    folder: str = setting(
        "EXPERIMENTS",
        "",
        "The folder of the definitions: one YAML file for each experiment or bandit.",
        shown_default="experiments in LASTAISLE_HOME",
    )
