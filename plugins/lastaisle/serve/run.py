"""Run the service: one process, or several that share the listening socket."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import uvicorn

from lastaisle.collect.folder import FolderOptions
from lastaisle.collect.sink import Sink
from lastaisle.collect.sinks import sink_of
from lastaisle.lake.opening import open_lake
from lastaisle.serve.app import Limits, create_app
from lastaisle.serve.consents.consents import Consents
from lastaisle.serve.feedback import CONTENT
from lastaisle.serve.following.fixed import FixedVersion
from lastaisle.serve.following.served import Follower, ServedVersion
from lastaisle.serve.health.counts import HealthCounts
from lastaisle.serve.health.writer import HealthWriter
from lastaisle.serve.metrics import Metrics
from lastaisle.serve.parts import Parts, Versions
from lastaisle.serve.pseudonyms import Pseudonyms
from lastaisle.serve.shadow.sender import Shadow, start_process
from lastaisle.serve.shown.shelf import Shelf, rules_of
from lastaisle.serve.trials.trials import Trials
from lastaisle.serve.trials.versions import ArmVersions, NoVersions
from lastaisle.serve.workers import Workers
from lastaisle.settings import Settings, SettingsError
from lastaisle.web.keys import Keys
from lastaisle.web.listening import listen, server_config, url_of

SWITCH_SECONDS: Final = 0.0005
"""How long a thread may keep the interpreter: the event loop must not wait long for the scoring thread."""

log = logging.getLogger(__name__)


def serve(
    settings: Settings,
    host: str,
    port: int,
    announce: Callable[[str], None],
    *,
    folder: Path | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; open requests are still answered then.

    Args:
        settings: `serve` holds the keys, the limits and the place of feedback.
        host: the address to listen on.
        port: the port to listen on; 0 is any free port.
        announce: is called with each line for the user.
        folder: a packed model to serve; None follows the registry.

    Raises:
        SettingsError: there is no key, the file of keys cannot be read, the folder holds no model, or
            feedback cannot be kept.
        RuleError: the file of rules cannot be used.
        ListenError: the address cannot be listened on.
    """
    keys_of(settings)
    with listen(host, port, "the service") as listening:
        if settings.serve.workers == 1:
            run_worker(
                settings, listening, folder, lambda: _introduce(settings, host, listening, folder, announce)
            )
            return
        rules_of(settings)  # wrong rules or a wrong folder are told once, not by each worker
        if folder:
            FixedVersion(folder)
        sink = _sink_of(settings)
        sink.open()
        sink.close()
        _introduce(settings, host, listening, folder, announce)
        Workers(settings, listening, folder).run()


def run_worker(
    settings: Settings,
    listening: socket.socket,
    folder: Path | None,
    opened: Callable[[], None] = lambda: None,
) -> None:
    """Answer requests in this process until SIGTERM or SIGINT.

    Args:
        settings: as for `serve`.
        listening: the socket.
        folder: as for `serve`.
        opened: is called when everything is open, before the first answer.

    Raises:
        SettingsError: as `serve` does.
        RuleError: as `serve` does.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    keys = keys_of(settings)
    shelf = Shelf(settings, on_event=_tell)
    versions = _versions(settings, folder, shelf)
    arms = NoVersions() if folder else ArmVersions(settings, partial(_prepare, shelf), _tell)
    trials = Trials(settings, versions, arms, on_event=_tell)
    sink = _sink_of(settings)
    sink.open()
    opened()
    metrics = Metrics()
    origins = [origin.strip() for origin in settings.serve.cors_origins.split(",") if origin.strip()]
    limits = Limits(waiting=settings.serve.queue, seconds=settings.serve.timeout_seconds)
    counts = HealthCounts()
    shadow = Shadow(trials.shadow, partial(start_process, settings), settings.registry.model_name, counts)
    listeners = (shadow, HealthWriter(settings, counts))  # the writer ends last
    consents = Consents(open_lake(settings), settings.serve.consent_poll_seconds)
    made = (versions, keys, sink, Pseudonyms(settings), shelf, listeners, trials, consents)
    parts = Parts(*made, settings.privacy.refused_by_gpc)
    app = create_app(parts, origins=origins, limits=limits, metrics=metrics)
    uvicorn.Server(server_config(app, metrics.refused)).run([listening])


def _sink_of(settings: Settings) -> Sink:
    """Return where feedback is kept."""
    options = FolderOptions(file_seconds=settings.serve.feedback_seconds)
    return sink_of(settings.serve.feedback, CONTENT, options)


def keys_of(settings: Settings) -> Keys:
    """Return the API keys.

    Raises:
        SettingsError: there are none, or their file cannot be read.
    """
    keys = Keys.of(settings.serve.keys, settings.serve.key_file)
    if not keys.has_any():
        raise SettingsError(
            "the service has to know who is calling: set LASTAISLE_SERVE_KEYS (API keys, separated by "
            "commas) or LASTAISLE_SERVE_KEY_FILE (a file with a key in each line); "
            "`openssl rand -hex 16` makes a key"
        )
    return keys


def _versions(settings: Settings, folder: Path | None, shelf: Shelf) -> Versions:
    """Return the version that answers; each version meets the shelf before it answers."""
    if folder:
        fixed = FixedVersion(folder)
        shelf.of(fixed.current.model)
        return fixed

    follower = Follower(settings, on_event=_tell)
    follower.add_listener(partial(_prepare, shelf))
    return follower


def _prepare(shelf: Shelf, served: ServedVersion) -> None:
    """Make the view of a version before it answers."""
    shelf.of(served.model)


def _introduce(
    settings: Settings,
    host: str,
    listening: socket.socket,
    folder: Path | None,
    announce: Callable[[str], None],
) -> None:
    """Say where the service listens, which model it serves, where it keeps feedback, and how to ask."""
    url = url_of(host, listening)
    registered = f"{settings.registry.model_name}@{settings.serve.follow}"
    announce(f"The service listens on {url}; open this address in a browser to try it.")
    announce(f"It serves {folder or registered}.")
    announce(f"It keeps feedback in {settings.serve.feedback}.")
    body = '{"items": ["ID OF AN ITEM"], "k": 5}'
    announce(f"Ask it: curl -H 'Authorization: Bearer KEY' -d '{body}' {url}/v1/recommendations")


def _tell(line: str) -> None:
    log.warning("%s", line)
