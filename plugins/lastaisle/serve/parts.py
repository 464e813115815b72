"""The parts that the service is made of, as it uses them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from lastaisle.collect.sink import Sink
from lastaisle.serve.following.served import ServedVersion
from lastaisle.serve.pseudonyms import Pseudonyms
from lastaisle.serve.shown.shelf import Shelf
from lastaisle.web.keys import Keys


class Versions(Protocol):
    """The version that answers, and how it is followed."""

    @property
    def current(self) -> ServedVersion | None:
        """The version that answers now; None before the first."""

    @property
    def problem(self) -> str:
        """What is wrong; empty if nothing is."""

    @property
    def age_seconds(self) -> float | None:
        """The time since MLflow last answered; None if it never did, or if nobody asks it."""

    def start(self) -> None:
        """Start to follow."""

    def stop(self) -> None:
        """Stop to follow."""


@dataclass(frozen=True)
class Parts:
    """What the service is made of.

    Attributes:
        versions: the version that answers.
        keys: the API keys.
        sink: keeps feedback; it is open. The application closes it when it shuts down.
        pseudonyms: make pseudonyms of raw ids.
        shelf: what is for sale; None if the service follows no catalogue.
    """

    versions: Versions
    keys: Keys
    sink: Sink
    pseudonyms: Pseudonyms
    shelf: Shelf | None = None
