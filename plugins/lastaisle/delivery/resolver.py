"""Where the secrets of channels lie, and how they are read."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from lastaisle.errors import ExitCode, LastaisleError

if TYPE_CHECKING:
    from lastaisle.delivery.config import ChannelConfig
    from lastaisle.delivery.notice import Notice
    from lastaisle.delivery.sent import Sent


class ChannelError(LastaisleError):
    """A channel that cannot be used: its secret is missing or has a wrong form."""

    exit_code = ExitCode.WRONG_REQUEST


class Resolver(Protocol):
    """Reads what a channel's configuration names."""

    def variable(self, name: str) -> str:
        """Return the value of an environment variable.

        Raises:
            ChannelError: the variable is missing or empty.
        """

    def connection(self, name: str, kind: str) -> tuple[str, str]:
        """Return the address and the key that an Airflow connection holds for a channel of a kind.

        Raises:
            ChannelError: there is no such connection, or it lacks something.
        """

    def notifier(self, config: ChannelConfig) -> Callable[[Notice], Sent]:
        """Return the function that sends notices by a notifier of Airflow.

        Raises:
            ChannelError: there is no such notifier, or its arguments are wrong.
        """


class EnvironmentResolver:
    """Reads environment variables; has no Airflow.

    Args:
        environ: the variables; None for those of this process.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = environ

    def variable(self, name: str) -> str:
        """See `Resolver.variable`."""
        environ = os.environ if self._environ is None else self._environ
        if value := environ.get(name, "").strip():
            return value
        raise ChannelError(
            f"the environment variable {name} is not set: set it, and start this process again"
        )

    def connection(self, name: str, kind: str) -> tuple[str, str]:
        """See `Resolver.connection`."""
        del kind
        raise ChannelError(
            f"only tasks of Airflow read the Airflow connection {name}: to try this channel, trigger the DAG "
            "send_test_alert"
        )

    def notifier(self, config: ChannelConfig) -> Callable[[Notice], Sent]:
        """See `Resolver.notifier`."""
        raise ChannelError(
            f"only tasks of Airflow use the notifier {config.notifier}: to try this channel, trigger the DAG "
            "send_test_alert"
        )
