"""The configuration of alerts: a YAML file with the limits of the rules, and the ways to people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Self, cast

from pydantic import AfterValidator, Field, create_model, model_validator

from lastaisle.delivery.config import ChannelConfig
from lastaisle.monitor.alerts.context import RuleOptions
from lastaisle.monitor.alerts.rules.registered import BY_NAME, RULES
from lastaisle.yaml_model import Part, YamlModelError, closest, json_schema, read_model

if TYPE_CHECKING:
    from lastaisle.settings import Settings


class AlertConfigError(YamlModelError):
    """A file of the configuration of alerts that cannot be used."""


def _part_of_rules() -> type[Part]:
    """Return the model of the key `rules`: one key for each rule, with the options of that rule."""
    fields = {
        rule.name: (rule.options, Field(default_factory=rule.options, description=rule.about))
        for rule in RULES
    }
    return cast(type[Part], create_model("Rules", __base__=Part, **fields))  # type: ignore[call-overload]


RulesPart = _part_of_rules()


def _names_differ(channels: list[ChannelConfig]) -> list[ChannelConfig]:
    names = [channel.shown_name for channel in channels]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"two channels are named {twice!r}: give each channel a name of its own")
    return channels


class AlertConfig(Part):
    """The whole file; without a file, each key has its default."""

    whole: ClassVar[str] = "the keys rules, channels, group_minutes and repeat_hours, or some of them"

    rules: RulesPart = Field(  # type: ignore[valid-type]
        default_factory=RulesPart, description="The limits of the rules."
    )
    channels: Annotated[list[ChannelConfig], AfterValidator(_names_differ)] = Field(
        default_factory=list, description="The ways to people; without any, alerts are only shown."
    )
    group_minutes: float = Field(
        default=10.0,
        ge=0,
        le=1440,
        description="Alerts of one rule that follow each other within this time share a message.",
    )
    repeat_hours: float = Field(
        default=24.0, ge=0, le=8760, description="How often an open alert is told again; 0 never."
    )

    @model_validator(mode="after")
    def _channels_name_rules(self) -> Self:
        for channel in self.channels:
            for name in channel.rules or ():
                if name not in BY_NAME:
                    raise ValueError(
                        f"channel {channel.shown_name} names the rule {name!r}, which does not exist; "
                        f"{closest(name, list(BY_NAME), 'the rules are')}"
                    )
        return self

    def options_of(self, rule: str) -> RuleOptions:
        """Return the options of a rule; of a rule that this version does not know, those of every rule."""
        return cast(RuleOptions, getattr(self.rules, rule, None) or RuleOptions())


def read_config(settings: Settings) -> AlertConfig:
    """Return what the file of LASTAISLE_ALERTS says; the defaults without a file.

    Raises:
        AlertConfigError: the file cannot be read, or says something that has no meaning; the error names each
            line.
    """
    file = settings.alerts.file
    return read_model(Path(file), AlertConfig, AlertConfigError)[0] if file else AlertConfig()


def schema() -> str:
    """Return the JSON Schema of the file, as text; docs/alerts.schema.json holds it."""
    return json_schema(AlertConfig)
