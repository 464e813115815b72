"""Monitoring of what serves: drift and abandoned checkouts."""
