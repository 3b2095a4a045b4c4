"""A network applied to large patches of a map, each with its surroundings."""

import typing

import keras
from keras import ops

from keras_moe.channels_last import check_layer
from keras_moe.checks import integer
from keras_moe.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_moe")
class PatchWise(keras.layers.Layer):
    """Cuts a map into large patches with context, runs ``network`` on each, and joins the results without context.

    In Patcher (MICCAI 2022) attention stays inside a large patch, where it is local and affordable. The ``context``
    pixels around the patch belong to its neighbours, or repeat the border pixels at the map's edge; with them the patch
    sees beyond its own border. The patches become the batch axis. Overlapping pixels are computed once per patch, and
    ``keras_moe.cost`` counts them so.

    Args:
        network: a model from ``(n, s, s, c)`` with ``s = patch + 2 * context`` to ``(n, t, t, d)``. ``t`` must divide
            ``s``; the ratio is the stride.
        patch: int, side of a large patch in pixels, without its context.
        context: int in 0…``patch``, pixels added on each side.

    Call arguments:
        x: float tensor ``(n, h, w, c)`` with known ``h`` and ``w``, multiples of ``patch``.
        training: bool.

    Returns:
        Float tensor ``(n, h / stride, w / stride, d)``.

    Raises:
        ValueError: an unknown height or width, or one that ``patch`` does not divide.

    Example:
        >>> inputs = keras.Input((6, 6, 1))
        >>> network = keras.Model(inputs, keras.layers.AveragePooling2D(2)(inputs))
        >>> layer = keras_moe.layers.PatchWise(network, patch=2, context=2)
        >>> outputs = layer(np.arange(16.0).reshape(1, 4, 4, 1))
        >>> keras.ops.convert_to_numpy(outputs)[0, :, :, 0]
        array([[ 2.5,  4.5],
               [10.5, 12.5]], dtype=float32)
    """

    def __init__(self, network: keras.Model, patch: int = 32, context: int = 8, **kwargs: typing.Any) -> None:
        super().__init__(**kwargs)
        self.network = network
        self.patch: int = integer("PatchWise", "patch", patch, 1)
        self.context: int = integer("PatchWise", "context", context, 0, self.patch)

    @property
    def crop(self) -> int:
        """Side of the network's input in pixels: the patch and its context on both sides.

        Example:
            >>> network = keras.Sequential([keras.Input((6, 6, 1)), keras.layers.AveragePooling2D(2)])
            >>> keras_moe.layers.PatchWise(network, patch=2, context=2).crop
            6
        """
        return self.patch + 2 * self.context

    def patches(self, shape: Shape) -> int:
        """The number of large patches in a map.

        Args:
            shape: ``(n, h, w, c)``.

        Raises:
            ValueError: an unknown height or width, or one that ``patch`` does not divide.

        Example:
            >>> network = keras.Sequential([keras.Input((6, 6, 1)), keras.layers.AveragePooling2D(2)])
            >>> keras_moe.layers.PatchWise(network, patch=2, context=2).patches((None, 4, 6, 1))
            6
        """
        height, width = shape[1:3]
        if height is None or width is None or height % self.patch or width % self.patch:
            raise ValueError(
                f"PatchWise {self.name!r} cuts patches of {self.patch}x{self.patch}: height and width must be known "
                f"and multiples of {self.patch}. Received: shape {tuple(shape)}"
            )
        return (height // self.patch) * (width // self.patch)

    def build(self, shape: Shape) -> None:
        self.patches(shape)
        if not self.network.built:
            self.network.build((None, self.crop, self.crop, shape[-1]))
        check_layer(f"the network {self.network.name!r} of {self.name!r}", self.network)
        self.compute_output_shape(shape)

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        rows, columns = x.shape[1] // self.patch, x.shape[2] // self.patch
        patches = split_patches(x, self.patch, self.context)
        y = ops.cast(self.network(patches, training=training), self.compute_dtype)
        return join_patches(y, rows, columns, self.context // (self.crop // y.shape[1]))

    def compute_output_shape(self, shape: Shape) -> Shape:
        _, side, other, filters = self.network.compute_output_shape((None, self.crop, self.crop, shape[-1]))
        stride = self.crop // side
        if side != other or self.crop % side or self.patch % stride or self.context % stride:
            raise ValueError(
                f"PatchWise {self.name!r}: the network makes {side}x{other} of {self.crop}x{self.crop} pixels. "
                f"Expected one stride that divides patch={self.patch} and context={self.context}"
            )
        return (shape[0], shape[1] // stride, shape[2] // stride, filters)

    def get_config(self) -> dict[str, typing.Any]:
        network = keras.saving.serialize_keras_object(self.network)
        return {**super().get_config(), "network": network, "patch": self.patch, "context": self.context}

    @classmethod
    def from_config(cls, config: dict[str, typing.Any]) -> "PatchWise":
        return cls(**{**config, "network": keras.saving.deserialize_keras_object(config["network"])})


def split_patches(x: Tensor, patch: int, context: int) -> Tensor:
    """``(n, h, w, c)`` to ``(n * h/patch * w/patch, patch + 2 context, patch + 2 context, c)``, borders repeated."""
    # At most four axes, and only slices, tiles, concatenations and transposes: every converter has them.
    _, height, width, channels = x.shape
    rows, columns, crop = height // patch, width // patch, patch + 2 * context
    x = _surround(ops.reshape(x, (-1, rows, patch, width * channels)), context)
    x = _surround(ops.reshape(x, (-1, columns, patch, channels)), context)
    x = ops.transpose(ops.reshape(x, (-1, crop, columns, crop * channels)), (0, 2, 1, 3))
    return ops.reshape(x, (-1, crop, crop, channels))


def join_patches(x: Tensor, rows: int, columns: int, context: int) -> Tensor:
    """The inverse: drops ``context`` from each side of ``(n * rows * columns, t, t, d)`` and joins the patches."""
    side, filters = x.shape[1] - 2 * context, x.shape[-1]
    x = x[:, context : context + side, context : context + side]
    x = ops.transpose(ops.reshape(x, (-1, columns, side, side * filters)), (0, 2, 1, 3))
    return ops.reshape(x, (-1, rows * side, columns * side, filters))


def _surround(blocks: Tensor, context: int) -> Tensor:
    """Adds to each block of ``(n, blocks, patch, f)`` the nearest ``context`` rows of the blocks beside it."""
    if context == 0:
        return blocks
    patch = blocks.shape[2]
    first = ops.tile(blocks[:, :1, :1], (1, 1, context, 1))
    last = ops.tile(blocks[:, -1:, -1:], (1, 1, context, 1))
    before = ops.concatenate([first, blocks[:, :-1, patch - context :]], axis=1)
    after = ops.concatenate([blocks[:, 1:, :context], last], axis=1)
    return ops.concatenate([before, blocks, after], axis=2)
