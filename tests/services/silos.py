"""Silos and a coordinator as processes: each silo with a lake and, where root runs, a user of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lastaisle.federation.joining import joining
from lastaisle.lake import Lake
from lastaisle.settings import Settings
from tests.services.certificates import make_certificates
from tests.services.required import starts_service

ENVIRONMENTS = Path(__file__).resolve().parents[2] / ".cache" / "environments"
FIRST_USER = 23_100
ACCEPTS = "secure trimmed krum mean"


@dataclass
class SiloProcess:
    """One silo.

    Attributes:
        name: of its key.
        settings: its installation.
        user: the number of the user who owns its folder; None = the user of the tests.
        runs_as_user: whether its process runs as that user, which needs a Python that other users can run.
        log: what its process printed.
        process: None before it joins.
    """

    name: str
    settings: Settings
    user: int | None
    log: Path
    runs_as_user: bool
    process: subprocess.Popen[bytes] | None = None

    def as_its_user(self, command: list[str]) -> list[str]:
        """Return the command as this silo's user runs it."""
        if self.user is None:
            return command
        who = str(self.user)
        return ["setpriv", "--reuid", who, "--regid", who, "--clear-groups", *command]

    def join(self, address: str, authority: Path) -> None:
        """Start the silo's process."""
        starts_service("Flower")
        key = self.settings.home / "silo.key"
        lake = Lake(self.settings.lake.url)
        command, environ = joining(
            address, self.settings, lake, root_certificates=str(authority), key=str(key)
        )
        environ |= {"LASTAISLE_SILO_ACCEPTS": ACCEPTS, "HOME": str(self.settings.home)}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.as_its_user(command) if self.runs_as_user else command,
                env=environ,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def terminate(self) -> None:
        """Ask the process to end."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def end(self) -> None:
        """End the process, which was asked to before."""
        if self.process is not None and self.process.poll() is None:
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@dataclass(frozen=True)
class Federation:
    """A coordinator's installation and its silos.

    Attributes:
        settings: of the coordinator.
        silos: by name.
        folder: holds all of them.
        authority: the file of the authority that signed the coordinator's certificate.
    """

    settings: Settings
    silos: dict[str, SiloProcess]
    folder: Path
    authority: Path

    def join(self, name: str) -> None:
        """Start the process of a silo, for the first time or again."""
        self.silos[name].join(self.settings.federation.address, self.authority)


def users_can_differ() -> bool:
    """Tell whether the tests can give each silo's folder to a user of its own."""
    return os.geteuid() == 0 and shutil.which("setpriv") is not None


def others_can_run_python() -> bool:
    """Tell whether another user can run this Python and read this code."""
    probe = ["setpriv", "--reuid", str(FIRST_USER), "--regid", str(FIRST_USER), "--clear-groups"]
    needed = ["test", "-x", os.path.realpath(sys.executable), "-a", "-r", __file__]
    return subprocess.run([*probe, *needed], check=False).returncode == 0


@contextmanager
def federation(folder: Path, port: int, names: tuple[str, ...], events: object) -> Iterator[Federation]:
    """Make installations with keys and certificates, and start the silos.

    Args:
        folder: an empty folder that every user may enter.
        port: where the coordinator will listen.
        names: of the silos.
        events: called with the number of a silo; returns its table of events.
    """
    address, differ = f"127.0.0.1:{port}", users_can_differ()
    runs = differ and others_can_run_python()
    certificates = make_certificates(folder)
    keys = folder / "keys"
    keys.mkdir()
    silos = {}
    for number, name in enumerate(names):
        settings = _installation(folder / name)
        Lake(settings.lake.url).append("events", events(number), key="made-up")  # type: ignore[operator]
        _make_key(settings.home / "silo.key", keys / f"{name}.pub")
        user = FIRST_USER + number if differ else None
        if user is not None:
            subprocess.run(["chown", "-R", "-h", f"{user}:{user}", str(settings.home)], check=True)
        settings.home.chmod(0o700)
        silos[name] = SiloProcess(name, settings, user, folder / f"{name}.log", runs)
    coordinator = _installation(
        folder / "coordinator",
        federation_address=address,
        federation_certificate=str(certificates.keystore),
        federation_private_key=str(certificates.keystore),
        federation_silos=str(keys),
        federation_wait_seconds=400,
        federation_round_seconds=120,
    )
    try:
        made = Federation(coordinator, silos, folder, certificates.authority)
        for name in silos:
            made.join(name)
        yield made
    finally:
        for silo in silos.values():
            silo.terminate()
        for silo in silos.values():
            silo.end()


def _installation(home: Path, **values: object) -> Settings:
    home.mkdir()
    (home / "environments").symlink_to(ENVIRONMENTS)
    return Settings.of(home=home, **values)


def _make_key(private: Path, public: Path) -> None:
    """Write a pair of keys as `ssh-keygen -t ecdsa -b 384` does."""
    key = ec.generate_private_key(ec.SECP384R1())
    form = serialization.PrivateFormat.OpenSSH
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    private.chmod(0o600)
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    )
