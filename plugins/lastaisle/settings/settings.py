"""The settings: sections of fields, each read from one environment variable."""

from __future__ import annotations

import difflib
import fnmatch
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Self, cast

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from lastaisle.settings.alerts import AlertSettings
from lastaisle.settings.announcements import AnnouncementSettings
from lastaisle.settings.catalogue import CatalogueSettings
from lastaisle.settings.dashboard import DashboardSettings
from lastaisle.settings.errors import SettingsError
from lastaisle.settings.experiments import ExperimentSettings
from lastaisle.settings.federation import FederationSettings
from lastaisle.settings.feedback import FeedbackSettings
from lastaisle.settings.fields import PREFIX, Section, expected_value, is_secret, setting, variable_of
from lastaisle.settings.incoming import CollectorSettings, IngestSettings, SourceSettings
from lastaisle.settings.metrics import MetricsSettings
from lastaisle.settings.others import ALERT_SECRETS, OTHER_VARIABLES, of_kubernetes
from lastaisle.settings.sections import (
    AT_SERVER,
    AbandonmentSettings,
    DriftSettings,
    GateSettings,
    LakeSettings,
    LearningSettings,
    PrivacySettings,
    RefreshSettings,
    RegistrySettings,
    ServiceSettings,
    ServingSettings,
)
from lastaisle.settings.serve import ServeSettings

HOME = f"{PREFIX}HOME"
PLACEHOLDERS = ("{day}", "{hour}", "{day_ms}")
"""What an address of logs may hold; `address_at` fills it in."""


class Settings(BaseModel):
    """The settings of one installation.

    `Settings.from_env()` reads the environment. `Settings.of(window_hours=24)` builds settings in code; its
    keywords are the names of the variables in lower case, without LASTAISLE_.

    Attributes:
        home: folder for everything that has no place of its own: the default lake, the default MLflow store,
            the key file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    home: Path = setting(
        "HOME",
        "",
        "Folder for everything that has no place of its own: the default lake, the default MLflow store, the "
        "key file.",
        shown_default="the folder .lastaisle in the user's home folder",
    )
    lake: LakeSettings
    privacy: PrivacySettings
    sources: SourceSettings
    ingest: IngestSettings
    catalogue: CatalogueSettings
    feedback: FeedbackSettings
    experiments: ExperimentSettings
    registry: RegistrySettings
    learning: LearningSettings
    federation: FederationSettings
    gate: GateSettings
    announcements: AnnouncementSettings
    alerts: AlertSettings
    dashboard: DashboardSettings
    serving: ServingSettings
    drift: DriftSettings
    abandonment: AbandonmentSettings
    refresh: RefreshSettings
    services: ServiceSettings
    collector: CollectorSettings
    serve: ServeSettings
    metrics: MetricsSettings

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read the settings from the environment. Empty variables count as missing.

        Raises:
            SettingsError: a LASTAISLE_ variable that nothing reads, or a value that a setting does not take.
        """
        environ = os.environ if environ is None else environ
        refuse_unknown(name for name in environ if name.startswith(PREFIX))
        given: dict[str, Any] = {}
        for section in sections().values():
            given |= section.read(environ)
        if home := environ.get(HOME, "").strip():
            given[HOME] = home
        return cls._build(given)

    @classmethod
    def of(cls, **given: Any) -> Self:
        """Build settings from values by the names of their variables, such as window_hours=24.

        Raises:
            SettingsError: an unknown name, or a value that the setting does not take.
        """
        by_variable = {f"{PREFIX}{name.upper()}": value for name, value in given.items()}
        refuse_unknown(by_variable)
        return cls._build(by_variable)

    def replace(self, **changes: Any) -> Self:
        """Return these settings with some changed, by the names that `of` takes.

        Values that were derived from the old settings stay, for example a lake in the old home.

        Raises:
            SettingsError: as `of` does.
        """
        by_variable = {f"{PREFIX}{name.upper()}": value for name, value in changes.items()}
        refuse_unknown(by_variable)
        return type(self)._build(dict(self._items()) | by_variable)

    def to_env(self) -> dict[str, str]:
        """Return the environment that `from_env` reads these settings from, secrets included."""
        return {
            variable: value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            for variable, value in self._items()
        }

    def source_at(self, moment: datetime) -> str:
        """Return where the logs of an aware moment lie: the source with its placeholders filled in."""
        return address_at(self.sources.address, moment)

    def training_options(self) -> dict[str, Any]:
        """Return the hyperparameters that differ from the defaults of models.options.TrainingOptions."""
        return {"seed": self.learning.seed, **json.loads(self.learning.hyperparameters or "{}")}

    @classmethod
    def _build(cls, given: Mapping[str, Any]) -> Self:
        """Build the sections from values by variable, and fill in what follows from others."""
        values: dict[str, Any] = {
            HOME: Path(given.get(HOME) or Path.home() / ".lastaisle").expanduser().resolve()
        }
        values |= {name: value for name, value in given.items() if name != HOME}
        for name, value in _derived(values).items():
            values[name] = values.get(name) or value
        values[f"{PREFIX}MLFLOW_UI"] = str(values[f"{PREFIX}MLFLOW_UI"]).rstrip("/")
        built = {name: _section(section, values) for name, section in sections().items()}
        return cls.model_validate({HOME: values[HOME], **built})

    def _items(self) -> Iterator[tuple[str, Any]]:
        yield HOME, self.home
        for name, section in sections().items():
            for field_name, field in section.model_fields.items():
                yield variable_of(field), getattr(getattr(self, name), field_name)


@cache
def sections() -> dict[str, type[Section]]:
    """Return the classes of the sections by the names of their attributes, in order."""
    return {
        name: cast(type[Section], field.annotation)
        for name, field in Settings.model_fields.items()
        if name != "home"
    }


@cache
def known_variables() -> dict[str, FieldInfo]:
    """Return the field of every setting by the name of its variable."""
    known = {HOME: Settings.model_fields["home"]}
    for section in sections().values():
        known |= section.variables()
    return known


def refuse_unknown(variables: Iterable[str]) -> None:
    """Refuse variables that nothing reads.

    Raises:
        SettingsError: there are unknown variables; the error names each, with the closest known name.
    """
    variables = list(variables)
    others = {other.name for other in OTHER_VARIABLES}
    unknown = set(variables) - known_variables().keys() - others - of_kubernetes(variables)
    unknown -= set(fnmatch.filter(unknown, ALERT_SECRETS))
    if not unknown:
        return
    names = []
    for name in sorted(unknown):
        close = difflib.get_close_matches(name, [*known_variables(), *others], n=1)
        names.append(f"{name} (did you mean {close[0]}?)" if close else name)
    raise SettingsError(
        f"Lastaisle has no setting of this name: {', '.join(names)}; docs/settings.md lists all. "
        "Correct the name or unset the variable."
    )


def address_at(address: str, moment: datetime) -> str:
    """Return an address with its placeholders filled in for an aware moment."""
    moment = moment.astimezone(UTC)
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    texts = (f"{day:%Y-%m-%d}", f"{moment:%Y-%m-%dT%H}", str(int(day.timestamp()) * 1000))
    for placeholder, text in zip(PLACEHOLDERS, texts, strict=True):
        address = address.replace(placeholder, text)
    return address


def on_all_days(address: str) -> str:
    """Return an address whose placeholders are patterns that match all days and hours."""
    for placeholder in PLACEHOLDERS:
        address = address.replace(placeholder, "*")
    return address


def _derived(values: Mapping[str, Any]) -> dict[str, str]:
    home = values[HOME]
    port = values.get(f"{PREFIX}MLFLOW_PORT") or ServiceSettings.model_fields["mlflow_port"].default
    uri = str(values.get(f"{PREFIX}MLFLOW_URI") or "")
    return {
        f"{PREFIX}LAKE": str(home / "lake"),
        f"{PREFIX}MLFLOW_URI": f"sqlite:///{home / 'mlflow' / 'mlflow.db'}",
        f"{PREFIX}MLFLOW_ARTIFACTS": AT_SERVER
        if uri.startswith("http")
        else str(home / "mlflow" / "artifacts"),
        f"{PREFIX}KEY_FILE": str(home / "keys" / "pseudonym.json"),
        f"{PREFIX}REQUESTS": str(home / "subjects"),
        f"{PREFIX}RECEIPT_KEY": str(home / "keys" / "receipts.pem"),
        f"{PREFIX}SOURCE": str(home / "landing" / "{day}"),
        f"{PREFIX}EXPERIMENTS": str(home / "experiments"),
        f"{PREFIX}SERVE_FEEDBACK": str(home / "feedback" / "{day}"),
        f"{PREFIX}SERVE_CACHE": str(home / "serve"),
        f"{PREFIX}MLFLOW_UI": uri if uri.startswith("http") else f"http://127.0.0.1:{port}",
    }


def _section(section: type[Section], values: Mapping[str, Any]) -> Section:
    """Build one section from values by variable.

    Raises:
        SettingsError: a value that its setting does not take, with its name, the value and the bounds.
    """
    names = section.variables()
    given = {name: value for name, value in values.items() if name in names}
    try:
        return section(**given)
    except ValidationError as refused:
        wrong = refused.errors(include_url=False, include_input=False, include_context=True)[0]
    variable = str(wrong["loc"][0])
    field = names[variable]
    why = wrong.get("ctx", {}).get("error", "")
    received = (
        "but it is not (its value is not shown)" if is_secret(field) else f"received {given[variable]!r}"
    )
    raise SettingsError(
        f"{variable} should be {expected_value(field)}, {received}" + (f": {why}" if why else "")
    )
