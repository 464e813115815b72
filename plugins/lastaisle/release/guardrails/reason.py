"""How the ledger tells a rollback by the guardrails from others; this module loads no MLflow."""

from typing import Final

ROLLED_BACK: Final = "The guardrails rolled version"
"""How the reason of a rollback by the guardrails begins."""
