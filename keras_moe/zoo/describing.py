"""What a card says of a model's architecture: its class, arguments and settings, from which it can be made anew."""

from __future__ import annotations

import concurrent.futures
import inspect
import math
import typing

import numpy as np

from keras_moe.zoo.model_card import WEIGHTS, Card, Setting

if typing.TYPE_CHECKING:
    from keras_moe.models import MoEModel

_OWN_NETWORKS = ("classifier", "network")
_SYSTEMS = {
    "ClassSR": "classsr",
    "HydraNet": "hydranet",
    "Patcher": "patcher",
    "SegmentationMoE": "segmentation_moe",
    "SingleGatedMoE": "single_gated",
}
_NOT_RECORDED = ("name", "weights", "include_top", "settings")
_FLAGS = ("frozen", "flipped")  # which weights learn is of a training, not of a model
_AS_ARGUMENT = {"k": "top_k", "noise_std": "noise_std"}  # attributes of the TopKGate that models have as arguments


def describe(model: MoEModel, classifier_activation: str | None = "same") -> dict[str, typing.Any]:
    """Fields of a card: ``model``, ``system``, ``task``, ``config`` and ``settings``; and the ``range`` of its input.

    Raises:
        ValueError: a model that cannot be made anew from name and arguments.
    """
    from keras_moe import models

    kind = type(model).__name__
    if getattr(models, kind, None) is not type(model):
        raise _refusal(model, f"{kind} is no class of keras_moe.models")
    try:
        config = model.get_config()
    except ValueError as error:
        raise _refusal(model, str(error)) from error
    for network in _OWN_NETWORKS:
        if network in config:
            raise _refusal(model, f"it was made from a {network} of your own, which a card cannot describe")
    if config.get("include_top", True) is not True:
        raise _refusal(model, "it has no head (include_top=False)")
    if None in config["input_shape"]:
        raise _refusal(model, f"its input has no fixed size: {config['input_shape']}")
    changes = config.get("settings", {})
    config |= _take_arguments(changes, config)
    if classifier_activation != "same":
        config["classifier_activation"] = classifier_activation
    plain = {key: _tuples(value) for key, value in config.items() if key not in _NOT_RECORDED}
    described = {
        "model": kind,
        "system": _SYSTEMS[kind] if model.gate else "dense",
        "task": _task(model),
        "config": _without_defaults(model, plain),
        "settings": _settings(model, changes),
        "range": "[0, 255]" if config.get("include_preprocessing", True) else "[-1, 1]",
    }
    _check_rebuilt(model, described)
    return described


def skeleton(model: str, config: dict[str, typing.Any]) -> dict[str, tuple[int, ...]]:
    """Path -> shape of the weights of a model made from name and arguments, without the memory for them."""
    import keras

    from keras_moe import models

    def build() -> dict[str, tuple[int, ...]]:
        with keras.StatelessScope(initialize_variables=False):
            made = getattr(models, model)(**config)
            return {weight.path: tuple(weight.shape) for weight in made.weights}

    # A thread of its own: Keras keeps names and variables without values per thread.
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        return thread.submit(build).result()


def check_buildable(card: Card, label: str) -> None:
    """Raises ValueError unless the model of a stranger's card can be made and is as large as its card and file say.

    Nothing of the model's size is allocated.
    """
    own = {"classes": len(card.classes)} if card.classes else {}
    try:
        shapes = skeleton(card.model, {**card.config, **own})
    except Exception as error:  # arguments of any kind can fail in any way
        raise ValueError(f"{label}: no {card.model} can be made from the card's config: {error}") from error
    size = sum(map(math.prod, shapes.values()))
    if size != card.params or 2 * size > card.file(WEIGHTS).size:
        raise ValueError(
            f"{label}: the card's config makes a {card.model} of {size:,} parameters. Expected {card.params:,}, as the "
            f"card says, and at least 2 bytes for each in {WEIGHTS}"
        )


def _check_rebuilt(model: MoEModel, described: dict[str, typing.Any]) -> None:
    from keras import ops

    for weight in model.weights:
        if not np.all(np.isfinite(ops.convert_to_numpy(ops.cast(weight, "float32")))):
            raise ValueError(f"{weight.path} has values that are not finite. Expected the weights of a sound model.")
    own = {weight.path: tuple(weight.shape) for weight in model.weights}
    config = {"classes": model.output_shape[-1]} if described["task"] != "super-resolution" else {}
    if skeleton(described["model"], {**config, **described["config"]}) != own:
        raise _refusal(model, "its class makes other weights from these arguments")


def _task(model: MoEModel) -> str:
    if model.answers == "image":
        return "super-resolution"
    return "classification" if len(model.output_shape) == 2 else "segmentation"


def _take_arguments(changes: dict[str, typing.Any], config: dict[str, typing.Any]) -> dict[str, typing.Any]:
    """Takes out of ``changes`` those of the only gate that are arguments of the model, and returns them."""
    gates = [key for key in changes if key.endswith(" TopKGate")]
    if len(gates) != 1:
        return {}
    gate = changes[gates[0]]
    return {_AS_ARGUMENT[key]: gate.pop(key) for key in list(gate) if _AS_ARGUMENT.get(key) in config}


def _settings(model: MoEModel, changes: dict[str, typing.Any]) -> tuple[Setting, ...]:
    settings = []
    for layer, attributes in changes.items():
        for attribute, value in attributes.items():
            if attribute in _FLAGS:
                continue
            if attribute == "lora" or attribute == "dtype" or not isinstance(value, (bool, int, float, str)):
                raise _refusal(model, f"its layer {layer!r} has another {attribute!r} than it was made with")
            settings.append(Setting(layer, attribute, value))
    return tuple(settings)


def _without_defaults(model: MoEModel, config: dict[str, typing.Any]) -> dict[str, typing.Any]:
    """The arguments that differ from the class's defaults, None as the word for it; ``input_shape`` is always one."""
    defaults = {name: p.default for name, p in inspect.signature(type(model)).parameters.items()}
    defaults["dtype"] = "float32"
    if config.get("classifier_activation", "") is None:
        config = {**config, "classifier_activation": "linear"}
    own = {k: v for k, v in config.items() if k == "input_shape" or v != defaults[k]}
    for key, value in own.items():
        if value is None or (key == "dtype" and not isinstance(value, str)):
            raise _refusal(model, f"a card cannot hold {key}={value!r}")
    return own


def _tuples(value: typing.Any) -> typing.Any:
    """Lists as tuples, as a card that is read has them."""
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, (list, tuple)) else value


def _refusal(model: MoEModel, why: str) -> ValueError:
    return ValueError(
        f"{model.name!r} cannot be saved as a model folder: {why}. Keep it whole by `model.save('x.keras')`."
    )
