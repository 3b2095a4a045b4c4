"""A whole image through a super-resolution model: cut, batched by branch, blended, row by row."""

import collections.abc
import dataclasses
import typing

import numpy as np

from keras_moe.checks import check, integer, warn_of_fractions
from keras_moe.super_resolution.tiles import Cut, cut
from keras_moe.types import Macs

if typing.TYPE_CHECKING:
    import keras
    from rich.console import Console

PATCH, OVERLAP, BATCH_SIZE = 128, 4, 16

# The class module's first kernel is 4x4, and a branch should see some neighbourhood.
_LEAST = 8


class Upscaler(typing.Protocol):
    """The interface of ``ClassSR`` and ``SuperResolutionNetwork`` that upscaling uses."""

    @property
    def scale(self) -> int: ...

    @property
    def at_size(self) -> "collections.abc.Callable[[int, int], keras.Model]": ...

    def macs_of_patch(self, height: int, width: int) -> Macs: ...


@dataclasses.dataclass(frozen=True)
class Upscaled:
    """An enlarged image, with the route of its patches and the cost.

    Args:
        image: array of the input's dtype and layout, ``scale`` times as high and wide.
        route: int array ``(rows, columns)``: which branch each patch took, all 0 for a dense network.
        rows, columns: ``Cut``, where the patches lie, in pixels of the input padded by ``margins``.
        margins: ``(vertical, horizontal)``, pixels of reflection added on every side of a tiny image before cutting.
        macs: int, multiply-accumulates executed, overlap, margins and class module included.

    Example:
        >>> model = keras_moe.models.ClassSR((16, 16, 3), scale=2)
        >>> upscaled = super_resolution.upscale_routed(model, np.zeros((16, 40, 3), "uint8"), patch=24)
        >>> upscaled.columns  # 40 pixels as two patches of 22, which share 4
        Cut(size=22, starts=(0, 18))
        >>> upscaled.route.shape
        (1, 2)
    """

    image: np.ndarray
    route: np.ndarray
    rows: Cut
    columns: Cut
    margins: tuple[int, int]
    macs: int


def upscale_routed(
    model: Upscaler,
    image: np.ndarray,
    patch: int = PATCH,
    overlap: int = OVERLAP,
    batch_size: int = BATCH_SIZE,
    verbose: str | int = "auto",
) -> Upscaled:
    """Enlarges an image of any size ``model.scale`` times.

    The image is cut into patches that overlap, and each patch runs the one branch that the model chooses for it, in
    batches; neighbours are blended linearly across their overlap. Rows of patches are streamed: beside input and output
    only a band of the image is held in memory.

    Args:
        model: a ``ClassSR`` or ``SuperResolutionNetwork``.
        image: array ``(h, w)``, ``(h, w, 1)``, ``(h, w, 3)`` or ``(h, w, 4)``, grey, RGB or RGBA: uint8, or float in
            [0, 255]. Grey runs as three equal channels; alpha is enlarged bicubically.
        patch: int, the patch size to come near to, in pixels of the input: the image is divided evenly.
        overlap: int >= 0, pixels that neighbouring patches share at least.
        batch_size: int, patches that are run at once.
        verbose: bool, whether to show a progress bar on stderr; ``"auto"``: for long work on a terminal.

    Returns:
        ``Upscaled``; its image has exactly ``scale`` times the input's height and width and its dtype.

    Raises:
        ValueError: an image of another kind, shape or range, empty, or with NaN; ``patch``, ``overlap`` or
            ``batch_size`` out of range.

    Warns:
        UserWarning: floats that lie in [0, 1].

    Example:
        >>> model = keras_moe.models.ClassSR((16, 16, 3), scale=2)
        >>> upscaled = super_resolution.upscale_routed(model, np.zeros((11, 13, 3), "uint8"))
        >>> upscaled.image.shape, upscaled.image.dtype.name
        ((22, 26, 3), 'uint8')
    """
    patch, overlap, batch_size = _settings(patch, overlap, batch_size)
    image = _checked(image)
    warn_of_fractions("upscale", image)
    rgb = _as_rgb(image)
    height, width = rgb.shape[:2]
    # None around larger images: the branches have learned borders of zeros, and reflection makes borders worse.
    margins = _margin(height), _margin(width)
    padded = np.pad(rgb, ((margins[0],) * 2, (margins[1],) * 2, (0, 0)), mode="reflect")
    rows, columns = cut(padded.shape[0], patch, overlap), cut(padded.shape[1], patch, overlap)

    scale = model.scale
    enlarged = np.empty((scale * height, scale * width, *image.shape[2:]), image.dtype)
    route = np.zeros((len(rows.starts), len(columns.starts)), int)
    top = 0
    for i, (band, chosen) in enumerate(_bands(model, padded, rows, columns, batch_size, verbose)):
        route[i] = chosen
        start = top - scale * margins[0]
        band = band[max(0, -start) : scale * height - start]
        band = band[:, scale * margins[1] : scale * (margins[1] + width)]
        _write(enlarged[max(0, start) :][: len(band)], band)
        top = scale * (rows.starts[i + 1] if i + 1 < len(rows.starts) else rows.length)
    if image.shape[2:] == (4,):
        enlarged[..., 3] = _bicubic(image[..., 3], scale)
    return Upscaled(enlarged, route, rows, columns, margins, _macs(model, rows, columns, route))


def _margin(size: int) -> int:
    return max(0, -(-(_LEAST - size) // 2))


def _bands(
    model: Upscaler, image: np.ndarray, rows: Cut, columns: Cut, batch_size: int, verbose: str | int
) -> collections.abc.Iterator[tuple[np.ndarray, list[int]]]:
    """Per row of patches: the finished rows of the enlarged image, float32, and the branches that were chosen."""
    from rich.progress import track

    scale = model.scale
    across = [ramp[:, None] for ramp in columns.ramps(scale)]
    down = [ramp[:, None, None] for ramp in rows.ramps(scale)]
    hide = not (verbose is True or (verbose == "auto" and len(rows.starts) * len(columns.starts) >= 1000))
    open_band = np.zeros((scale * rows.size, scale * columns.length, 3), "float32")
    patches = _predicted(model, image, rows, columns, batch_size)
    for i in track(range(len(rows.starts)), "upscaling", disable=hide, console=_console(), transient=True):
        chosen = []
        for start, ramp in zip(columns.starts, across, strict=True):
            patch, branch = next(patches)
            open_band[:, scale * start : scale * (start + columns.size)] += patch * (ramp * down[i])
            chosen.append(branch)
        last = i + 1 == len(rows.starts)
        finished = scale * (rows.size if last else rows.starts[i + 1] - rows.starts[i])
        yield open_band[:finished], chosen
        rest = len(open_band) - finished
        open_band[:rest] = open_band[finished:].copy()
        open_band[rest:] = 0


def _predicted(
    model: Upscaler, image: np.ndarray, rows: Cut, columns: Cut, batch_size: int
) -> collections.abc.Iterator[tuple[np.ndarray, int]]:
    """Every patch in reading order, enlarged, with the branch that did it; computed in batches."""
    places = [(y, x) for y in rows.starts for x in columns.starts]
    network = model.at_size(rows.size, columns.size)
    for first in range(0, len(places), batch_size):
        batch = [image[y : y + rows.size, x : x + columns.size] for y, x in places[first : first + batch_size]]
        outputs = network.predict_on_batch(np.stack(batch).astype("float32"))
        dense = "routing_weights" not in outputs
        branches = [0] * len(batch) if dense else np.asarray(outputs["routing_weights"]).argmax(-1).tolist()
        yield from zip(np.asarray(outputs["prediction"]), branches, strict=True)


def _macs(model: Upscaler, rows: Cut, columns: Cut, route: np.ndarray) -> int:
    parts = model.macs_of_patch(rows.size, columns.size)
    always = sum(m for m in parts.values() if not isinstance(m, list))
    branches = next((m for m in parts.values() if isinstance(m, list)), [0])
    return int(always * route.size + sum(branches[k] for k in route.flat))


def _settings(patch: int, overlap: int, batch_size: int) -> tuple[int, int, int]:
    patch, overlap = integer("upscale", "patch", patch, _LEAST), integer("upscale", "overlap", overlap, 0)
    check("upscale", "patch", patch, patch > 2 * overlap, f"more than twice `overlap`, {overlap}")
    return patch, overlap, integer("upscale", "batch_size", batch_size, 1)


def _checked(image: np.ndarray) -> np.ndarray:
    image = np.asarray(image)
    if image.ndim not in (2, 3) or image.shape[2:] not in ((), (1,), (3,), (4,)) or 0 in image.shape:
        raise ValueError(
            "upscale: expected one image, (height, width) or (height, width, 1, 3 or 4), that is not empty. "
            f"Received: shape {image.shape}"
        )
    if image.dtype != np.uint8 and image.dtype.kind != "f":
        raise ValueError(
            "upscale: expected uint8, or floats in [0, 255]; divide 16-bit values by 257.0 first. "
            f"Received: dtype {image.dtype}"
        )
    if image.dtype.kind == "f" and not (image.min() >= 0 and image.max() <= 255):  # NaN compares false
        raise ValueError(f"upscale: expected floats in [0, 255], no NaN. Received: from {image.min()} to {image.max()}")
    return image


def _as_rgb(image: np.ndarray) -> np.ndarray:
    if image.ndim == 2:
        image = image[..., None]
    return image[..., :3] if image.shape[2] >= 3 else np.broadcast_to(image, (*image.shape[:2], 3))


def _write(target: np.ndarray, band: np.ndarray) -> None:
    """Clips, and for uint8 rounds, ``band``, RGB, into rows of the output, whatever its layout."""
    grey = target.ndim == 2 or target.shape[2] == 1
    band = np.clip(band.mean(-1).reshape(target.shape) if grey else band, 0, 255)
    colours = target if grey else target[..., :3]
    colours[:] = np.rint(band) if target.dtype == np.uint8 else band


def _bicubic(channel: np.ndarray, scale: int) -> np.ndarray:
    from PIL import Image

    size = (scale * channel.shape[1], scale * channel.shape[0])
    wide = Image.fromarray(channel if channel.dtype == np.uint8 else channel.astype("float32"))
    enlarged: np.ndarray = np.clip(np.asarray(wide.resize(size, Image.Resampling.BICUBIC)), 0, 255)
    return enlarged


def _console() -> "Console":
    from rich.console import Console

    return Console(stderr=True)
