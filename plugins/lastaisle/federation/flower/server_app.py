"""The process of a coordinator: it runs the rounds of one training, and writes them into a folder."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from flwr.app import Message

from lastaisle.errors import ExitCode, LastaisleError
from lastaisle.federation.files import AGREEMENT, POPULARITY_ARRAY, ROUNDS, WEIGHTS_FILE
from lastaisle.federation.flower.link import Link, silo_keys
from lastaisle.federation.flower.records import answered, question
from lastaisle.federation.flower.secure import secure_round
from lastaisle.settings import Settings
from models.federated.agreement import Agreement
from models.federated.rounds import Round, Server
from models.federated.updates import Update

SETTLE_SECONDS = 5.0
"""Without a list of silos, the first round begins when no further silo has come for so long."""
LEFT = "it left during the round"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")

logger = logging.getLogger("lastaisle.federation")


class OpenAddressError(LastaisleError):
    """The coordinator would listen beyond this machine without TLS or without a list of silos."""

    exit_code = ExitCode.WRONG_REQUEST


def run(agreement: Agreement, link: Link, folder: Path, *, wait: float, timeout: float) -> Server:
    """Run all rounds with the silos that join.

    Args:
        agreement: the training.
        link: reaches the silos.
        folder: each round adds a line to its file ROUNDS, and the last round writes WEIGHTS_FILE.
        wait: how long to wait for silos, in seconds.
        timeout: how long a round waits for answers, in seconds.
    """
    server, text = Server(agreement), agreement.to_json()
    _await_silos(link, agreement.min_silos, wait)
    for _ in range(agreement.rounds):
        if agreement.aggregation == "secure":
            done = secure_round(server, link.grid, link.context, link.silos(), text=text, timeout=timeout)
        else:
            done = _plain_round(server, link, text, timeout)
        with (folder / ROUNDS).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(done.to_dict()) + "\n")
        logger.info("round %d: %d silos, %d refused", done.number, done.silos, len(done.refused))
    arrays = {**server.weights, POPULARITY_ARRAY: server.popularity}
    partial = folder / f"{WEIGHTS_FILE}.part"
    with partial.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]
    partial.rename(folder / WEIGHTS_FILE)
    return server


def _plain_round(server: Server, link: Link, text: str, timeout: float) -> Round:
    """Ask all silos that are there, and aggregate the updates that come in time."""
    number, silos = len(server.rounds) + 1, link.silos()
    content = question(text, number, server.weights, server.popularity)
    messages = [
        Message(content, dst_node_id=node, message_type="train", group_id=str(number), ttl=2 * timeout)
        for node in silos
    ]
    updates: dict[str, Update] = {}
    late = f"no answer within {timeout:g} s"
    failed = dict.fromkeys(silos.values(), late)
    for reply in link.grid.send_and_receive(messages, timeout=timeout):
        name = silos.get(reply.metadata.src_node_id)
        if name is None:  # the SuperLink itself answers for a silo that is gone
            continue
        if reply.has_error():
            failed[name] = reply.error.reason or f"error {reply.error.code}"
            continue
        try:
            updates[name] = answered(reply.content)
            del failed[name]
        except ValueError as error:
            failed[name] = str(error)
    there = set(link.silos().values())
    failed |= {name: LEFT for name, why in failed.items() if why == late and name not in there}
    return server.finish_round(updates, failed)


def _await_silos(link: Link, needed: int, wait: float) -> None:
    """Wait until all expected silos are there, or at least the needed ones for some seconds.

    With too few silos the rounds begin all the same, and say that they changed nothing.
    """
    until, since, before = time.monotonic() + wait, time.monotonic(), 0
    while time.monotonic() < until:
        there = len(link.silos())
        if there != before:
            logger.info("%d silos are there", there)
            since, before = time.monotonic(), there
        settled = not link.names and there >= needed and time.monotonic() - since >= SETTLE_SECONDS
        if settled or (link.names and there == len(link.names)):
            return
        time.sleep(0.5)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the training of a folder; the settings say where to listen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", required=True, type=Path)
    folder = parser.parse_args(arguments).folder
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    for library in ("flwr", "httpx"):
        logging.getLogger(library).setLevel(logging.WARNING)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        settings = Settings.from_env().federation
        host, _, port = settings.address.rpartition(":")
        _refuse_open(host, bool(settings.certificate), bool(settings.silos))
        keys = silo_keys(settings.silos) if settings.silos else {}
        link = Link(host, int(port), settings.certificate, settings.private_key, keys)
        agreement = Agreement.from_json((folder / AGREEMENT).read_text(encoding="utf-8"))
        try:
            run(agreement, link, folder, wait=settings.wait_seconds, timeout=settings.round_seconds)
        finally:
            link.close()
    except LastaisleError as error:
        logger.error("%s", error)
        return int(error.exit_code)
    return 0


def _end_with_parent() -> None:
    """End this process when its input ends, as it does when the training that started it is killed."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    logger.warning("the training that started this coordinator ended; so does the coordinator")
    os._exit(1)


def _refuse_open(host: str, has_certificate: bool, has_keys: bool) -> None:
    if host not in LOOPBACK and not (has_certificate and has_keys):
        raise OpenAddressError(
            f"the coordinator would listen at {host} without knowing who joins: set "
            "LASTAISLE_FEDERATION_CERTIFICATE, LASTAISLE_FEDERATION_PRIVATE_KEY and "
            "LASTAISLE_FEDERATION_SILOS, or listen at 127.0.0.1"
        )


if __name__ == "__main__":
    sys.exit(main())
