"""Drift: does a day's events, or the champion's quality on them, differ from the days before?"""

from __future__ import annotations
