"""Drift: does what comes in, or what the model makes of it, differ from what it was?"""

from __future__ import annotations
