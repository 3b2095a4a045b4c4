"""HydraNets (Mullapudi, Mark, Shazeer, Fatahalian; CVPR 2018)."""

import collections.abc
import dataclasses
import functools
import typing

import keras
from keras import layers

from keras_moe.channels_last import GLOBAL_AVERAGE_POOLING, Conv2D, GlobalAveragePooling2D
from keras_moe.checks import check
from keras_moe.layer_state import copy_weights
from keras_moe.layers import ExpertBank, TopKGate
from keras_moe.models import backbones
from keras_moe.models.arguments import remembered
from keras_moe.models.base import ROUTING_DTYPE, MoEModel
from keras_moe.models.partitioned import dtype_scope
from keras_moe.models.split_classifier import ClassifierSplit, activation_of, in_dtype
from keras_moe.types import DType, Path, Shape, Tensor

_check = functools.partial(check, "HydraNet")


@keras.saving.register_keras_serializable(package="keras_moe")
class HydraNet(MoEModel):
    """A stem for every image, branches for groups of similar classes, and a gate that chooses ``top_k`` branches.

    ``images -> stem -> {branches, gate} -> combiner -> prediction over all classes`` (the paper's figure 1). The stem
    is the backbone's first convolution and its first ``split_at`` stages; each branch is a copy of the remaining ones.
    The paper leaves gate and combiner open. Here the gate is a strided 3x3 convolution (``gate_filters``), global
    average pooling and a ``Dense``. Its softmax over the top-k weighs the branches' pooled features, and one head
    classifies their sum. With ``combine="logits"`` every branch has a head of its own, and the logits are summed.
    ``from_classifier`` takes stem and branches from a classifier of your own.

    Args:
        input_shape: ``(height, width, channels)``. With unknown sizes (None) there are no MACs.
        alpha: float, width multiplier of the backbone, as in ``keras.applications.MobileNetV2``.
        backbone: ``"resnet<6n+2>"``, ``"litenet"`` or ``"efficientnet_lite<0…4>"``, see
            ``keras_moe.models.backbones``.
        num_experts: int, number of branches.
        top_k: int, branches that run for an image.
        split_at: int, stages in the stem; None: all but the last.
        branch_alpha: float, width multiplier of the branches, on top of ``alpha``.
        branch_blocks: int, sequence of int (of each stage of the backbone) or None, the most blocks in a stage of the
            branches. Omitted blocks come after a stage's first one and have a skip connection, so that a thinned copy
            of a trained network computes nearly the same.
        gate_filters: int, filters of the gate's convolution; 0: pool the stem's features directly.
        noise_std: float, standard deviation of the noise on the gate's logits in training.
        drop_below: float in [0, 1], dynamic k (see ``TopKGate``).
        combine: ``"features"`` or ``"logits"``.
        include_top: bool, whether the network ends with the head. Without it the output is the combined feature map.
        weights: None (random), ``"imagenet"`` (``efficientnet_lite0`` to ``2``, extra ``imagenet``; a head for another
            number of classes than 1,000 stays random), or the path of a ``.safetensors`` file. ``keras_moe.zoo.load``
            has published weights.
        classes: int, used with ``include_top``.
        pooling: None, ``"avg"`` or ``"max"``, used without the head. None keeps the map ``(n, h, w, c)``.
        dropout_rate: float, before the head.
        classifier_activation: ``"softmax"``, or None for logits.
        include_preprocessing: bool. True: inputs are in [0, 255]; False: already in [-1, 1].
        name: str.
        dtype: a dtype policy or its name.

    Call arguments:
        images: ``(n, height, width, channels)``.

    Returns:
        float32 ``(n, classes)`` with the head.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> model = keras_moe.models.HydraNet((8, 8, 3), backbone="resnet8", num_experts=4, top_k=2, classes=5)
        >>> predictions, route = model.predict_routed(np.zeros((3, 8, 8, 3)))
        >>> predictions.shape, np.count_nonzero(route, axis=1)
        ((3, 5), array([2, 2, 2]))
    """

    system = "hydranet"
    knob = ("drop_below", "top_k")

    @remembered
    def __init__(
        self,
        input_shape: Shape = (32, 32, 3),
        alpha: float = 1.0,
        backbone: str = "resnet20",
        num_experts: int = 8,
        top_k: int = 2,
        split_at: int | None = None,
        branch_alpha: float = 1.0,
        branch_blocks: int | Shape | None = None,
        gate_filters: int = 32,
        noise_std: float = 0.0,
        drop_below: float = 0.0,
        combine: str = "features",
        include_top: bool = True,
        weights: Path | None = None,
        classes: int = 100,
        pooling: str | None = None,
        dropout_rate: float = 0.0,
        classifier_activation: str | None = "softmax",
        include_preprocessing: bool = True,
        name: str = "hydranet",
        dtype: DType = None,
    ) -> None:
        spec = backbones.get(backbone, alpha)
        split_at = len(spec.stages) - 1 if split_at is None else split_at
        in_range = not isinstance(split_at, str) and 0 <= split_at < len(spec.stages)
        _check("split_at", split_at, in_range, f"in 0…{len(spec.stages) - 1}, stages of the stem")
        _check("combine", combine, combine in ("features", "logits"), "'features' or 'logits'")
        _check("combine", combine, include_top or combine == "features", "'features' without the head")
        # Averaging commutes with the weighted sum: pooled in the branch, a vector travels back instead of a map.
        pooled = include_top or pooling == "avg"
        branch_head, head = (classes, None) if combine == "logits" else (None, classes)

        with dtype_scope(dtype):
            images = keras.Input(input_shape, name="images")
            stem = _stem(spec, input_shape, split_at)
            scaling = backbones.scaling(include_preprocessing, spec)
            shape = stem.output_shape[1:]
            most = [branch_blocks] * len(spec.stages) if isinstance(branch_blocks, int) else branch_blocks
            thin = backbones.thinned(spec, most)
            branch = functools.partial(_branch, thin, split_at, branch_alpha, shape, pooled, branch_head)
            branches = [branch(f"branch_{k}") for k in range(num_experts)]

        def combiner() -> keras.Sequential:
            after = None if pooled else pooling
            return backbones.head(include_top, head, after, dropout_rate, classifier_activation, "combiner")

        gate = {"top_k": top_k, "noise_std": noise_std, "drop_below": drop_below}
        self._assemble(images, scaling, stem, branches, combiner, gate_filters, gate, name=name, dtype=dtype)

    @classmethod
    @remembered
    def from_classifier(
        cls,
        classifier: keras.Model,
        split_at: str | None = None,
        num_experts: int = 8,
        top_k: int = 2,
        gate_filters: int = 32,
        noise_std: float = 0.0,
        drop_below: float = 0.0,
        weights: Path | None = None,
        classifier_activation: str | None = "same",
        name: str = "hydranet",
        dtype: DType = None,
    ) -> "HydraNet":
        """A HydraNet from a classifier of your own: the stem is its start, the branches are copies of its tail.

        The classifier is copied, weights included. The branches' logits are summed, so that before any training the
        predictions are the classifier's.

        Args:
            classifier: a functional or ``Sequential`` classifier that ends in logits or in a softmax over them. Its
                layers are copied, never changed.
            split_at: name of the stem's last layer; None: the tail nearest to a third of the multiply-accumulates.
            weights: None, or the path of a ``.safetensors`` file that replaces the classifier's weights.
            classifier_activation: ``"softmax"``, None for logits, or ``"same"`` for the classifier's.
            num_experts, top_k, gate_filters, noise_std, drop_below, name, dtype: as for the constructor.

        Returns:
            A ``HydraNet``.

        Raises:
            ValueError: an argument out of range, or a layer where the classifier has no cut.

        Example:
            >>> inputs = keras.Input((8, 8, 3))
            >>> x = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(inputs)
            >>> x = keras.layers.GlobalAveragePooling2D()(x)
            >>> classifier = keras.Model(inputs, keras.layers.Dense(5, "softmax")(x))
            >>> model = keras_moe.models.HydraNet.from_classifier(classifier, split_at="conv", num_experts=3)
            >>> images = np.ones((2, 8, 8, 3))
            >>> np.allclose(model.predict(images, verbose=0), classifier.predict(images, verbose=0), atol=1e-5)
            True
        """
        with dtype_scope(dtype):
            split = ClassifierSplit(in_dtype(classifier, dtype), split_at)
            activation = activation_of(split, classifier_activation)
            images = keras.Input(split.input.shape[1:], dtype=split.input.dtype, name="images")
            stem, scaling = split.trunk("stem"), layers.Identity(name="scaling")
            branches = [split.tail(f"branch_{k}", f"branch_{k}_") for k in range(num_experts)]

        def combiner() -> keras.Sequential:
            return backbones.head(True, None, None, 0.0, activation, "combiner")

        gate = {"top_k": top_k, "noise_std": noise_std, "drop_below": drop_below}
        resolved = {"split_at": split.split_at, "classifier_activation": activation}
        model = cls.__new__(cls)
        model._assemble(
            images, scaling, stem, branches, combiner, gate_filters, gate, name=name, dtype=dtype, resolved=resolved
        )
        return model

    def _assemble(
        self,
        images: Tensor,
        scaling: keras.Layer,
        stem: keras.Model,
        branches: list[keras.Model],
        combiner: collections.abc.Callable[[], keras.Layer],
        gate_filters: int,
        gate: dict[str, typing.Any],
        **options: typing.Any,
    ) -> None:
        """Makes the gate, connects the layers and initializes this model with them.

        ``combiner`` makes the last layer; ``gate`` holds the arguments of the ``TopKGate``.
        """
        _check("top_k", gate["top_k"], 1 <= gate["top_k"] <= len(branches), "between 1 and `num_experts`")
        with dtype_scope(options["dtype"]):
            gate_network = _gate(stem.output_shape[1:], gate_filters, len(branches))
            top = TopKGate(**gate, dtype=ROUTING_DTYPE, name="top_k")
            bank = ExpertBank(branches, top_k=gate["top_k"], name="branches")
            features = stem(scaling(images))
            logits = gate_network(features)
            routing = top(logits)
            combined = bank(features, routing)
            outputs = combiner()(combined)

        parts = {
            "stem": ["scaling", "stem"],
            "gate": ["gate", "top_k"],
            "branches": ["branches"],
            "combiner": ["combiner"],
        }
        gate_tensors = {"gate_logits": logits, "routing_weights": routing}
        super().__init__(images, outputs, parts, gate_tensors, **options)

    def init_from_single_branch(self, single: "HydraNet") -> None:
        """Copies the only branch of ``single`` into every branch, and its stem and combiner.

        The predictions are then those of ``single`` under any route, until further training.

        Args:
            single: a ``HydraNet`` of the same configuration, except for ``num_experts=1``, ``top_k=1`` and its gate.

        Raises:
            ValueError: more than one branch, or weights of other shapes.

        Example:
            >>> tiny = {"input_shape": (8, 8, 3), "backbone": "resnet8", "classes": 5}
            >>> single = keras_moe.models.HydraNet(**tiny, num_experts=1, top_k=1)
            >>> model = keras_moe.models.HydraNet(**tiny, num_experts=3)
            >>> model.init_from_single_branch(single)
            >>> images = np.ones((2, 8, 8, 3))
            >>> np.allclose(model.predict(images, verbose=0), single.predict(images, verbose=0), atol=1e-5)
            True
        """
        if len(single.bank.experts) != 1:
            raise ValueError(f"Expected a HydraNet with one branch. Received: {len(single.bank.experts)} branches")
        pairs = [
            (a, b) for part in ("stem", "combiner") for a, b in zip(single.parts[part], self.parts[part], strict=True)
        ]
        pairs += [(single.bank.experts[0], branch) for branch in self.bank.experts]
        for source, target in pairs:
            copy_weights(source, target)

    @property
    def drop_below(self) -> float:
        """The least weight of a further branch (dynamic k), a float in [0, 1]. It may be set after training.

        Example:
            >>> model = keras_moe.models.HydraNet((8, 8, 3), backbone="resnet8", num_experts=4, top_k=2, classes=5)
            >>> model.drop_below = 1.0  # the largest weight alone
            >>> np.count_nonzero(model.route(np.zeros((3, 8, 8, 3))), axis=1)
            array([1, 1, 1])
        """
        return float(self.get_layer("top_k").drop_below)

    @drop_below.setter
    def drop_below(self, value: float) -> None:
        self.get_layer("top_k").drop_below = value


def _stem(spec: backbones.Backbone, input_shape: Shape, split_at: int) -> keras.Model:
    x = inputs = keras.Input(input_shape)
    x = backbones.first(x, spec, "stem")
    for i, stage in enumerate(spec.stages[:split_at]):
        x = backbones.stage(x, spec, stage, f"stem_stage{i}")
    return keras.Model(inputs, x, name="stem")


def _gate(shape: Shape, filters: int, num_experts: int) -> keras.Model:
    x = inputs = keras.Input(shape)
    if filters and len(shape) == 3:
        x = Conv2D(filters, 3, 2, "same", use_bias=False, name="gate_conv")(x)
        x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name="gate_conv_bn")(x)
        x = layers.ReLU(name="gate_conv_relu")(x)
    if len(shape) > 1:
        x = GLOBAL_AVERAGE_POOLING[len(shape)](name="gate_pool")(x)
    return keras.Model(inputs, layers.Dense(num_experts, dtype=ROUTING_DTYPE, name="gate_logits")(x), name="gate")


def _branch(
    spec: backbones.Backbone,
    split_at: int,
    alpha: float,
    shape: Shape,
    pooled: bool,
    classes: int | None,
    name: str,
) -> keras.Model:
    x = inputs = keras.Input(shape)
    for i, stage in enumerate(spec.stages[split_at:]):
        scaled = dataclasses.replace(stage, filters=backbones.scale(stage.filters, alpha))
        x = backbones.stage(x, spec, scaled, f"{name}_stage{split_at + i}")
    x = backbones.last(x, spec, f"{name}_")
    if pooled:
        x = GlobalAveragePooling2D(name=f"{name}_pool")(x)
    if classes:
        x = layers.Dense(classes, name=f"{name}_predictions")(x)
    return keras.Model(inputs, x, name=name)
