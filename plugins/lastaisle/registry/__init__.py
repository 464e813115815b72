"""Versions: MLflow runs, training plans, and the ledger of every move."""
