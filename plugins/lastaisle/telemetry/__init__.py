"""Measurements of the running process: time and memory."""
