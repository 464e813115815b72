"""Erase shoppers everywhere, and prove it by a search of every byte."""

from lastaisle.rights.erasure.engine import erase
from lastaisle.rights.erasure.model import Erased, Places, Subjects

__all__ = ["Erased", "Places", "Subjects", "erase"]
