"""Write the text for the public of a version, which a shop puts into its privacy notice.

It says what articles 13 to 15 of the GDPR ask for (data, purposes, legal basis, storage, rights) and what
article 27 of the Digital Services Act asks for (the main parameters of recommendations, and how to change
them). Every number comes from the contracts, the settings and the run of the version. The text names no
person, item or session.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from data_contracts.contract import Contract, load_contract
from data_contracts.retention import every_retention
from lastaisle.lake.maintenance import MaintenancePolicy
from lastaisle.release.card import text
from lastaisle.release.card.plain import COVERS, in_plain_words
from lastaisle.release.card.text import Markdown, counted, whole
from lastaisle.release.privacy import VersionPrivacy, recorded_privacy
from models.by_name import READS_ITEMS

if TYPE_CHECKING:
    from lastaisle.registry.plan import TrainingPlan
    from lastaisle.settings import Settings

TREATMENTS: Final = {
    "keep": "kept as it is",
    "coarsen": "made coarser",
    "pseudonymize": "replaced by a pseudonym; the key lies apart from the data",
    "surrogate": "replaced by a number without meaning",
    "drop": "dropped",
}
TABLES: Final = {
    "raw_events": "what the shop recorded",
    "quarantine": "records with an error, until somebody repaired them",
    "events": "the same under pseudonyms, from which recommendations learn",
    "exposures": "which recommendations were shown, under pseudonyms",
    "outcomes": "what followed from them, under pseudonyms",
    "abandonments": "checkouts that were left, under pseudonyms",
}
OBJECTIVES: Final = {
    "objective_view": "an item that a visitor looks at next",
    "objective_cart": "an item that a visitor puts into the basket",
    "objective_purchase": "an item that a visitor buys",
}
SUBJECTS: Final = {"session": "of the visit", "event": "of each step of the visit", "item": "of each item"}


@dataclass(frozen=True)
class PublicFacts:
    """What the text is written from.

    Attributes:
        version: the number of the version.
        plan: the plan of its training.
        tags: the tags of its run.
        measured: the metrics of its run.
        trained_at: when its training ended (UTC).
        settings: of the installation; they may change for how long rows stay.
    """

    version: str
    plan: TrainingPlan
    tags: Mapping[str, str]
    measured: Mapping[str, float]
    trained_at: datetime
    settings: Settings

    @property
    def title(self) -> str:
        """The heading."""
        return f"How recommendations are made: version {self.version}"

    @property
    def privacy(self) -> VersionPrivacy:
        """What the version spent of the privacy budget."""
        return recorded_privacy(self.tags, self.measured)


def public_text(facts: PublicFacts) -> str:
    """Write the text as Markdown (CommonMark with tables)."""
    environment = text.markdown_environment("lastaisle.release.public")
    environment.globals |= {"table": text.table, "whole": whole}
    return environment.get_template("public.md.j2").render(_content(facts))


def _content(facts: PublicFacts) -> dict[str, Any]:
    plan, privacy = facts.plan, facts.privacy
    start = plan.window.start
    if plan.warm_start_version is not None:
        start -= timedelta(hours=plan.replay_hours)
    refused = facts.measured.get("left_out_without_consent", 0)
    personal = [entry for entry in every_retention().values() if entry.table in TABLES]
    return {
        "facts": facts,
        "first": f"{start:%Y-%m-%d}",
        "last": f"{plan.window.end:%Y-%m-%d}",
        "sessions": counted(facts.measured["train_sessions"], "visit"),
        "items": counted(facts.measured["items"], "item"),
        "refused": counted(refused, "visit") if refused else "",
        "data": list(_data(load_contract("raw_events"))),
        "parameters": list(_parameters(plan)),
        "leaves_out_seen": facts.settings.serving.exclude_seen,
        "kept": [
            (TABLES[entry.table], ", ".join(entry.purposes), entry.legal_basis, _days(facts, entry.table))
            for entry in personal
        ],
        "versions": facts.settings.registry.keep_versions_days,
        "privacy": privacy,
        "plain": None if privacy.epsilon is None else in_plain_words(privacy.epsilon),
        "covers": "" if privacy.mechanism is None else COVERS[privacy.mechanism.unit],
    }


def _days(facts: PublicFacts, table: str) -> str:
    days = MaintenancePolicy.from_settings(facts.settings).days_of(table)
    return "until it is erased" if days is None else counted(days, "day")


def _data(contract: Contract) -> Iterator[tuple[str, str, str]]:
    """Name each field that the shop sends, and what becomes of it before anything learns."""
    for field in contract.fields:
        yield field.name.replace("_", " "), field.description, TREATMENTS[field.treatment.action]


def _parameters(plan: TrainingPlan) -> Iterator[tuple[str | Markdown, str]]:
    """Name the main parameters of the recommendations, the most important first."""
    yield "The items of the visit and their order", "the next items follow from those before"
    yield (
        "What other visitors did after the same items",
        "items that often came next are recommended more",
    )
    yield "The time", f"a visit weighs one half when it is {plan.window.half_life_hours:g} hours older"
    weights = {name: float(plan.options.get(name, 1.0)) for name in OBJECTIVES}
    if len(set(weights.values())) > 1:
        for name, meaning in OBJECTIVES.items():
            yield f"Weight of {meaning}", f"{weights[name]:g}"
    if plan.architecture in READS_ITEMS:
        for feature in load_contract("events").features:
            named = feature.name.replace("_", " ")
            yield f"The {named} {SUBJECTS[feature.subject]}", "if the shop records it"
