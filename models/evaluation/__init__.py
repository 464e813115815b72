"""Metrics, rankings, and objectives."""
