"""An OpenFeature provider: the arms of experiments for services that assign shoppers themselves.

A flag is an experiment or a bandit, by its name. The provider gives the arm that our service would give, and
SQL too. It needs `openfeature-sdk` and the lake, but neither MLflow nor a model.
"""

from __future__ import annotations

import logging
import re
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, Self, TypeVar

import pyarrow as pa
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEventDetails
from openfeature.exception import (
    FlagNotFoundError,
    InvalidContextError,
    ProviderNotReadyError,
    TargetingKeyMissingError,
    TypeMismatchError,
)
from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType, Reason
from openfeature.provider import AbstractProvider, Metadata

from lastaisle.errors import LastaisleError
from lastaisle.experiments.bandits.live import LiveBandit
from lastaisle.experiments.definition.moves import DEFINED
from lastaisle.experiments.traffic import RUNNING, Trial
from lastaisle.feedback.origin import TrialLabel, context_value
from lastaisle.lake.reader import LakeReader
from lastaisle.serve.consents.consents import Consents
from lastaisle.serve.trials.followed import KnownTraffic, read_known

PLACEMENT: Final = "checkout"
"""The placement of a context that names none."""
_PSEUDONYM: Final = re.compile(r"[0-9a-f]{32}")
_FAILURES: Final = (LastaisleError, OSError, ValueError, KeyError, TypeError, pa.ArrowException)
_Value = TypeVar("_Value")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Flag:
    """A trial as the table says it now.

    Attributes:
        trial: the experiment or the bandit.
        is_running: whether it runs.
        live: the bandit that draws; None for an experiment.
    """

    trial: Trial
    is_running: bool
    live: LiveBandit | None = field(compare=False)

    def label_of(self, unit: str, context: Mapping[str, Any], moment: datetime) -> TrialLabel | None:
        """Return the arm of a shopper with its probability; None if the experiment leaves the shopper out."""
        trial = self.trial
        if self.live is not None and trial.bandit is not None:
            values = tuple(context_value(context.get(name)) for name in trial.bandit.context)
            drawn = self.live.draw(".".join(values), secrets.token_hex(12))
            return TrialLabel(trial.name, drawn.arm, drawn.propensity, values or ("",), drawn.choice)
        arm, phase = trial.arm_of(unit, moment), trial.phase_at(moment)
        return None if arm is None or phase is None else TrialLabel(trial.name, arm, phase.shares()[arm])


class LastaisleProvider(AbstractProvider):
    """Gives the arms of running experiments and bandits as the variants of flags.

    A flag of a text has the name of the arm as its value; of a boolean, whether the arm is another one than
    the first; of an object, how the arm makes its lists. The targeting key is the pseudonym of the shopper,
    or of the visit where there is no shopper. The attributes `placement`, `device_type`, `country` and
    `region` say what a request would say; `consent: False` keeps the shopper out of all experiments. So
    does `gpc: True` (Global Privacy Control), and so does a consent that was withdrawn; while the provider
    does not know who withdrew it, it gives no arm.

    Args:
        lake: holds the table `traffic`.
        poll_seconds: how often the table is read again.
        consent_seconds: how often to look who withdrew a consent.
        pseudonym_of: makes a pseudonym of the shop's own id of a shopper; with it the targeting key is that
            id. The id is never logged.
    """

    def __init__(
        self,
        lake: LakeReader,
        *,
        poll_seconds: float = 5.0,
        consent_seconds: float = 0.5,
        pseudonym_of: Callable[[str], str] | None = None,
    ) -> None:
        super().__init__()
        self._lake = lake
        self._poll_seconds = poll_seconds
        self._consents = Consents(lake, consent_seconds)
        self._pseudonym_of = pseudonym_of
        self._known: KnownTraffic | None = None
        self._flags: Mapping[str, _Flag] = {}
        self._problem = ""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="openfeature", daemon=True)

    @classmethod
    def of_lake(cls, url: str, storage_options: Mapping[str, str] | None = None, **options: Any) -> Self:
        """Return the provider of a lake: a folder, or a bucket such as s3://shop/lake."""
        return cls(LakeReader(url, storage_options), **options)

    def get_metadata(self) -> Metadata:
        """Return the name of the provider."""
        return Metadata(name="lastaisle")

    def initialize(self, evaluation_context: EvaluationContext) -> None:
        """Read the table, and begin to follow it.

        Raises:
            ProviderNotReadyError: the table cannot be read. The provider goes on trying, and says when it is
                ready.
        """
        self.look()
        self._consents.look()
        self._thread.start()
        self._consents.start()
        if self._problem:
            raise ProviderNotReadyError(self._problem)

    def shutdown(self) -> None:
        """End the thread that follows the table."""
        self._stopped.set()
        self._consents.stop()
        if self._thread.ident:
            self._thread.join(timeout=5)

    def look(self) -> None:
        """Read the table if it has changed; while it cannot be read, the last known trials go on."""
        before = self._problem
        try:
            known = read_known(self._lake, self._known)
        except _FAILURES as error:
            self._problem = f"the experiments of {self._lake.url} cannot be read: {error}"
            if not before:
                log.warning("%s", self._problem)
                self.emit_provider_stale(ProviderEventDetails(message=self._problem))
            return
        self._problem = ""
        if known is not None and known is not self._known:
            self._take(known)
        if before:
            self.emit_provider_ready(ProviderEventDetails(message="the experiments can be read again"))

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        """Return the name of the arm."""
        return self._resolve(flag_key, default_value, evaluation_context, lambda trial, arm: arm)

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        """Return whether the arm is another one than the first, the control."""
        return self._resolve(
            flag_key, default_value, evaluation_context, lambda trial, arm: arm != trial.arms[0].name
        )

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[FlagValueType] | Mapping[str, FlagValueType],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Sequence[FlagValueType] | Mapping[str, FlagValueType]]:
        """Return how the arm makes its lists."""
        return self._resolve(flag_key, default_value, evaluation_context, _object_of)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        """Refuse: an arm is no number."""
        raise _no_number(flag_key)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        """Refuse: an arm is no number."""
        raise _no_number(flag_key)

    def _resolve(
        self,
        name: str,
        default: _Value,
        context: EvaluationContext | None,
        value_of: Callable[[Trial, str], _Value],
    ) -> FlagResolutionDetails[_Value]:
        """Return the value, the variant and the reason of a flag.

        Raises:
            FlagNotFoundError: there is no experiment of this name.
            TargetingKeyMissingError: the context has no targeting key.
            InvalidContextError: the targeting key is no pseudonym, or no pseudonym can be made of it.
        """
        flag = self._flags.get(name)
        if flag is None:
            raise FlagNotFoundError(f"there is no experiment or bandit {name[:60]!r}{self._because()}")
        trial, now = flag.trial, datetime.now(UTC)
        has_ended = trial.stops_at is not None and trial.stops_at <= now
        metadata: dict[str, bool | int | float | str] = {"experiment": trial.name}
        without = partial(FlagResolutionDetails, default, flag_metadata=metadata)
        if not flag.is_running or has_ended or now < trial.starts_at:
            return without(reason=Reason.DISABLED)
        attributes = context.attributes if context is not None else {}
        if attributes.get("consent") is False or attributes.get("gpc") is True:
            return without(reason=Reason.DEFAULT)
        unit = self._unit(context)
        if self._consents.refusal([unit], "personalization"):
            return without(reason=Reason.DEFAULT)
        label = None
        if trial.takes(unit, str(attributes.get("placement", PLACEMENT)), attributes, now):
            label = flag.label_of(unit, attributes, now)
        if label is None:
            return without(reason=Reason.DEFAULT)
        metadata |= {"kind": trial.kind, "propensity": label.propensity, "label": str(label)}
        if trial.phases:
            metadata["phase"] = sum(phase.starts_at <= now for phase in trial.phases)
        is_alone = label.propensity >= 1
        reason = (
            Reason.SPLIT if not is_alone else Reason.TARGETING_MATCH if trial.targeting else Reason.STATIC
        )
        return FlagResolutionDetails(
            value_of(trial, label.arm), reason=reason, variant=label.arm, flag_metadata=metadata
        )

    def _unit(self, context: EvaluationContext | None) -> str:
        key = context.targeting_key if context is not None else None
        if not key:
            raise TargetingKeyMissingError("the targeting key is missing: the pseudonym of shopper or visit")
        if self._pseudonym_of is not None:
            try:
                return self._pseudonym_of(key)
            except LastaisleError as error:  # which does not say the id
                raise InvalidContextError(str(error)) from None
        if not _PSEUDONYM.fullmatch(key):
            raise InvalidContextError(
                "the targeting key is no pseudonym: 32 hexadecimal digits in small letters. To give the "
                "shop's own ids, make the provider with pseudonym_of"
            )
        return key

    def _because(self) -> str:
        return f"; {self._problem}" if self._problem else ""

    def _take(self, known: KnownTraffic) -> None:
        before, kept = self._flags, {name: flag.trial for name, flag in self._flags.items()}
        flags: dict[str, _Flag] = {}
        for name, move in known.log.newest().items():
            trial, is_running = move.trial, move.state == RUNNING
            if trial.kind not in DEFINED:
                continue
            if kept.get(name) == trial and before[name].is_running == is_running:
                flags[name] = before[name]
            else:
                flags[name] = _Flag(trial, is_running, LiveBandit(trial) if trial.bandit else None)
        changed = sorted(name for name in {*flags, *before} if flags.get(name) is not before.get(name))
        self._known, self._flags = known, flags
        if changed:
            self.emit_provider_configuration_changed(ProviderEventDetails(flags_changed=changed))

    def _follow(self) -> None:
        while not self._stopped.wait(self._poll_seconds):
            self.look()


def _object_of(trial: Trial, name: str) -> Mapping[str, FlagValueType]:
    arm = trial.arm(name)
    positions: Sequence[FlagValueType] = list(arm.mix.positions) if arm.mix else []
    return {
        "arm": name,
        "version": arm.version or "champion",
        "policy": arm.policy,
        "rules": arm.rules,
        "mix_positions": positions,
    }


def _no_number(name: str) -> TypeMismatchError:
    return TypeMismatchError(
        f"the flag {name[:60]!r} is an experiment: ask for a text, a boolean or an object"
    )
