"""The audit of privacy: what a privacy officer reads and signs once a month."""

from lastaisle.audit.audit import audit
from lastaisle.audit.finding import Audit, Finding, State

__all__ = ["Audit", "Finding", "State", "audit"]
