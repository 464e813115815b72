"""The names of all models, and how a model is made and loaded by its name."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from models.options import TrainingOptions
from models.recommender import Recommender
from models.stored import ModelError, read_description

# The name of each model, and its "module:Class". The module is imported when a model is made, because most
# models import TensorFlow, which takes seconds.
_MODULES: dict[str, str] = {
    "attention": "models.sequential.attention:Attention",
    "gru": "models.sequential.gru:GRU",
    "transformer": "models.sequential.transformer:Transformer",
    "hybrid": "models.sequential.hybrid:Hybrid",
    "neighbours": "models.counting.neighbours:Neighbours",
    "factorization": "models.factors.factorization:Factorization",
    "ncf": "models.factors.ncf:NCF",
    "ensemble": "models.blend.ensemble:Ensemble",
    "popularity": "models.counting.popularity:Popularity",
    "repeat": "models.counting.repeat:Repeat",
    "cooccurrence": "models.counting.cooccurrence:Cooccurrence",
}
MODEL_NAMES = tuple(_MODULES)
READS_ITEMS = ("hybrid",)
"""Models that read the catalogue, and score the items without an event by their category, brand and price."""


def checked_name(name: str) -> str:
    """Return the name if a model has it.

    Raises:
        ModelError: a name that is not in MODEL_NAMES.
    """
    if name not in _MODULES:
        raise ModelError(f"no such model: {name!r}; there are {', '.join(MODEL_NAMES)}")
    return name


def _class_of(name: str) -> type[Recommender]:
    module, _, class_name = _MODULES[checked_name(name)].partition(":")
    model_class: type[Recommender] = getattr(import_module(module), class_name)
    return model_class


def create(name: str = "attention", options: TrainingOptions | None = None) -> Recommender:
    """Make an untrained model by its name.

    Raises:
        ModelError: a name that is not in MODEL_NAMES.
    """
    return _class_of(name)(options)


def check_members(name: str, options: TrainingOptions) -> None:
    """Refuse an ensemble whose members are no models, stand there twice, or are ensembles.

    Raises:
        ModelError: the message names the member.
    """
    members = options.members.split("+") if name == "ensemble" else []
    for member in members:
        if member not in MODEL_NAMES or member == name or members.count(member) > 1:
            others = "+".join(other for other in MODEL_NAMES if other != name)
            raise ModelError(
                f"members cannot be {options.members!r}: {member!r} is no model, stands there twice, or is "
                f"an ensemble itself; choose different ones of {others}"
            )


def load(directory: Path) -> Recommender:
    """Read the model that `save` wrote.

    Raises:
        ModelError: a folder without a model, or a model in another format than this version reads.
        DamagedModelError: files that are missing, have changed since they were saved, cannot be read, or do
            not fit each other. Models of older releases have no manifest, so a change of their files is only
            found if the files no longer fit each other.
    """
    name, options = read_description(directory)
    model = create(name, TrainingOptions.from_dict(options))
    model.read(directory)
    return model
