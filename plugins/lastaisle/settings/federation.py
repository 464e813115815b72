"""The settings of federated training: of the coordinator, and of a silo that joins."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from lastaisle.settings.fields import Section, setting

#: The rules of models.federated.aggregation, which this room does not import.
AGGREGATION_RULES = ("secure", "trimmed", "krum", "mean")


class FederationSettings(Section):
    """How silos that share no rows train one model together."""

    address: str = setting(
        "FEDERATION_ADDRESS",
        "127.0.0.1:9092",
        "Host and port at which the coordinator listens for silos while a federated training runs. Beyond "
        "this machine it needs a certificate and the silos' keys.",
        pattern=r"[^\s:]+:\d{1,5}",
        expected="host:port",
    )
    certificate: str = setting(
        "FEDERATION_CERTIFICATE",
        "",
        "The file of the coordinator's TLS certificate (PEM), with its chain.",
        shown_default="none: silos join from this machine only",
    )
    private_key: str = setting(
        "FEDERATION_PRIVATE_KEY",
        "",
        "The file of the private key of that certificate (PEM).",
        shown_default="none",
    )
    silos: str = setting(
        "FEDERATION_SILOS",
        "",
        "The folder of the silos' public keys (ECDSA, OpenSSH): north.pub is the key of the silo north. Only "
        "these silos may join.",
        shown_default="none: every process of this machine may join",
    )
    aggregation: Literal["secure", "trimmed", "krum", "mean"] = setting(
        "FEDERATION_AGGREGATION",
        "secure",
        "How updates become one: secure shows the coordinator only their sum, trimmed and krum stand hostile "
        "silos but see each update, and mean does neither.",
    )
    rounds: int = setting("FEDERATION_ROUNDS", 8, "Rounds of a federated training.", ge=1, le=1000)
    local_epochs: int = setting(
        "FEDERATION_LOCAL_EPOCHS", 2, "Passes over a silo's own sessions in each round.", ge=1, le=100
    )
    learning_rate: float = setting(
        "FEDERATION_LEARNING_RATE",
        0.01,
        "The highest learning rate of the first round; it falls to a tenth in the last round.",
        gt=0,
        le=10,
    )
    momentum: float = setting(
        "FEDERATION_MOMENTUM",
        0.3,
        "The share of the coordinator's last step that the next step takes again.",
        unit="share",
        ge=0,
        le=0.99,
    )
    clip: float = setting(
        "FEDERATION_CLIP",
        100.0,
        "The greatest length of a silo's change of the weights in a round. With noise it should be near the "
        "usual length, which the rounds' measures show.",
        gt=0,
        le=1_000_000,
    )
    noise: float = setting(
        "FEDERATION_NOISE",
        0.0,
        "The deviation of the Gaussian noise that each silo adds to its change, as a multiple of the clip.",
        ge=0,
        le=1000,
    )
    max_sessions: int = setting(
        "FEDERATION_MAX_SESSIONS",
        100_000,
        "The greatest number of sessions that counts for a silo, so that no silo outweighs all others.",
        unit="sessions",
        ge=1,
        le=10_000_000,
    )
    least_count: int = setting(
        "FEDERATION_LEAST_COUNT",
        10,
        "A silo tells the popularity of an item only if so many of its events have the item.",
        unit="events",
        ge=1,
        le=1_000_000,
    )
    hostile: int = setting(
        "FEDERATION_HOSTILE",
        1,
        "How many silos may send harmful updates, which trimmed and krum stand.",
        unit="silos",
        ge=0,
        le=1000,
    )
    min_silos: int = setting(
        "FEDERATION_MIN_SILOS",
        3,
        "A round with fewer usable updates changes nothing, and a training without such a round fails.",
        unit="silos",
        ge=1,
        le=1000,
    )
    wait_seconds: float = setting(
        "FEDERATION_WAIT_SECONDS",
        300.0,
        "How long the coordinator waits for its silos before the first round. It begins at once when all "
        "silos of LASTAISLE_FEDERATION_SILOS are there.",
        unit="seconds",
        gt=0,
        le=86_400,
    )
    round_seconds: float = setting(
        "FEDERATION_ROUND_SECONDS",
        1800.0,
        "How long a round waits for the answers of its silos; later answers do not count.",
        unit="seconds",
        gt=0,
        le=86_400,
    )
    accepts: str = setting(
        "SILO_ACCEPTS",
        "secure",
        "Of a silo: the rules of aggregation under which it takes part, separated by spaces.",
        expected="some of secure, trimmed, krum, mean",
    )

    @field_validator("accepts")
    @classmethod
    def _rules_are_known(cls, text: str) -> str:
        if not text.split() or set(text.split()) - set(AGGREGATION_RULES):
            raise ValueError
        return text

    def accepted(self) -> frozenset[str]:
        """Return the rules of aggregation that a silo accepts."""
        return frozenset(self.accepts.split())
