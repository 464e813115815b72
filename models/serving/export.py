"""Export a trained model for the registry: a LiteRT graph, JSON files and the code that reads them."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types.schema import AnyType, Array, ColSpec, DataType, ParamSchema, ParamSpec, Schema

from data_contracts.features import context_features
from models import checkout_model
from models.recommender import Recommender
from models.scorer import SessionScorer
from models.stored import write_manifest

CONTEXT = context_features("session") + context_features("event")
CODE = Path(__file__).with_name("checkout_recommender.py")


def export_artifact(model: Recommender, directory: Path, *, exclude_seen: bool = False) -> dict[str, str]:
    """Write the files that the pyfunc reads into the folder; return the paths by artifact name.

    Args:
        model: the trained model.
        directory: the folder.
        exclude_seen: whether the version is judged by lists without the session's own items.

    Raises:
        ModelError: a model that cannot be served, or is not trained.
    """
    scorer, light = model.scorer(), directory / "light"
    light.mkdir(parents=True, exist_ok=True)
    (light / checkout_model.MODEL).write_bytes(as_litert(scorer))
    model.vocabulary.save(light / checkout_model.ITEMS)
    inputs = {
        "max_length": scorer.max_length,
        "session": scorer.session_features.content,
        "event": scorer.event_features.content,
        "alone": scorer.alone,
        "exclude_seen": exclude_seen,
    }
    (light / checkout_model.INPUTS).write_text(json.dumps(inputs), encoding="utf-8")
    code = Path(checkout_model.__file__).parent
    (light / code.name).mkdir(exist_ok=True)
    for file in code.glob("*.py"):
        (light / code.name / file.name).write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
    write_manifest(light)
    return {"light": str(light)}


def as_litert(scorer: SessionScorer) -> bytes:
    """Return a scorer's graph as a LiteRT model of LiteRT's own operations alone.

    It scores any number of sessions, or one session if the scorer says so; see `SessionScorer`.
    """
    from models.tensorflow_import import tf  # here: to read this module's other names must stay light

    length, sessions = scorer.max_length, None if scorer.takes_several else 1
    graph = tf.function(scorer.compute, autograph=False).get_concrete_function(
        prefixes=tf.TensorSpec((sessions, length), tf.int32, name="prefixes"),
        **scorer.input_specs(sessions, length),
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions([graph], scorer)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    return bytes(converter.convert())


def requirements() -> list[str]:
    """Return the packages that the packed model needs, pinned to the versions installed here."""
    return [f"{name}=={version(name)}" for name in ("ai-edge-litert", "mlflow-skinny", "numpy", "pandas")]


def signature(*, exclude_seen: bool = False) -> ModelSignature:
    """Return the MLflow signature of the packed model: its columns and its params.

    The signature is the same for every model, so that a service need not change with the model. Context
    columns may be missing and may have gaps. MLflow allows gaps only in columns of any type.

    Args:
        exclude_seen: the default of the param `exclude_seen`.
    """
    return ModelSignature(
        inputs=Schema(
            [
                ColSpec(AnyType(), "items"),
                ColSpec(AnyType(), "cart", required=False),
                ColSpec(AnyType(), "exclude", required=False),
                *(ColSpec(AnyType(), feature.name, required=False) for feature in CONTEXT),
            ]
        ),
        outputs=Schema(
            [
                ColSpec(Array(DataType.string), "items"),
                ColSpec(Array(DataType.double), "scores"),
                ColSpec(DataType.string, "name", required=False),
                ColSpec(DataType.string, "version", required=False),
            ]
        ),
        params=ParamSchema(
            [
                ParamSpec("k", DataType.long, 20),
                ParamSpec("exclude_seen", DataType.boolean, exclude_seen),
                ParamSpec("exclude_cart", DataType.boolean, False),
                ParamSpec("exclude", DataType.string, [], shape=(-1,)),
                ParamSpec("with_version", DataType.boolean, False),
            ]
        ),
    )


def package(model: Recommender, directory: Path, *, exclude_seen: bool = False) -> dict[str, Any]:
    """Return the keyword arguments for mlflow.pyfunc.log_model or save_model.

    Example: mlflow.pyfunc.log_model(name="model", **package(model, folder), registered_model_name=...)

    Args:
        model: the trained model.
        directory: the folder for the files; it is needed until the model is logged.
        exclude_seen: whether lists leave out the session's own items if a service does not say.
    """
    artifacts = export_artifact(model, directory, exclude_seen=exclude_seen)
    code = directory / CODE.name
    code.write_text(CODE.read_text(encoding="utf-8"), encoding="utf-8")  # MLflow would keep the file's mode
    few = [str(model.vocabulary.ids[index]) for index in model.vocabulary.popular(2)]
    return {
        "python_model": str(code),
        "artifacts": artifacts,
        "signature": signature(exclude_seen=exclude_seen),
        "input_example": pd.DataFrame({"items": [few, few[:1]]}),
        "pip_requirements": requirements(),
        "metadata": {"model": model.name, "items": len(model.vocabulary)},
    }
