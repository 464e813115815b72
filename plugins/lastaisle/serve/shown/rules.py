"""The shop's rules: which items it pins and promotes. Their file is looked at again every few seconds."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np

from lastaisle.serve.shown.filters import FilterError
from lastaisle.serve.shown.placing import PreparedRule, Ranked, Request, place
from lastaisle.serve.shown.rule_file import Rule, RuleError, read_rules
from lastaisle.serve.shown.view import ShelfView

MAX_NEW = 1000  # items of one promotion that only the catalogue knows

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Loaded:
    """The rules of one state of the file, with what was prepared for each view. It is replaced as a whole."""

    rules: tuple[Rule, ...] = ()
    prepared: WeakKeyDictionary[ShelfView, tuple[PreparedRule, ...]] = field(
        default_factory=WeakKeyDictionary
    )


class Rules:
    """The rules of one file. Several threads may apply them at once.

    While the file cannot be used, its last good rules stay, and `problem` says so.

    Args:
        file: the YAML file; None without rules.

    Raises:
        RuleError: the file cannot be used.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._seen = _state(file) if file else None
        self._file_problem = ""
        self._filter_problems: dict[str, str] = {}
        self._lock = threading.Lock()
        self._loaded = _Loaded(read_rules(file)) if file else _Loaded()

    @property
    def problem(self) -> str:
        """What is wrong with the file or with its filters, in plain words; empty if nothing is."""
        return "; ".join(filter(None, [self._file_problem, *list(self._filter_problems.values())]))

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules, in the order of the file."""
        return self._loaded.rules

    def look(self) -> None:
        """Read the file again if it changed."""
        if self._file is None or (state := _state(self._file)) == self._seen:
            return
        self._seen = state
        try:
            loaded = _Loaded(read_rules(self._file))
        except RuleError as error:
            if error.is_unreadable:
                self._seen = None  # a disk may work again although the file does not change
            problem = f"the rules cannot be used, and the last good rules stay: {error}"
            if problem != self._file_problem:
                log.warning("%s", problem)
            self._file_problem = problem
            return
        with self._lock:
            views = list(self._loaded.prepared)
        self._filter_problems = {}
        for view in views:
            self._prepare(loaded, view)
        self._loaded = loaded
        self._file_problem = ""
        log.warning("read %s again: %d rules", self._file, len(loaded.rules))

    def prepare(self, view: ShelfView) -> None:
        """Find the items of each rule in a view, so that no request needs to do it."""
        self._prepare(self._loaded, view)

    def apply(self, ranked: Sequence[Ranked], request: Request) -> list[Ranked]:
        """Return the list of at most k items with the pins and promotions of the rules that apply.

        Args:
            ranked: the best items that the request may get, best first; at least k, if there are so many.
            request: the request.
        """
        loaded = self._loaded
        if not any(rule.applies(request.now, request.placement) for rule in loaded.rules):
            return list(ranked[: request.k])
        prepared = loaded.prepared.get(request.view)
        if prepared is None:
            prepared = self._prepare(loaded, request.view)
        active = [entry for entry in prepared if entry.rule.applies(request.now, request.placement)]
        return place(active, ranked, request)

    def draw(self, request: Request, length: int) -> bool:
        """Tell whether chance decides how many slots some rule gets in a list.

        Args:
            request: the request.
            length: the number of the best items that the request may get.
        """
        slots = min(request.k, length)
        return any(
            rule.has_remainder(slots)
            for rule in self._loaded.rules
            if rule.applies(request.now, request.placement)
        )

    def _prepare(self, loaded: _Loaded, view: ShelfView) -> tuple[PreparedRule, ...]:
        prepared = []
        for rule in loaded.rules:
            try:
                prepared.append(_beside(rule, view))
                self._filter_problems.pop(rule.name, None)
            except FilterError as error:
                problem = f"the rule {rule.name} shows nothing: {error}"
                if self._filter_problems.get(rule.name) != problem:
                    log.warning("%s", problem)
                self._filter_problems[rule.name] = problem
        with self._lock:
            return loaded.prepared.setdefault(view, tuple(prepared))


def _beside(rule: Rule, view: ShelfView) -> PreparedRule:
    """Find the items of a rule in a view.

    Raises:
        FilterError: the rule's filter has no meaning for this catalogue.
    """
    if rule.promote and rule.promote.filter is not None:
        rows, others = view.divide(view.row_mask(rule.promote.filter))
        return PreparedRule(rule, rows, view.newest(others, MAX_NEW))
    items = rule.pin.items if rule.pin else (rule.promote and rule.promote.items) or []
    known = np.array([view.index[item] for item in items if item in view.index], np.intp)
    return PreparedRule(rule, known, view.for_sale([item for item in items if item not in view.index]))


def _state(file: Path) -> object:
    try:
        found = file.stat()
    except OSError as error:
        return error.errno
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)
