"""The settings of alerts: where their configuration lies."""

from __future__ import annotations

from lastaisle.settings.fields import Section, setting


class AlertSettings(Section):
    """Alerts: where their configuration lies."""

    file: str = setting(
        "ALERTS",
        "",
        "The YAML file with the limits of the rules and the ways to people. See docs/alerts.md.",
        shown_default="none: all rules with their defaults; alerts are shown, and not sent",
    )
