"""Make pseudonyms of the shop's own ids with the key of the lake, as `anonymize` makes them."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from data_contracts.spellings import identifier, spells_nothing
from lastaisle.errors import LastaisleError
from lastaisle.privacy.keys import ENVIRONMENT, KeyFileError, PseudonymKeys
from lastaisle.serve.questions import wrong
from lastaisle.settings import Settings
from lastaisle.web.refusal import RETRY_AFTER_SECONDS, RefusedError

if TYPE_CHECKING:
    from lastaisle.privacy.domains import LakeKey

_POLL_SECONDS: Final = 30.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HeldKey:
    """The key that the service holds at a moment.

    Attributes:
        key: the key; None if there is none to use.
        problem: why there is none.
    """

    key: LakeKey | None
    problem: str

    def of(self, domain: str, given: str | int) -> str:
        """Return the pseudonym of an id; see `Pseudonyms.of`."""
        text = identifier(str(given))
        if not text or spells_nothing(text):
            raise wrong(
                f"{domain} is no id: it is empty, spells a missing value (such as null or undefined), or is "
                "a truth value, a list, an object or a rounded number; leave the field out if there is none"
            )
        if self.key is None:
            message = f"{domain} cannot become a pseudonym: {self.problem}; send the pseudonym itself"
            raise RefusedError(503, "no_pseudonym_key", message, RETRY_AFTER_SECONDS)
        return self.key.pseudonym(domain, text)


class Pseudonyms:
    """Makes pseudonyms with the current key; a thread looks whether the key was rotated.

    Args:
        settings: name the key and the lake. The lake says how its pseudonyms are made.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._key: LakeKey | None = None
        self._problem = "the pseudonym key has not been read yet"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="pseudonyms", daemon=True)

    @property
    def problem(self) -> str:
        """Why the key cannot be used, or not the newest; empty if it can."""
        return self._problem

    def start(self) -> None:
        """Start to follow the key."""
        self._thread.start()

    def stop(self) -> None:
        """Stop to follow the key."""
        self._ended.set()

    def of(self, domain: str, given: str | int) -> str:
        """Return the pseudonym of an id.

        Args:
            domain: USERS or SESSIONS.
            given: the shop's own id.

        Raises:
            RefusedError: 422, the text is no id; 503, there is no key to use. Neither says the id.
        """
        return self.held().of(domain, given)

    def held(self) -> HeldKey:
        """Return the key as it is now: the pseudonyms of one row should come from one key."""
        return HeldKey(self._key, self._problem)

    def look(self) -> None:
        """Read the key again. If that fails, the last key stays, and `problem` says why."""
        before = self._problem
        try:
            self._read()
            self._problem = ""
        except (LastaisleError, OSError) as error:
            self._problem = str(error)
        if self._problem and self._problem != before:
            log.warning("%s", self._problem)

    def _read(self) -> None:
        from lastaisle.lake.opening import open_lake  # here: the service starts before deltalake is imported
        from lastaisle.lake.tables import EVENTS
        from lastaisle.privacy.domains import key_of_lake

        settings = self._settings
        keys = PseudonymKeys.load(settings.privacy.key_file, lake_url=settings.lake.url)
        if keys is None:
            raise KeyFileError(
                f"there is no pseudonym key in {settings.privacy.key_file}, nor in {ENVIRONMENT}: the first "
                "ingestion makes it"
            )
        lake = open_lake(settings)
        self._key = key_of_lake(lake, keys, lake.version(EVENTS))

    def _follow(self) -> None:
        self.look()
        while not self._ended.wait(_POLL_SECONDS):
            self.look()
