"""Erase shoppers, and prove it: find, erase, delete, search every byte, and again until nothing is found."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from lastaisle.lake.errors import LakeConflictError
from lastaisle.lake.rewritten import live_files
from lastaisle.rights.erasure.folders import (
    LINES,
    Asked,
    Folder,
    artifacts_of,
    erase_in_folder,
    folders_of_home,
)
from lastaisle.rights.erasure.known import Known, find_known
from lastaisle.rights.erasure.model import Erased, PlaceReport, Places, Subjects, VersionTouched
from lastaisle.rights.erasure.needles import Needles
from lastaisle.rights.erasure.proof import LakeProof, sample_of
from lastaisle.rights.erasure.scan import Searched
from lastaisle.rights.erasure.tables import (
    TABLES,
    Payloads,
    clean_logs,
    dead_files,
    erase_places,
    erase_rows,
    holds_rows,
)
from lastaisle.rights.erasure.topics import erase_from_topic

ROUNDS: Final = 5
#: A file that no version names and that is younger may belong to a writer who has not committed yet.
WRITING_SECONDS: Final = 3600.0
#: An id that stands in more rows of others than this number, and than this share, is a word of the shop.
COMMON_ROWS: Final = 1000
COMMON_SHARE: Final = 0.01

_ENTRY: Final = re.compile(r"_delta_log/[0-9.]+(compacted\.)?json")

Progress = Callable[[float, str], None]


def erase(
    subjects: Subjects,
    places: Places,
    *,
    dry_run: bool = True,
    progress: Progress = lambda share, step: None,
) -> Erased:
    """Erase shoppers from every place, and search every byte for their ids and pseudonyms afterwards.

    An erasure that was killed is called again and goes on. A second call of a finished erasure finds nothing
    and changes nothing.

    Args:
        subjects: the shoppers.
        places: where their data lies.
        dry_run: only count; change nothing.
        progress: called with the share of the work that is done, and the next step.

    Raises:
        LakeConflictError: other writers won every attempt; call again.
        LakeUnusableError: a table cannot be read or written.
    """
    return _Erasure(subjects, places, dry_run, progress).run()


class _Erasure:
    """One call of `erase`."""

    def __init__(self, subjects: Subjects, places: Places, dry_run: bool, progress: Progress) -> None:
        self.subjects, self.places, self.dry_run, self.progress = subjects, places, dry_run, progress
        self.lake = places.lake
        self.file = places.work / f"{subjects.digest}.json"
        self.known = Known.load(self.file)
        self.reports: dict[str, PlaceReport] = {}
        self.versions: Mapping[str, int | None] = {}
        self.common: frozenset[str] = frozenset()
        self.sample = b""
        self.rounds = 0

    def run(self) -> Erased:
        started = time.perf_counter()
        self.sample = sample_of(self.lake)
        proof = LakeProof(self.lake, Needles(()))
        while self.rounds < ROUNDS:
            self.rounds += 1
            if self._find() or self.rounds == 1:
                proof = self._proof()
            self._erase_rows()
            self.progress(0.4, "searching every byte of the lake")
            proof.search()
            if self._drop_common(proof):
                proof = self._proof()
                proof.search()
            if self.dry_run or not self._erase_found(proof):
                break
        self._report(proof)
        versions = self._erase_from_models(proof.needles)
        self._erase_elsewhere(proof.needles)
        erased = Erased(
            dry_run=self.dry_run,
            subjects=len(self.subjects),
            places=tuple(self.reports.values()),
            versions=versions,
            ids=len(proof.needles),
            ids_in_columns=proof.needles.too_short + len(self.common),
            shared=len(self.known.shared),
            rounds=self.rounds,
            seconds=time.perf_counter() - started,
        )
        if erased.proven:
            self.file.unlink(missing_ok=True)
        return erased

    def _proof(self) -> LakeProof:
        texts = self.known.texts - self.common
        return LakeProof(self.lake, Needles(sorted(texts), sorted(self.known.pseudonyms), self.sample))

    def _find(self) -> bool:
        """Find what the tables tell of the shoppers; tell whether that is more than was known."""
        self.progress(0.0 if self.rounds == 1 else 0.6, "finding the shoppers")
        versions = {name: self.lake.version(name) for name in TABLES}
        if self.rounds > 1 and versions == self.versions:
            return False
        before, self.known = self.known, find_known(self.lake, self.subjects, self.known)
        if not self.dry_run and self.known != before:
            self.known.save(self.file)
        return self.known != before

    def _erase_rows(self) -> None:
        """Erase the rows that are known by their ids, table by table."""
        for number, name in enumerate(TABLES):
            self.progress(0.1 + 0.2 * number / len(TABLES), f"erasing from {name}")
            self._add(erase_rows(self.lake, name, self.known, dry_run=self.dry_run))
        if not self.dry_run:
            for name in TABLES:
                self.progress(0.35, f"deleting old files of {name}")
                self._delete_dead(name, {})
                self._add(PlaceReport(name, "table", entries_cleaned=clean_logs(self.lake, name)))
        self.versions = {name: self.lake.version(name) for name in TABLES}

    def _delete_dead(self, name: str, found: Mapping[str, Searched]) -> bool:
        """Delete old files with rows of the shoppers; tell whether there were any."""
        folder, deleted, waiting = self.lake.folder(name), [], 0
        ages, log = folder.files(), b""
        for path in dead_files(self.lake, name):
            if not (path in found and found[path].found) and not self._holds_rows(name, path):
                continue
            is_old = time.time() - ages.get(path, (0, 0.0))[1] > WRITING_SECONDS
            # A file that an entry of the log names was committed, so no writer is about to commit it.
            log = log or b"\n".join(folder.read(file) for file in ages if _ENTRY.fullmatch(file))
            if is_old or path.encode() in log:
                deleted.append(path)
            else:
                waiting += 1
        folder.discard(deleted)
        self._add(PlaceReport(name, "table", files_deleted=len(deleted), waiting=waiting))
        return bool(deleted)

    def _holds_rows(self, name: str, path: str) -> bool:
        try:
            return holds_rows(self.lake, name, path, self.known)
        except (OSError, ValueError):  # half of a file, or one that another process deleted
            return False

    def _drop_common(self, proof: LakeProof) -> bool:
        """Stop searching for ids that are words of the shop; tell whether there are any."""
        rows = sum(self._rows(name) for name in TABLES)
        most = max(COMMON_ROWS, int(COMMON_SHARE * rows))
        counted = proof.rows_by_text(TABLES)
        if self.dry_run or not any(count > most for count in counted.values()):
            return False
        common = {proof.needles.texts[text] for text, count in counted.items() if count > most}
        self.common |= common & self.known.texts
        return bool(common & self.known.texts)

    def _rows(self, name: str) -> int:
        table = self.lake.table(name)
        return 0 if table is None else int(table.count())

    def _erase_found(self, proof: LakeProof) -> bool:
        """Erase the rows and the files in which an id was found; tell whether anything changed."""
        changed = False
        for name in TABLES:
            found = {path: each for path, each in proof.of_table(name).items() if each.found}
            table = self.lake.table(name)
            live = {} if table is None else live_files(table)
            rows = {path: each.rows for path, each in found.items() if path in live and each.rows}
            if rows:
                self.progress(0.6, f"erasing rows of {name} that name a shopper")
                changed = self._erase_places(name, rows) or changed
            if found.keys() - live.keys():
                changed = self._delete_dead(name, found) or changed
        self.versions = {} if changed else self.versions
        changed_since = {name: self.lake.version(name) for name in TABLES} != self.versions
        return changed or changed_since

    def _erase_places(self, name: str, rows: Mapping[str, set[int]]) -> bool:
        try:
            erased, files = erase_places(self.lake, name, rows)
        except LakeConflictError:  # the next round searches the table again
            return True
        self._add(
            PlaceReport(
                name, "table", rows=erased, mentioned=erased, files_rewritten=files, files_deleted=files
            )
        )
        return bool(erased)

    def _erase_from_models(self, needles: Needles) -> tuple[VersionTouched, ...]:
        """Take out what models know of the shoppers, as far as that can be done without training."""
        registry, settings = self.places.registry, self.places.settings
        if registry is None or settings is None:
            return ()
        from lastaisle.rights.erasure.versions import erase_from_registry, touched_versions

        self.progress(0.7, "searching the models")
        report, decided = erase_from_registry(
            registry, artifacts_of(settings), needles, self.known.user_names, dry_run=self.dry_run
        )
        self.reports[report.place] = report
        return tuple(touched_versions(self.lake, registry, self.known, decided))

    def _erase_elsewhere(self, needles: Needles) -> None:
        """Erase from the folders on this machine, and from topics of Kafka."""
        subjects = Asked(needles, Payloads(self.known).names, self.dry_run)
        lake = () if "://" in self.lake.url else (Path(self.lake.url),)
        skipped = [*lake, self.places.work, *self.places.skipped]
        settings = self.places.settings
        if settings is not None and self.places.registry is not None and (models := artifacts_of(settings)):
            skipped.append(models)  # searched by _erase_from_models
        folders = [
            Folder(name, path, "lines" if name.rpartition("/")[2] in LINES else "other")
            for name, path in self.places.folders.items()
        ]
        if settings is not None:
            folders += folders_of_home(settings.home, skipped)
        for folder in folders:
            self.progress(0.8, f"searching the folder {folder.name}")
            self.reports[folder.name] = erase_in_folder(folder, subjects, skipped)
        for topic in self.places.topics:
            self.progress(0.9, f"reading the topic {topic.name}")
            report = erase_from_topic(topic, subjects)
            self.reports[report.place] = report
        if self.places.without_topics:
            self.reports["kafka"] = PlaceReport("kafka", "topic", note=self.places.without_topics)

    def _add(self, report: PlaceReport) -> None:
        """Add what was done in a place to what was done there before."""
        held = self.reports.get(report.place, PlaceReport(report.place, report.kind))
        summed = ("rows", "mentioned", "files_rewritten", "files_deleted", "entries_cleaned")
        self.reports[report.place] = replace(
            held,
            **{name: getattr(held, name) + getattr(report, name) for name in summed},
            waiting=report.waiting or held.waiting,
        )

    def _report(self, proof: LakeProof) -> None:
        """State for each table what the search found at the end."""
        for name in dict.fromkeys((*self.reports, *proof.tables)):
            files = proof.of_table(name).values()
            self.reports[name] = replace(
                self.reports.get(name, PlaceReport(name, "table")),
                files_scanned=len(files),
                bytes_scanned=sum(each.bytes for each in files),
                found=sum(each.found for each in files),
                unreadable=sum(each.unreadable for each in files),
            )
