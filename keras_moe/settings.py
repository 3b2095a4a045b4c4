"""Settings of layers changed after construction: trainable flags, dtypes, quantization, LoRA, rates, activations.

A model's configuration holds the arguments of its constructor. Beside them it keeps what has changed since, per inner
layer and as plain data, so that a model made from it is set as this one is.
"""

import collections.abc
import dataclasses
import typing

import keras
from keras import tree

from keras_moe.layer_state import copy_weights, held, inner_layers, own_variables
from keras_moe.older_names import of_today
from keras_moe.sparing_tensorflow import spare_tensorflow

spare_tensorflow()  # before a layer is described

Config: typing.TypeAlias = dict[str, typing.Any]  # name of a setting -> plain data
Changes: typing.TypeAlias = dict[str, Config]  # key of an inner layer -> its settings

QUANTIZATIONS = ("int8", "int4", "float8")


class LayerSettings:
    """A record of the present settings of the layers inside ``layer``, for a later comparison."""

    def __init__(self, layer: keras.Layer) -> None:
        self._before = _described(layer)

    @property
    def frozen(self) -> bool:
        """Whether a layer was frozen then."""
        return _any_frozen(self._before)

    def changes(self, layer: keras.Layer, aside: tuple[keras.Layer, str] | None = None) -> Changes:
        """The settings that differ now, as plain data for ``apply``: dict, key of an inner layer -> dict of settings.

        Args:
            layer: as it was given, changed since.
            aside: None, or ``(inner layer, setting)`` to leave out.

        Raises:
            ValueError: a change that cannot be made again on a newly constructed layer; it names the layer.
        """
        now = _described(layer)
        for old, new in zip(self._before, now, strict=False):
            if old.layer is not new.layer and not _alike(old.layer, new.layer):
                raise ValueError(_refusal(layer, old.path, f"is now {type(new.layer).__name__} {new.layer.name!r}"))
        if len(now) != len(self._before):
            raise ValueError(_refusal(layer, "", f"had {len(self._before)} layers and has {len(now)}"))
        changed = _differences(self._before, now)
        for new in now:
            change = changed.get(new.key, {})
            if aside is not None and new.layer is aside[0]:
                change.pop(aside[1], None)
            _check(layer, new, change)
        plain: Changes = serialized({key: change for key, change in changed.items() if change})
        return plain


def apply(layer: keras.Layer, changes: Changes) -> None:
    """Sets the layers inside ``layer``, newly made, as ``changes`` of ``LayerSettings`` says. It must be built.

    Raises:
        ValueError: ``changes`` names a layer that there is not.
    """
    described = _described(layer)
    changes = _under_names_of_today(described, changes)
    unknown = sorted(changes.keys() - {each.key for each in described})
    if unknown:
        raise ValueError(f"{layer.name!r} has no layers {unknown}, for which its configuration has settings.")
    for each in described:
        _set(each.layer, changes.get(each.key, {}))
    # A layer's flag is also set on all inside it, so that each is said again, the outer ones first.
    for each in described:
        each.layer.trainable = _FROZEN not in changes.get(each.key, {})
    for each in described:
        flipped = changes.get(each.key, {}).get(_FLIPPED, ())
        for variable in own_variables(each.layer):
            if variable.name in flipped:
                variable.trainable = not each.layer.trainable


def apply_plain(layer: keras.Layer, changes: Changes) -> None:
    """``apply`` of a stranger's ``changes``: only those that give an attribute another plain value of its kind.

    Raises:
        ValueError: any other; ``layer`` is unchanged.
    """
    described = _described(layer)
    configs, changes = {each.key: _config(each.layer) for each in described}, _under_names_of_today(described, changes)
    for key, change in changes.items():
        for attribute, value in change.items():
            config = configs.get(key, {})
            if attribute in _METHODS or attribute not in config or not _is_like(config[attribute], value):
                raise ValueError(f"Layer {key!r} has no {attribute!r} that could be {value!r}.")
    apply(layer, changes)


def serialized(value: typing.Any) -> typing.Any:
    """A layer, or a structure of plain data and objects of Keras, as plain data that says the same in any process."""
    return _without_ids(keras.saving.serialize_keras_object(value))


def copy_state(source: keras.Layer, target: keras.Layer, but: collections.abc.Sequence[str] = ()) -> None:
    """Gives ``target``, built from the configuration of ``source``, the present settings and weights of ``source``.

    Args:
        source, target: layers or models.
        but: names of settings that ``target`` keeps, such as ``("dtype",)``.
    """
    before = _described(target)
    differences = _differences(before, _described(source))
    changes = {key: {name: change[name] for name in change.keys() - set(but)} for key, change in differences.items()}
    if any(changes.values()) or _any_frozen(before):
        apply(target, changes)
    copy_weights(source, target)


_FROZEN, _FLIPPED, _LORA = "frozen", "flipped", "lora"  # variables whose own flag is not their layer's; rank and alpha
# Said even if nothing changed. Keras itself loses them on the way: a functional model is thawed by its configuration,
# ``Dense`` forgets LoRA's alpha, and no layer tells of single variables.
_ALWAYS = (_FROZEN, _FLIPPED, _LORA)
_METHODS = ("dtype", "quantization_config", *_ALWAYS)  # all others are attributes


@dataclasses.dataclass(frozen=True)
class _Described:
    """A layer inside another: its place, of which the names need not be those of the next process, and its settings."""

    layer: keras.layers.Layer
    key: str
    path: str
    plain: Config


def _described(root: keras.Layer) -> list[_Described]:
    paths, described = {id(root): ""}, []
    for i, layer in enumerate(inner_layers(root)):
        path = paths[id(layer)]
        described.append(_Described(layer, f"{i} {type(layer).__name__}", path, _plain(layer)))
        for inner in held(layer):
            paths.setdefault(id(inner), f"{path}/{inner.name}".lstrip("/"))
    return described


def _under_names_of_today(described: collections.abc.Iterable[_Described], changes: Changes) -> Changes:
    """``changes`` as older files may hold them, under the names of today."""
    kinds = {each.key: type(each.layer) for each in described}
    return {key: of_today(kinds.get(key, object), change) for key, change in changes.items()}


def _is_like(current: object, value: object) -> bool:
    """Whether a plain value can replace a layer's current value, which may be None."""
    return current is None or type(value) is type(current) or {type(current), type(value)} == {int, float}


def _any_frozen(described: collections.abc.Iterable[_Described]) -> bool:
    return any(_FROZEN in each.plain for each in described)


def _differences(before: collections.abc.Iterable[_Described], now: collections.abc.Iterable[_Described]) -> Changes:
    """Dict, key of a layer -> what its settings are in ``now``, as far as they differ from those in ``before``."""
    differences = {}
    for old, new in zip(before, now, strict=True):
        changed = {key: value for key, value in new.plain.items() if key in _ALWAYS or value != old.plain.get(key)}
        if changed:
            differences[old.key] = changed
    return differences


def _plain(layer: keras.Layer) -> Config:
    plain = {} if isinstance(layer, keras.Model) else _config(layer)
    plain = _without_ids({**plain, "dtype": keras.dtype_policies.serialize(layer.dtype_policy)})
    if not layer.trainable:
        plain[_FROZEN] = True
    if getattr(layer, "lora_enabled", False):
        plain[_LORA] = [layer.lora_rank, layer.lora_alpha]
    flipped = [v.name for v in layer._trainable_variables if v.trainable != layer.trainable]
    return {**plain, _FLIPPED: flipped} if flipped else plain


def _config(layer: keras.Layer) -> Config:
    """The layer's configuration but for its name and the layers inside it."""
    return {
        key: value
        for key, value in layer.get_config().items()
        if key not in ("name", "trainable", "lora_rank", "lora_alpha")
        and not any(isinstance(x, keras.Layer) for x in tree.flatten(getattr(layer, key, None)))
    }


def _without_ids(config: typing.Any) -> typing.Any:
    """A configuration without the addresses of its objects, which Keras adds while it saves and loads a file."""
    if isinstance(config, dict):
        return {key: _without_ids(value) for key, value in config.items() if key != "shared_object_id"}
    return [_without_ids(value) for value in config] if isinstance(config, (list, tuple)) else config


def _set(layer: keras.Layer, change: Config) -> None:
    if "dtype" in change:
        policy = keras.dtype_policies.get(change["dtype"])
        if policy.quantization_mode and not layer.quantization_mode:
            config = keras.saving.deserialize_keras_object(change.get("quantization_config"))
            layer.quantize(policy.quantization_mode, config=config)
        layer.dtype_policy = policy
    if _LORA in change:
        rank, alpha = change[_LORA]
        if not layer.lora_enabled:
            layer.enable_lora(rank, lora_alpha=alpha)
        layer.lora_alpha = alpha
    attributes = {key: value for key, value in change.items() if key not in _METHODS}
    if attributes:
        changed = type(layer).from_config({**layer.get_config(), **attributes})
        for key in attributes:
            setattr(layer, key, getattr(changed, key))


def _check(model: keras.Layer, described: _Described, change: Config) -> None:
    layer, mode = described.layer, described.layer.quantization_mode
    if "dtype" in change and mode not in (None, *QUANTIZATIONS):
        raise ValueError(_refusal(model, described.path, f"is quantized to {mode!r}, not one of {QUANTIZATIONS}"))
    for key in change.keys() - set(_METHODS):
        attribute = getattr(type(layer), key, None)
        if not hasattr(layer, key) or (isinstance(attribute, property) and attribute.fset is None):
            raise ValueError(_refusal(model, described.path, f"has another {key!r} than it was made with"))


def _alike(one: keras.Layer, other: keras.Layer) -> bool:
    """Whether two layers compute the same from the same weights, as far as their configurations tell."""
    return type(one) is type(other) and _nameless(one) == _nameless(other)


def _nameless(layer: keras.Layer) -> typing.Any:
    names = {inner.name: i for i, inner in enumerate(inner_layers(layer))}
    config = serialized(layer)
    return tree.map_structure(lambda value: names.get(value, value) if isinstance(value, str) else value, config)


def _refusal(model: keras.Layer, path: str, what: str) -> str:
    return (
        f"{type(model).__name__} {model.name!r} cannot be described by its configuration: "
        f"{f'its layer {path!r}' if path else 'it'} {what}. Expected the layers that its constructor makes. Keep its "
        "weights alone, by `keras_moe.weights.save_weights`, and the code that makes this change; or give a network of "
        "your own as `backbone`."
    )
