"""The architecture of a model in a card: its class, arguments and settings, from which it can be rebuilt."""

from __future__ import annotations

import inspect
import typing

import numpy as np

from keras_moe.zoo.architecture import Config, skeleton
from keras_moe.zoo.model_card import Setting, model_arguments, source_of

if typing.TYPE_CHECKING:
    from keras_moe.models import MoEModel

_NOT_RECORDED = ("name", "weights", "include_top", "settings")
_FLAGS = ("frozen", "flipped")  # which weights learn is of a training, not of a model
_AS_ARGUMENT = ("top_k", "noise_std")  # attributes of the TopKGate that models have as arguments


def describe(model: MoEModel, classifier_activation: str | None = "same") -> Config:
    """Fields of a card: ``model``, ``system``, ``task``, ``config`` and ``settings``; and the ``range`` of its input.

    Raises:
        ValueError: a model that cannot be made anew from name and arguments.
    """
    from keras_moe import models

    kind = type(model).__name__
    if getattr(models, kind, None) is not type(model) or not model_arguments(kind):
        raise _refusal(model, f"{kind} is no class of keras_moe.models that makes it from arguments")
    config = model.get_config()
    if config.get("include_top", True) is not True:
        raise _refusal(model, "it has no head (include_top=False)")
    if None in model.input_shape[1:]:
        raise _refusal(model, f"its input has no fixed size: {model.input_shape[1:]}")
    changes, source = config.pop("settings", {}), source_of(config)
    config |= _take_arguments(changes, config)
    if classifier_activation != "same":
        config["classifier_activation"] = classifier_activation
    if source is not None:
        config[source] = _network(model, source, config[source])
    described = {
        "model": kind,
        "system": model.system if model.gate else "dense",
        "task": _task(model),
        "config": _plain(model, kind, config),
        "settings": _settings(model, changes),
        "range": "[0, 255]" if _takes_pixels(config) else "[-1, 1]",
    }
    _check_rebuilt(model, described)
    return described


def _check_rebuilt(model: MoEModel, described: Config) -> None:
    from keras import ops

    for weight in model.weights:
        if not np.all(np.isfinite(ops.convert_to_numpy(ops.cast(weight, "float32")))):
            raise ValueError(f"{weight.path} has values that are not finite. Expected the weights of a sound model.")
    shapes = {weight.path: tuple(weight.shape) for weight in model.weights}
    if skeleton(described["model"], described["config"]) != shapes:
        raise _refusal(model, "its class makes other weights from these arguments")


def _network(model: MoEModel, source: str, serialized: Config) -> Config:
    """The table of a model of this package that another was made from."""
    from keras_moe import models

    package, _, kind = str(serialized.get("registered_name")).partition(">")
    config = serialized["config"]
    if package != "keras_moe" or not hasattr(models, kind) or source_of(config) or config.get("include_top") is False:
        raise _refusal(model, f"it was made from a {source} of your own, which a card cannot describe")
    if _settings(model, config.get("settings", {})):
        raise _refusal(model, f"the {source} that it was made from had layers set after they were made")
    return {"model": kind, **_plain(model, kind, config)}


def _takes_pixels(config: Config) -> bool:
    source = source_of(config)
    return config.get("include_preprocessing", True) is True if source is None else _takes_pixels(config[source])


def _task(model: MoEModel) -> str:
    if model.output_kind == "image":
        return "super-resolution"
    return "classification" if len(model.output_shape) == 2 else "segmentation"


def _take_arguments(changes: Config, config: Config) -> Config:
    """Takes out of ``changes`` those of the only gate that are arguments of the model, and returns them."""
    gates = [key for key in changes if key.endswith(" TopKGate")]
    if len(gates) != 1:
        return {}
    gate = changes[gates[0]]
    return {key: gate.pop(key) for key in _AS_ARGUMENT if key in gate and key in config}


def _settings(model: MoEModel, changes: Config) -> tuple[Setting, ...]:
    settings = []
    for layer, attributes in changes.items():
        for attribute, value in attributes.items():
            if attribute in _FLAGS:
                continue
            if attribute == "lora" or attribute == "dtype" or not isinstance(value, (bool, int, float, str)):
                raise _refusal(model, f"its layer {layer!r} has another {attribute!r} than it was made with")
            settings.append(Setting(layer, attribute, value))
    return tuple(settings)


def _plain(model: MoEModel, kind: str, config: Config) -> Config:
    """The arguments that differ from the defaults, None as a word; ``input_shape`` is always included."""
    from keras_moe import models

    source, cls = source_of(config), getattr(models, kind)
    signature = inspect.signature(cls if source is None else getattr(cls, f"from_{source}"))
    defaults = {name: parameter.default for name, parameter in signature.parameters.items()} | {"dtype": "float32"}
    if config.get("classifier_activation", "") is None:
        config = {**config, "classifier_activation": "linear"}
    recorded = {key: _tuples(value) for key, value in config.items() if key not in _NOT_RECORDED}
    recorded = {key: value for key, value in recorded.items() if key == "input_shape" or value != defaults[key]}
    for key, value in recorded.items():
        if value is None or (key == "dtype" and not isinstance(value, str)):
            raise _refusal(model, f"a card cannot hold {key}={value!r}")
    return recorded


def _tuples(value: typing.Any) -> typing.Any:
    """Lists as tuples, as a card that is read has them."""
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, (list, tuple)) else value


def _refusal(model: MoEModel, why: str) -> ValueError:
    name = getattr(model, "name", model)
    return ValueError(f"{name!r} cannot be saved as a model folder: {why}. Keep it whole by `model.save('x.keras')`.")
