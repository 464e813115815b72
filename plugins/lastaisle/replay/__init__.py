"""Replay a log period by period with several training strategies, and compare them."""
