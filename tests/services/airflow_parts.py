"""The parts of Airflow that a test needs: `python -m tests.services.airflow_parts`.

MLflow's pages and the service are left out, and the triggerer if no topic is watched. The database and the
pools exist already, since `prepare_home` copied them. All DAGs are paused until the API server answers, so
the parts may start at the same time.
"""

from __future__ import annotations

import sys
import time

from lastaisle_airflow.local import services, serving
from lastaisle_airflow.local.secret_holders import MLFLOW, SERVE, TRIGGERER


class Parts(services.Services):
    """Airflow's parts as child processes, with a prepared folder."""

    def start(self, timeout: float = 120.0) -> None:
        """Start all parts at the same time, and wait until the API server answers."""
        self._logs.mkdir(parents=True, exist_ok=True)
        serving.make_key(self.settings)
        every = services.services_of(self.settings)
        left_out = {MLFLOW, SERVE} | (set() if self.settings.abandonment.control_topic else {TRIGGERER})
        parts = {part.name: part for part in every if part.name not in left_out}
        for part in parts.values():
            self._spawn(part)
        self._wait_for(parts["airflow-api-server"], time.monotonic() + timeout)


def main() -> int:
    """Start the parts, and keep them running until SIGTERM."""
    services.Services = Parts  # type: ignore[misc]
    return services.main()


if __name__ == "__main__":
    sys.exit(main())
