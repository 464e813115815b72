"""Off-policy evaluation: what another policy would have earned, from logs with propensities."""
