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
from keras_moe.types import DType, Macs, Path, Shape, Tensor

_check = functools.partial(check, "ClassSR")


@keras.saving.register_keras_serializable(package="keras_moe")
class ClassSR(SuperResolution):
    """Super-resolution of each patch by the smallest network that suffices, chosen by a class module.

    ``patch -> class module -> logits -> route -> branches -> larger patch`` (the paper's figure 2). In training every
    branch runs, and the softmax of the logits weighs their outputs. In use only the branch of the largest logit runs.
    ``model.upscale(image)`` cuts a whole image into patches and joins the results.

    Args:
        input_shape: ``(height, width, 3)`` of a patch. With unknown sizes (None) there are no MACs.
        backbone: ``"fsrcnn"``, ``"carn"``, ``"srresnet"`` or ``"rcan"``, the family of the branches.
        filters: ints, width of each branch, cheapest first; None: the paper's three.
        scale: 2, 3 or 4.
        class_filters: int, width of the class module.
        class_stride: int >= 1, stride of the class module's first convolution, whose kernel is 4x4. The paper's stride
            of 4 reads every pixel, for 15 % of the largest FSRCNN's cost. A stride of 16 reads every fourth 4x4 block
            in height and width, for a sixteenth of that.
        cost_weight: float, the weight of the relative cost of a branch that is subtracted from its logit. It may be set
            after training; see ``keras_moe.layers.CostBias``.
        weights: None or the path of a ``.safetensors`` file.
        name: str.
        dtype: dtype policy of the layers, or None.

    Call arguments:
        images: float tensor ``(n, height, width, 3)`` in [0, 255].

    Returns:
        float32 ``(n, scale * height, scale * width, 3)``, about [0, 255], not clipped.

    Raises:
        ValueError: an argument out of range.

    Example:
        >>> model = keras_moe.models.ClassSR((8, 8, 3), filters=(4, 8), scale=2, class_filters=4)
        >>> predictions, route = model.predict_routed(np.zeros((3, 8, 8, 3)))
        >>> predictions.shape, np.count_nonzero(route, axis=1)
        ((3, 16, 16, 3), array([1, 1, 1]))
        >>> model.upscale(np.zeros((20, 30, 3), "uint8"), verbose=0).shape
        (40, 60, 3)
    """

    system = "classsr"
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
            top = TopKGate(1, train_top_k=len(filters), dtype=ROUTING_DTYPE, name="top_k")
            bank = ExpertBank(branches, name="branches")

            # === Functional model ===
            def connect(images: Tensor) -> dict[str, Tensor]:
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
        """The knob between quality (0 and less) and cost (more than 0), a float. It may be set at any time.

        Example:
            >>> model = keras_moe.models.ClassSR((8, 8, 3), filters=(4, 8), scale=2, class_filters=4)
            >>> model.cost_weight = 1000.0  # the cheapest branch for every patch
            >>> model.route(np.zeros((2, 8, 8, 3)))
            array([[1., 0.],
                   [1., 0.]], dtype=float32)
        """
        return float(self.get_layer("cost_bias").cost_weight)

    @cost_weight.setter
    def cost_weight(self, value: float) -> None:
        self.get_layer("cost_bias").cost_weight = value

    def macs_of_patch(self, height: int, width: int) -> Macs:
        shape = (None, height, width, 3)
        return {
            "class_module": cost.macs(self.get_layer("class_module"), shape),
            "branches": [cost.macs(branch, shape) for branch in self.bank.experts],
        }


def _class_module(filters: int, stride: int, branches: int) -> keras.Model:
    # As in section 3.2, except for the initial weights: the paper's code scales each of the five kernels by 0.1. Logits
    # then start in the order of 1e-5, and a training of minutes leaves every patch undecided.
    x = inputs = keras.Input((None, None, 3))
    for i, (width, size) in enumerate([(filters, 4), (filters, 1), (filters, 1), (filters, 1), (32, 1)]):
        step = stride if i == 0 else 1
        x = Conv2D(width, size, step, kernel_initializer="he_normal", name=f"class_conv{i}")(x)
        if i < 4:
            x = layers.LeakyReLU(0.1, name=f"class_relu{i}")(x)
    x = GlobalAveragePooling2D(name="class_pool")(x)
    return keras.Model(inputs, layers.Dense(branches, dtype=ROUTING_DTYPE, name="class_logits")(x), name="class_module")
