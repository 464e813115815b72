"""The parts that the service is made of, as it uses them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from lastaisle.collect.sink import Sink
from lastaisle.serve.consents.consents import Consents
from lastaisle.serve.following.served import ServedVersion
from lastaisle.serve.pseudonyms import Pseudonyms
from lastaisle.serve.questions import Answer, Asked
from lastaisle.serve.shown.shelf import Shelf
from lastaisle.serve.trials.trials import Trials
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


class Maker(NamedTuple):
    """Who answers a request.

    Attributes:
        model: the name of the model; empty if no version is loaded.
        version: its version; empty if no version is loaded.
        experiment: the trial that the request belongs to; None without one.
        arm: the arm of the trial; None without one.
    """

    model: str = ""
    version: str = ""
    experiment: str | None = None
    arm: str | None = None


class AnswerListener(Protocol):
    """Hears of each answer to a request for recommendations. It must be quick, and must not raise.

    The event loop calls it, before the answer is sent.
    """

    @property
    def problem(self) -> str:
        """What is wrong; empty if nothing is."""

    def start(self) -> None:
        """Begin, before the first answer."""

    def stop(self) -> None:
        """End, after the last answer."""

    def answered(self, question: Asked, answer: Answer, seconds: float) -> None:
        """Hear of an answer.

        Args:
            question: the request. It is shared: do not change it.
            answer: the answer; version, experiment and arm say who made it. Do not change it.
            seconds: how long it took, from the head of the request.
        """

    def failed(self, status: int, seconds: float, maker: Maker) -> None:
        """Hear of a request that the service, or the version of an arm, could not answer.

        Args:
            status: the HTTP status, 500 or more. Where the version of an arm fails, the champion answers in
                its place with 200, and the failure counts as 500.
            seconds: how long it took.
            maker: who should have answered.
        """


@dataclass(frozen=True)
class Parts:
    """What the service is made of.

    Attributes:
        versions: the version that answers.
        keys: the API keys.
        sink: keeps feedback; it is open. The application closes it when it shuts down.
        pseudonyms: make pseudonyms of raw ids.
        shelf: what is for sale; None if the service follows no catalogue.
        listeners: hear of each answer.
        trials: the experiments, bandits and canaries that run; None if the service takes part in none.
        consents: who withdrew a consent; None if the service follows no table.
        refused_by_gpc: the purposes that the header Sec-GPC refuses.
    """

    versions: Versions
    keys: Keys
    sink: Sink
    pseudonyms: Pseudonyms
    shelf: Shelf | None = None
    listeners: tuple[AnswerListener, ...] = ()
    trials: Trials | None = None
    consents: Consents | None = None
    refused_by_gpc: frozenset[str] = frozenset({"sale", "personalization"})
