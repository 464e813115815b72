"""Guardrails: whether what shoppers did became worse since a version serves, and the way back."""
