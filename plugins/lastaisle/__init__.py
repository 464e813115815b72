"""Lastaisle: session logs in, registered checkout recommendation models out."""

__version__ = "0.1.0"
