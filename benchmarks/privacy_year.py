"""What does a year of private trainings spend? Daily trainings on windows of some days, composed.

    python benchmarks/privacy_year.py [--shoppers 20000] [--window-days 7] [--epsilons 0.05 0.1 0.25 0.5 1 2]
        [--delta 1e-6] [--training-delta 1e-9]

Each day, a version is trained on the shoppers of the last days, and spends `epsilon` at `--training-delta`.
The batches and the steps are the defaults of a private training, and so is the share of its noisy counts of
the items, which stand in the catalogue. One line of JSON an epsilon, then a
table: epsilon of a year at `--delta`, by PLD and by RDP, of shoppers who came so often that they were in the
windows of this many of the 365 trainings. A shopper who came once was in the windows of as many trainings as
a window has days.
"""

from __future__ import annotations

import argparse
import json

from rich.console import Console
from rich.table import Table

from models.options import TrainingOptions
from models.private.accounting import epsilon_of, noise_for, release_noise_for
from models.private.mechanism import Mechanism, Release
from models.sequential.private import COUNTS_SHARE

DAYS = 365


def daily_training(epsilon: float, delta: float, shoppers: int) -> Mechanism:
    """Return a training with the default batches and steps, and with as much noise as epsilon asks for."""
    options = TrainingOptions()
    rate, steps = min(1.0, options.private_batch / shoppers), options.private_steps
    counts = Release("counts", release_noise_for(COUNTS_SHARE * epsilon, delta))
    noise = noise_for(epsilon, delta, rate, steps, [counts])
    return Mechanism("shopper", rate, noise, steps, options.clip, shoppers, (counts,))


def windows_of_visits(days_with_visits: int, window_days: int) -> int:
    """Return in how many of 365 daily windows a shopper was, whose visits are spread over the year."""
    return min(DAYS, days_with_visits * window_days)


def main() -> None:
    """Compose years, and print them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shoppers", type=int, default=20_000)
    parser.add_argument("--window-days", type=int, default=7)
    parser.add_argument("--epsilons", type=float, nargs="+", default=[0.05, 0.1, 0.25, 0.5, 1.0, 2.0])
    parser.add_argument("--delta", type=float, default=1e-6)
    parser.add_argument("--training-delta", type=float, default=1e-9)
    given = parser.parse_args()
    visits = {"once": 1, "monthly": 12, "each day": DAYS}
    table = Table(
        "epsilon of a training", "noise", title=f"epsilon of a year at delta {given.delta:g} (PLD / RDP)"
    )
    for name, days in visits.items():
        table.add_column(f"{name}: {windows_of_visits(days, given.window_days)} windows", justify="right")
    console = Console()
    for epsilon in given.epsilons:
        training = daily_training(epsilon, given.training_delta, given.shoppers)
        told = {
            "epsilon": epsilon,
            "noise_multiplier": round(training.noise_multiplier, 4),
            "steps": training.steps,
        }
        cells = []
        for name, days in visits.items():
            windows = windows_of_visits(days, given.window_days)
            spent = epsilon_of([training] * windows, given.delta)
            told[name.replace(" ", "_")] = {"windows": windows, "pld": spent.pld, "rdp": spent.rdp}
            cells.append(f"{spent.pld:.3g} / {spent.rdp:.3g}")
        console.print_json(json.dumps(told), indent=None)
        table.add_row(f"{epsilon:g}", f"{training.noise_multiplier:.3g}", *cells)
    console.print(table)


if __name__ == "__main__":
    main()
