"""The questions of the audit, by topic."""
