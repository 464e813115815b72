"""Replay of a log, day by day, with several training strategies."""
