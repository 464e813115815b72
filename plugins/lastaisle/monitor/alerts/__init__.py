"""Alerts: rules look at the lake and at MLflow, and the table `alerts` keeps what they find."""
