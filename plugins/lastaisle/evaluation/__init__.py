"""Evaluation of a candidate beside the champion and the baselines."""
