"""The networks that fine-tuning starts from."""

import dataclasses
import typing
from collections.abc import Callable

import keras

from keras_moe.models import Classifier, HydraNet, MoEModel, SingleGatedMoE, backbones
from keras_moe.types import Array, Path

SIZES = {"efficientnet_lite0": 224, "efficientnet_lite1": 240, "efficientnet_lite2": 260}
"""The backbones with ImageNet weights, and the sides of the images that they were trained on."""

Config = dict[str, typing.Any]


@dataclasses.dataclass(frozen=True)
class Start:
    """What fine-tuning starts from, with a head for the new classes and logits as its output.

    Args:
        name: str, in words.
        license: str, of its weights.
        dense: the dense network, a ``HydraNet`` of one branch that learns first; None where there is a mixture already.
        make_mixture: makes the mixture, of random weights where ``dense`` is there to be copied into it.
        frozen: name of the layer whose output is cached.
    """

    name: str
    license: str
    dense: HydraNet | None
    make_mixture: Callable[[], MoEModel]
    frozen: str


def start_from(start: Path | MoEModel, classes: int, size: int | None, num_experts: int) -> Start:
    """What ``start`` names, for ``classes`` classes.

    Args:
        start: one of ``SIZES``; the name of a published classifier, or the folder of one; or a ``HydraNet``,
            ``SingleGatedMoE`` or ``Classifier``, which is left as it is.
        classes: int.
        size: int, sides of the images; None: those that the network has.
        num_experts: int, where a mixture is grown.

    Raises:
        ValueError: an unknown name, a model that does not classify, or one that a configuration cannot rebuild.
    """
    if isinstance(start, str) and start in SIZES:
        side = size or SIZES[start]
        config = {"input_shape": (side, side, 3), "backbone": start, "alpha": 1.0}
        dense = _dense(config, classes, "imagenet")
        return Start(f"ImageNet's {start}", "Apache-2.0", dense, _hydranet(config, classes, num_experts), "stem")
    model, name, license = (start, start.name, "") if isinstance(start, MoEModel) else _published(start)
    if not isinstance(model, (HydraNet, SingleGatedMoE, Classifier)) or "backbone" not in model.get_config():
        raise ValueError(
            "finetune: expected START to be a HydraNet, SingleGatedMoE or Classifier with a named backbone. Received: "
            f"{type(model).__name__} {model.name!r}. Of a network of your own make a mixture with "
            "keras_moe.models.upcycle, and train it with run_stages."
        )
    return _of_model(model, name, license, classes, size, num_experts)


def rebuilt(model: MoEModel, **changes: typing.Any) -> MoEModel:
    """A copy of ``model`` with other arguments; layers of the head keep their weights where these still fit."""
    config = {k: v for k, v in model.get_config().items() if k not in ("settings", "name")}
    copy: MoEModel = type(model)(**{**config, **changes})
    for source, target in zip(model.weights, copy.weights, strict=True):
        if source.shape == target.shape:
            target.assign(source)
        elif "predictions" not in target.path:
            raise ValueError(f"finetune: {target.path} has the shape {tuple(target.shape)}, not {tuple(source.shape)}")
    return copy


def grow_from_dense(model: MoEModel, source: MoEModel) -> None:
    """Gives every copy of a stage in ``model`` what the dense network ``source`` of that backbone has there."""
    backbones.assign_dense(model, _dense_values(source.layers), source.name)


def _published(start: Path) -> tuple[MoEModel, str, str]:
    from keras_moe import zoo

    card = zoo.card(str(start))
    if card.task != "classification":
        raise ValueError(f"finetune: expected a model that classifies. Received: {card.name}, for {card.task}")
    return zoo.load(str(start)), card.name, card.license


def _of_model(model: MoEModel, name: str, license: str, classes: int, size: int | None, num_experts: int) -> Start:
    config = model.get_config()
    shape = (size, size, config["input_shape"][2]) if size else tuple(config["input_shape"])
    if isinstance(model, HydraNet) and len(model.bank.experts) > 1:
        ready = rebuilt(model, classes=classes, input_shape=shape, classifier_activation=None)
        return Start(name, license, None, lambda: ready, "stem")
    own = {"input_shape": shape, "backbone": config["backbone"], "alpha": config["alpha"]}
    dense = _dense(own, classes, None, config.get("split_at"))
    layers = model.parts["base"] if isinstance(model, SingleGatedMoE) else model.layers
    backbones.assign_dense(dense, _dense_values(layers), name)
    if not isinstance(model, SingleGatedMoE):
        return Start(name, license, dense, _hydranet(own, classes, num_experts), "stem")
    kept = {k: config[k] for k in ("num_experts", "top_k", "split_at", "rule", "gate_units")}

    def make_mixture() -> MoEModel:
        return SingleGatedMoE(**own, **kept, classes=classes, classifier_activation=None)

    return Start(name, license, dense, make_mixture, "trunk")


def _dense(config: Config, classes: int, weights: str | None, split_at: int | None = None) -> HydraNet:
    split_at = _split_at(config["backbone"]) if split_at is None else split_at
    return HydraNet(
        **config, split_at=split_at, num_experts=1, top_k=1, gate_filters=0, classes=classes,
        classifier_activation=None, weights=weights, name="dense",
    )  # fmt: skip


def _hydranet(config: Config, classes: int, num_experts: int) -> Callable[[], MoEModel]:
    experts = min(num_experts, classes)

    def make_mixture() -> MoEModel:
        return HydraNet(
            **config, split_at=_split_at(config["backbone"]), num_experts=experts, top_k=min(2, experts),
            branch_blocks=1 if _is_deep(config["backbone"]) else None, classes=classes, classifier_activation=None,
        )  # fmt: skip

    return make_mixture


def _is_deep(backbone: str) -> bool:
    """Whether stages have many blocks with skip connections, without which a branch computes nearly the same."""
    return backbone.startswith("efficientnet")


def _split_at(backbone: str) -> int | None:
    """Stages before the experts: of EfficientNet four of seven, 41 % of the MACs."""
    return 4 if _is_deep(backbone) else None


def _dense_values(layers: list[keras.Layer]) -> dict[str | None, Array]:
    named = {backbones.dense_name(v.path): v for layer in layers for v in layer.weights}
    return {name: keras.ops.convert_to_numpy(v) for name, v in named.items() if name}
