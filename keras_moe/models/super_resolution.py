"""What super-resolution models share, and the dense one of them."""

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

    Subclasses give ``connect``: ``images -> dict`` of symbolic outputs: ``"prediction"`` and, for a mixture,
    ``"gate_logits"`` and ``"routing_weights"``. It holds for patches of any size, whatever the size of the model's
    own input.
    """

    answers = "image"

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
        """How many times larger the output is, int."""
        return self._config["scale"]

    @functools.cached_property
    def at_size(self) -> collections.abc.Callable[[int, int], keras.Model]:
        """``(height, width) -> model`` from patches of that size to what ``connect`` gives, with the same weights.

        The size is fixed because a branch that no patch of a batch takes still has to tell the size of its output.
        """

        @functools.lru_cache(4)
        def build(height, width):
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
        """A whole image, enlarged. Arguments and errors are those of ``upscale_routed``, of which it is the image."""
        return self.upscale_routed(image, patch, overlap, batch_size, verbose).image

    def upscale_routed(
        self,
        image: Array,
        patch: int = PATCH,
        overlap: int = OVERLAP,
        batch_size: int = BATCH_SIZE,
        verbose: str | int = "auto",
    ) -> Upscaled:
        """A whole image enlarged, which branch each of its patches took and what that cost.

        See ``keras_moe.super_resolution.upscale_routed`` for arguments, errors and the ``Upscaled`` that it returns.
        """
        return upscale_routed(self, image, patch, overlap, batch_size, verbose)

    def macs_of_patch(self, height: int, width: int) -> Macs:
        """As ``macs_by_part``, for a patch of that size: dict, part name -> int, or list of int for the branches."""
        raise NotImplementedError

    @functools.cached_property
    def _macs_of_parts(self):
        height, width = self.input_shape[1:3]
        return self.macs_of_patch(height, width)


@keras.saving.register_keras_serializable(package="keras_moe")
class SuperResolutionNetwork(SuperResolution):
    """One super-resolution network that every patch runs: the baseline of a ``ClassSR``, and its single branch.

    Args:
        input_shape: ``(height, width, 3)`` of a patch; sizes may be None (then MACs cannot be told).
        backbone: ``"fsrcnn"``, ``"carn"``, ``"srresnet"`` or ``"rcan"``.
        filters: int, its width; None: that of the original network, the hard branch of the paper.
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
            def connect(images):
                return {"prediction": unscaling(branch(scaling(images)))}

        parts = {"branch": ["scaling", "branch", "unscaling"]}
        super().__init__(input_shape, connect, parts, name=name, dtype=dtype)

    def macs_of_patch(self, height: int, width: int) -> Macs:
        return {"branch": cost.macs(self.get_layer("branch"), (None, height, width, 3))}


def unscaled() -> keras.Layer:
    """The last layer: [0, 1] to [0, 255], in float32 whatever the policy."""
    return layers.Rescaling(255.0, dtype="float32", name="unscaling")
