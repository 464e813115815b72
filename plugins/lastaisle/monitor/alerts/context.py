"""What every rule gets, and the options that every rule has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from pydantic import Field

from lastaisle.monitor.alerts.model import Alert, Severity
from lastaisle.yaml_model import Part

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.registry.registry import Registry
    from lastaisle.settings import Settings


class RuleOptions(Part):
    """What a rule's part of the configuration may say; a rule adds its limits by a subclass."""

    off: bool = Field(
        default=False,
        description="Whether the rule looks at nothing.",
    )
    severity: Severity | None = Field(
        default=None,
        description="The severity of its alerts, instead of its own.",
    )
    quiet_minutes: float = Field(
        default=20.0,
        ge=0,
        le=7 * 24 * 60,
        description="How long the rule has to find an alert no more before the alert is resolved.",
    )
    action: Literal["rollback", "retrain"] | None = Field(
        default=None,
        description="What an alert of this rule starts by itself; nothing by default.",
    )


Options_co = TypeVar("Options_co", bound=RuleOptions, covariant=True)


@dataclass(frozen=True)
class Context(Generic[Options_co]):
    """What a rule may look at.

    Attributes:
        lake: the tables; a rule only reads.
        open_registry: opens the models and runs of MLflow; `registry` calls it.
        settings: the settings.
        options: the rule's part of the configuration.
        now: the moment of the check (UTC).
        open: the rule's open alerts, for limits that differ once an alert is open.
    """

    lake: Lake
    open_registry: Callable[[], Registry]
    settings: Settings
    options: Options_co
    now: datetime
    open: Sequence[Alert] = ()

    @property
    def registry(self) -> Registry:
        """The models and runs of MLflow; a rule that needs only the ledger needs no MLflow."""
        return self.open_registry()
