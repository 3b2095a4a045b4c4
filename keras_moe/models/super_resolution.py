"""The base of super-resolution models, and the dense one."""

import collections.abc
import functools
import typing

import keras
from keras import layers

from keras_moe import cost
from keras_moe.models import super_resolution_branches
from keras_moe.models.arguments import remembered
from keras_moe.models.base import MoEModel
from keras_moe.models.partitioned import dtype_scope
from keras_moe.super_resolution.upscale import BATCH_SIZE, OVERLAP, PATCH, Upscaled, upscale_routed
from keras_moe.types import Array, DType, Macs, Path, Shape, Tensor


class SuperResolution(MoEModel):
    """A model from RGB patches in [0, 255] to larger ones, and its use on whole images.

    Subclasses pass ``connect``, a function ``images -> dict`` of the symbolic outputs ``"prediction"`` and, for a
    mixture, ``"gate_logits"`` and ``"routing_weights"``. It must work for patches of any size.
    """

    output_kind = "image"

    def __init__(
        self,
        input_shape: Shape,
        connect: collections.abc.Callable[[Tensor], dict[str, Tensor]],
        parts: dict[str, list[str]],
        **kwargs: typing.Any,
    ) -> None:
        images = keras.Input(input_shape, name="images")
        gate = dict(connect(images))
        prediction = gate.pop("prediction")
        super().__init__(images, prediction, parts, gate or None, **kwargs)
        self._connect = connect

    @property
    def scale(self) -> int:
        """The ratio of the output's height and width to the input's, an int.

        Example:
            >>> zoo.load("test_classsr").scale
            2
        """
        return int(self._config["scale"])

    @functools.cached_property
    def at_size(self) -> collections.abc.Callable[[int, int], keras.Model]:
        """``(height, width) -> model`` from patches of that size to the outputs of ``connect``, with shared layers.

        The size is fixed because even a branch without patches needs an output of known size.

        Example:
            >>> model = zoo.load("test_classsr").at_size(8, 12)
            >>> model.input_shape, model.output["prediction"].shape
            ((None, 8, 12, 3), (None, 16, 24, 3))
        """

        @functools.lru_cache(4)
        def build(height: int, width: int) -> keras.Model:
            images = keras.Input((height, width, 3))
            return self.sharing(images, self._connect(images), f"{self.name}_{height}x{width}")

        return build

    def upscale(
        self,
        image: Array,
        patch: int = PATCH,
        overlap: int = OVERLAP,
        batch_size: int = BATCH_SIZE,
        verbose: str | int = "auto",
    ) -> Array:
        """A whole image, enlarged.

        Arguments and errors are those of ``keras_moe.super_resolution.upscale_routed``.

        Returns:
            Array of the input's dtype and layout, ``scale`` times as high and wide.

        Example:
            >>> model = keras_moe.models.SuperResolutionNetwork((8, 8, 3), filters=4, scale=2)
            >>> model.upscale(np.zeros((20, 30, 3), "uint8"), verbose=0).shape
            (40, 60, 3)
        """
        return self.upscale_routed(image, patch, overlap, batch_size, verbose).image

    def upscale_routed(
        self,
        image: Array,
        patch: int = PATCH,
        overlap: int = OVERLAP,
        batch_size: int = BATCH_SIZE,
        verbose: str | int = "auto",
    ) -> Upscaled:
        """A whole image, enlarged, with the branch of each patch and the cost.

        Arguments, errors and the returned ``Upscaled`` are those of ``keras_moe.super_resolution.upscale_routed``.

        Example:
            >>> model = keras_moe.models.ClassSR((8, 8, 3), filters=(4, 8), scale=2, class_filters=4)
            >>> upscaled = model.upscale_routed(np.zeros((28, 40, 3), "uint8"), patch=16, overlap=4, verbose=0)
            >>> upscaled.image.shape, upscaled.route.shape  # two rows of three patches
            ((56, 80, 3), (2, 3))
        """
        upscaled: Upscaled = upscale_routed(self, image, patch, overlap, batch_size, verbose)
        return upscaled

    def macs_of_patch(self, height: int, width: int) -> Macs:
        """As ``macs_by_part``, for a patch of that size: dict, part name -> int, or list of int for the branches.

        Example:
            >>> model = zoo.load("test_classsr")
            >>> small, large = (sum(model.macs_of_patch(side, side)["branches"]) for side in (8, 16))
            >>> large // small
            4
        """
        raise NotImplementedError

    def _count_macs(self) -> Macs:
        height, width = self.input_shape[1:3]
        return self.macs_of_patch(height, width)


@keras.saving.register_keras_serializable(package="keras_moe")
class SuperResolutionNetwork(SuperResolution):
    """A super-resolution network without experts: the baseline of a ``ClassSR``, and the source of its branches.

    Args:
        input_shape: ``(height, width, 3)`` of a patch. With unknown sizes (None) there are no MACs.
        backbone: ``"fsrcnn"``, ``"carn"``, ``"srresnet"`` or ``"rcan"``.
        filters: int, width; None: that of the original network, the paper's hard branch.
        scale: 2, 3 or 4.
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
        >>> model = keras_moe.models.SuperResolutionNetwork((8, 8, 3), filters=4, scale=2)
        >>> model.predict(np.zeros((1, 8, 8, 3)), verbose=0).shape
        (1, 16, 16, 3)
    """

    @remembered
    def __init__(
        self,
        input_shape: Shape = (32, 32, 3),
        backbone: str = "fsrcnn",
        filters: int | None = None,
        scale: int = 4,
        weights: Path | None = None,
        name: str = "sr_network",
        dtype: DType = None,
    ) -> None:
        with dtype_scope(dtype):
            # === Layers ===
            filters = super_resolution_branches.widths(backbone)[-1] if filters is None else filters
            scaling, unscaling = layers.Rescaling(1 / 255, name="scaling"), unscaled()
            branch = super_resolution_branches.branch(backbone, filters, scale, "branch")

            # === Functional model ===
            def connect(images: Tensor) -> dict[str, Tensor]:
                return {"prediction": unscaling(branch(scaling(images)))}

        parts = {"branch": ["scaling", "branch", "unscaling"]}
        super().__init__(input_shape, connect, parts, name=name, dtype=dtype)

    def macs_of_patch(self, height: int, width: int) -> Macs:
        return {"branch": cost.macs(self.get_layer("branch"), (None, height, width, 3))}


def unscaled() -> keras.Layer:
    """The last layer: [0, 1] to [0, 255], in float32 under any policy."""
    return layers.Rescaling(255.0, dtype="float32", name="unscaling")
