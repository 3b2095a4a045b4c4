"""ClassSR (Kong, Zhao, Qiao, Dong; CVPR 2021)."""

import collections.abc
import functools

import keras
from keras import layers

from keras_moe import cost
from keras_moe.channels_last import Conv2D, GlobalAveragePooling2D
from keras_moe.checks import check
from keras_moe.layers import CostBias, ExpertBank, TopKGate
from keras_moe.models import super_resolution_branches
from keras_moe.models.arguments import remembered
from keras_moe.models.base import ROUTING_DTYPE
from keras_moe.models.partitioned import dtype_scope
from keras_moe.models.super_resolution import SuperResolution, unscaled
from keras_moe.types import DType, Macs, Path, Shape

_check = functools.partial(check, "ClassSR")


@keras.saving.register_keras_serializable(package="keras_moe")
class ClassSR(SuperResolution):
    """A class module looks at a patch of the image and sends it to the smallest network that suffices.

    ``patch -> class module -> logits -> route -> branches -> larger patch`` (the paper's figure 2). In training every
    branch runs and the softmax of the logits weighs their outputs; in use the largest logit's branch runs alone. A
    whole image, cut into patches and put together again: ``model.upscale(image)``.

    Args:
        input_shape: ``(height, width, 3)`` of a patch; sizes may be None (then MACs cannot be told).
        backbone: ``"fsrcnn"``, ``"carn"``, ``"srresnet"`` or ``"rcan"``, the family of the branches.
        filters: ints, width of each branch, cheapest first; None: the paper's three.
        scale: 2, 3 or 4.
        class_filters: int, width of the class module.
        class_stride: int >= 1, of its first convolution, whose kernel is 4x4. The paper's is 4: every pixel is looked
            at, for 15 % of the largest FSRCNN's cost. 16 looks at every fourth 4x4 block in height and width, for a
            sixteenth of that.
        cost_weight: float, subtracts ``cost_weight * cost of the branch / cost of the dearest`` from each logit. It
            may be set after training; see ``keras_moe.layers.CostBias``.
        weights: None or the path of a ``.safetensors`` file.
        name: str.
        dtype: dtype policy of the layers, or None.

    Call arguments:
        images: float tensor ``(n, height, width, 3)`` in [0, 255].

    Returns:
        float32 ``(n, scale * height, scale * width, 3)``, about [0, 255], not clipped.

    Raises:
        ValueError: an argument out of range.
    """

    knob = ("cost_weight", "cost_bias")

    @remembered
    def __init__(
        self,
        input_shape: Shape = (32, 32, 3),
        backbone: str = "fsrcnn",
        filters: collections.abc.Sequence[int] | None = None,
        scale: int = 4,
        class_filters: int = 128,
        class_stride: int = 4,
        cost_weight: float = 0.0,
        weights: Path | None = None,
        name: str = "classsr",
        dtype: DType = None,
    ) -> None:
        filters = super_resolution_branches.widths(backbone) if filters is None else tuple(filters)
        _check("filters", filters, len(filters) >= 1, "at least one width")

        with dtype_scope(dtype):
            # === Layers ===
            scaling, unscaling = layers.Rescaling(1 / 255, name="scaling"), unscaled()
            class_module = _class_module(class_filters, class_stride, len(filters))
            branches = [
                super_resolution_branches.branch(backbone, f, scale, f"branch_{k}") for k, f in enumerate(filters)
            ]
            costs = [cost.macs(branch, (None, 32, 32, 3)) for branch in branches]
            bias = CostBias([c / max(costs) for c in costs], cost_weight, dtype=ROUTING_DTYPE, name="cost_bias")
            top = TopKGate(1, train_k=len(filters), dtype=ROUTING_DTYPE, name="top_k")
            bank = ExpertBank(branches, name="branches")

            # === Functional model ===
            def connect(images):
                patches = scaling(images)
                logits = class_module(patches)
                weights = top(bias(logits))
                prediction = unscaling(bank(patches, weights))
                return {"prediction": prediction, "gate_logits": logits, "routing_weights": weights}

        parts = {
            "class_module": ["scaling", "class_module", "cost_bias", "top_k"],
            "branches": ["branches", "unscaling"],
        }
        resolved = {"filters": list(filters)}
        super().__init__(input_shape, connect, parts, name=name, dtype=dtype, resolved=resolved)

    @property
    def cost_weight(self) -> float:
        """The knob between quality (0 and less) and cost, a float; it may be set at any time."""
        return self.get_layer("cost_bias").cost_weight

    @cost_weight.setter
    def cost_weight(self, value: float) -> None:
        self.get_layer("cost_bias").cost_weight = value

    def macs_of_patch(self, height: int, width: int) -> Macs:
        shape = (None, height, width, 3)
        return {
            "class_module": cost.macs(self.get_layer("class_module"), shape),
            "branches": [cost.macs(branch, shape) for branch in self.bank.experts],
        }


def _class_module(filters, stride, branches):
    # Section 3.2, but for the start: the paper's code scales each of the five kernels by 0.1, so that the logits are of
    # the order of 1e-5 at first, and a training of minutes leaves every patch undecided.
    x = inputs = keras.Input((None, None, 3))
    for i, (width, size) in enumerate([(filters, 4), (filters, 1), (filters, 1), (filters, 1), (32, 1)]):
        step = stride if i == 0 else 1
        x = Conv2D(width, size, step, kernel_initializer="he_normal", name=f"class_conv{i}")(x)
        if i < 4:
            x = layers.LeakyReLU(0.1, name=f"class_relu{i}")(x)
    x = GlobalAveragePooling2D(name="class_pool")(x)
    return keras.Model(inputs, layers.Dense(branches, dtype=ROUTING_DTYPE, name="class_logits")(x), name="class_module")
