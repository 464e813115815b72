"""The settings of the dashboard that `lastaisle dashboard` shows."""

from __future__ import annotations

from pydantic import SecretStr, field_validator

from lastaisle.settings.fields import Section, setting

_SHORTEST_TOKEN = 16


class DashboardSettings(Section):
    """The dashboard by itself: its port, and the token of its readers."""

    port: int = setting(
        "DASHBOARD_PORT", 8070, "Port of `lastaisle dashboard`; 0 is any free port.", ge=0, le=65535
    )
    token: SecretStr = setting(
        "DASHBOARD_TOKEN",
        SecretStr(""),
        "The token that opens the pages of `lastaisle dashboard`. In Airflow the pages are open to Airflow's "
        "users alone.",
        shown_default="a new one at each start, which the command prints",
        expected=f"{_SHORTEST_TOKEN} letters, digits, _ or -, or more",
    )

    @field_validator("token")
    @classmethod
    def _token_is_long_and_plain(cls, token: SecretStr) -> SecretStr:
        text = token.get_secret_value()
        plain = text.isascii() and text.replace("_", "").replace("-", "").isalnum()
        if text and (len(text) < _SHORTEST_TOKEN or not plain):
            raise ValueError("is short, or has another character")
        return token
