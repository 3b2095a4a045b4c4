"""The networks that fine-tuning starts from."""

import dataclasses
import typing
from collections.abc import Callable

import numpy as np

from keras_moe.models import Classifier, HydraNet, MoEModel, SingleGatedMoE
from keras_moe.models.growth import assign_dense, dense_values
from keras_moe.types import Path

SIZES = {"efficientnet_lite0": 224, "efficientnet_lite1": 240, "efficientnet_lite2": 260}
"""The backbones with ImageNet weights, and the sides of the images that they were trained on."""

_BLOCKS = 2  # in each stage of a branch of a deep backbone, at most
# Of the seven stages of a deep backbone, those before the experts: 41 and 63 % of EfficientNet's multiply-accumulates.
# What has learned a task already forgets some of it in the stages that lose blocks: fewer of them do.
_IMAGENET, _LEARNED = 4, 5
Config = dict[str, typing.Any]


@dataclasses.dataclass(frozen=True)
class Start:
    """What fine-tuning starts from, with a head for the new classes and logits as its output.

    Args:
        name: str, in words.
        license: str, of its weights.
        dense: the dense network, a ``HydraNet`` of one branch that learns first, teaches the mixture and is compared
            with it; None where there is none.
        make_mixture: makes the mixture.
        frozen: name of the layer whose output is cached.
        make_thin: makes a network of one branch like those of the mixture; None where ``dense`` is that.
        mixture: without ``dense``, a mixture of such branches that knows other classes, whose mean the thin network
            starts as; or None.
    """

    name: str
    license: str
    dense: HydraNet | None
    make_mixture: Callable[[], MoEModel]
    frozen: str = "stem"
    make_thin: Callable[[], HydraNet] | None = None
    mixture: MoEModel | None = None


def start_from(start: Path | MoEModel, classes: int, size: int | None, num_experts: int) -> Start:
    """What ``start`` names, for ``classes`` classes.

    Args:
        start: one of ``SIZES``; the name of a published classifier, or the folder of one; or a ``HydraNet``,
            ``SingleGatedMoE`` or ``Classifier``, which is left as it is.
        classes: int.
        size: int, sides of the images; None: those that the network has.
        num_experts: int, where a mixture is grown from a dense network.

    Raises:
        ValueError: an unknown name, a model that does not classify, or one that a configuration cannot rebuild.
    """
    if isinstance(start, str) and start in SIZES:
        side = size or SIZES[start]
        config = {"input_shape": (side, side, 3), "backbone": start, "alpha": 1.0}
        return _grown(
            f"ImageNet's {start}",
            "Apache-2.0",
            _dense(config, classes, _split_at(start, _IMAGENET), "imagenet"),
            config,
            num_experts,
        )
    model, name, license, baseline = (start, start.name, "", "") if isinstance(start, MoEModel) else _published(start)
    check_model(model)
    if isinstance(model, HydraNet) and len(model.bank.experts) > 1:
        dense = _baseline_with_stem(model, baseline) if baseline else None
        if dense is None:
            return _of_mixture(model, name, license, classes, size)
        model = dense
    return _of_dense(model, name, license, classes, size, num_experts)


def check_model(model: MoEModel) -> None:
    """Raises ValueError for a model that no ``Start`` can be made of."""
    if not isinstance(model, (HydraNet, SingleGatedMoE, Classifier)) or "backbone" not in model.get_config():
        raise ValueError(
            "finetune: expected START to be a HydraNet, SingleGatedMoE or Classifier with a named backbone. Received: "
            f"{type(model).__name__} {model.name!r}. Of a network of your own make a mixture with "
            "keras_moe.models.upcycle, and train it with run_stages."
        )
    if model.get_config().get("base_size"):
        raise ValueError(
            f"finetune: expected START to be a network whose experts share a trunk. Received: {model.name!r}, whose "
            "base looks at fewer pixels; start from the dense network that its card names as its baseline."
        )


def rebuilt(model: MoEModel, **changes: typing.Any) -> MoEModel:
    """A copy of ``model`` with other arguments; layers of the head keep their weights where these still fit."""
    copy: MoEModel = type(model)(**{**_arguments(model), **changes})
    for source, target in zip(model.weights, copy.weights, strict=True):
        if source.shape == target.shape:
            target.assign(source.numpy())  # through NumPy: on JAX the two would share one buffer
        elif "predictions" not in target.path:
            raise ValueError(f"finetune: {target.path} has the shape {tuple(target.shape)}, not {tuple(source.shape)}")
    return copy


def _arguments(model: MoEModel) -> Config:
    """What ``model`` was made with, but for its name and what was set later."""
    return {k: v for k, v in model.get_config().items() if k not in ("settings", "name")}


def _published(start: Path) -> tuple[MoEModel, str, str, str]:
    """The model, and its name, license and baseline."""
    from keras_moe import zoo

    card = zoo.card(str(start))
    return zoo.load(str(start)), card.name, card.license, card.baseline


def _baseline_with_stem(model: HydraNet, baseline: str) -> Classifier | None:
    """The published classifier ``baseline``, whole, where its first stages are the stem of ``model``."""
    from keras_moe import zoo

    published = zoo.load(baseline)
    if not isinstance(published, Classifier) or published.get_config()["blocks"]:
        return None
    if _own_config(published, None) != _own_config(model, None):
        return None
    theirs, stem = dense_values(published.layers), dense_values([model.get_layer("stem")])
    same = all(np.allclose(values, theirs[name], 1e-2, 1e-4) for name, values in stem.items())  # one may be float16
    return published if same else None


def _of_mixture(model: HydraNet, name: str, license: str, classes: int, size: int | None) -> Start:
    input_shape = _own_config(model, size)["input_shape"]
    ready = rebuilt(model, classes=classes, input_shape=input_shape, classifier_activation=None)

    def make_thin() -> HydraNet:
        one_branch = {"num_experts": 1, "top_k": 1, "drop_below": 0.0, "gate_filters": 0}
        return HydraNet(**{**_arguments(ready), **one_branch})

    return Start(name, license, None, lambda: ready, make_thin=make_thin, mixture=ready)


def _own_config(model: MoEModel, size: int | None) -> Config:
    """The arguments that a network of the backbone of ``model`` has in common with it."""
    config = model.get_config()
    shape = (size, size, config["input_shape"][2]) if size else tuple(config["input_shape"])
    return {"input_shape": shape, "backbone": config["backbone"], "alpha": config["alpha"]}


def _of_dense(model: MoEModel, name: str, license: str, classes: int, size: int | None, num_experts: int) -> Start:
    config, own = model.get_config(), _own_config(model, size)
    split_at = config.get("split_at")
    dense = _dense(own, classes, _split_at(own["backbone"], _LEARNED) if split_at is None else split_at)
    layers = model.parts["base"] if isinstance(model, SingleGatedMoE) else model.layers
    assign_dense(dense, dense_values(layers), name)
    if not isinstance(model, SingleGatedMoE):
        return _grown(name, license, dense, own, num_experts)
    kept = {k: config[k] for k in ("num_experts", "top_k", "split_at", "rule", "gate_units")}

    def make_mixture() -> MoEModel:
        return SingleGatedMoE(**own, **kept, classes=classes, classifier_activation=None)

    return Start(name, license, dense, make_mixture, "trunk")


def _grown(name: str, license: str, dense: HydraNet, config: Config, num_experts: int) -> Start:
    """From a dense network to a ``HydraNet`` with its stem."""
    classes, deep = int(dense.output_shape[-1]), _is_deep(config["backbone"])
    split_at = dense.get_config()["split_at"]
    experts = min(num_experts, classes)

    def make_mixture() -> MoEModel:
        return HydraNet(
            **config, split_at=split_at, num_experts=experts, top_k=min(2, experts),
            branch_blocks=_BLOCKS if deep else None, classes=classes, classifier_activation=None,
        )  # fmt: skip

    def make_thin() -> HydraNet:
        return _dense(config, classes, split_at, branch_blocks=_BLOCKS)

    return Start(name, license, dense, make_mixture, make_thin=make_thin if deep else None)


def _dense(
    config: Config,
    classes: int,
    split_at: int | None,
    weights: str | None = None,
    branch_blocks: int | None = None,
) -> HydraNet:
    return HydraNet(
        **config, split_at=split_at, num_experts=1, top_k=1, branch_blocks=branch_blocks, gate_filters=0,
        classes=classes, classifier_activation=None, weights=weights, name="dense",
    )  # fmt: skip


def _is_deep(backbone: str) -> bool:
    """Whether stages have many blocks with skip connections, without which a branch computes nearly the same."""
    return backbone.startswith("efficientnet")


def _split_at(backbone: str, stages: int) -> int | None:
    """Stages before the experts: ``stages`` of a deep backbone, else the backbone's own number."""
    return stages if _is_deep(backbone) else None
