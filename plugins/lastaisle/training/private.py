"""Whether a private training can keep its promise, asked before it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lastaisle.errors import ExitCode, LastaisleError
from lastaisle.training.kinds import kind_for
from models.recommender import PRIVATE_MODELS

if TYPE_CHECKING:
    from lastaisle.registry.plan import Champion, TrainingPlan


class CannotBePrivateError(LastaisleError):
    """A training with epsilon that would not be private."""

    exit_code = ExitCode.WRONG_REQUEST


def require_possible(plan: TrainingPlan, champion: Champion | None) -> None:
    """Refuse a training with epsilon that would not be private.

    Args:
        plan: the training.
        champion: the version that it may start from; None = there is none.

    Raises:
        CannotBePrivateError: the architecture or the kind of training has no private training, or the
            training would start from a version that was trained without noise. It says what to do instead.
    """
    if not plan.is_private:
        return
    epsilon = f"epsilon = {plan.options['epsilon']:g}"
    if plan.architecture not in PRIVATE_MODELS:
        raise CannotBePrivateError(
            f"{plan.run_key}: the model {plan.architecture} cannot be trained with {epsilon}: it keeps "
            f"sessions or shoppers as they are, or has no private training; {', '.join(PRIVATE_MODELS)} can"
        )
    if not kind_for(plan).learns_own_sessions:
        raise CannotBePrivateError(
            f"{plan.run_key}: a {plan.kind} training cannot have {epsilon}: nothing counts what its silos "
            "reveal; leave epsilon out, or run a full training"
        )
    start = plan.warm_start_version
    if champion is None or start != champion.version or champion.options["epsilon"] is not None:
        return
    raise CannotBePrivateError(
        f"{plan.run_key}: a training with {epsilon} cannot start from version {start}, which was trained "
        "without noise: its weights tell of the shoppers of before. Train from scratch first (`lastaisle "
        f"train --kind full --set epsilon={plan.options['epsilon']:g}`, or the DAG `retrain_full`) and "
        "release that version; later trainings start from it"
    )
