"""PSNR and SSIM by the protocol that super-resolution papers share, stated in full."""

import numpy as np
import numpy.typing as npt

from keras_moe.checks import integer


def psnr(image: npt.ArrayLike, reference: npt.ArrayLike, border: int = 0) -> float:
    """Peak signal-to-noise ratio in dB over all pixels and channels; infinite for equal images.

    Args:
        image, reference: arrays ``(h, w)`` or ``(h, w, c)`` in [0, 255], of one shape.
        border: int, pixels left out at every side; papers leave out as many as the scale.

    Raises:
        ValueError: shapes that differ, or nothing left inside the border.

    Example:
        Every pixel is off by 25.5, a tenth of the peak.

        >>> round(metrics.psnr(np.full((4, 4), 25.5), np.zeros((4, 4))), 6)
        20.0
    """
    inside, expected = _inner("psnr", image, reference, border)
    return float(psnr_from_mse(np.mean((inside - expected) ** 2)))


def psnr_from_mse(mean_squared_error: npt.ArrayLike) -> np.ndarray:
    """Peak signal-to-noise ratio of images in [0, 255] in dB: ``10 log10(255^2 / MSE)``; infinite where MSE is 0.

    Args:
        mean_squared_error: floats >= 0, of any shape.

    Returns:
        floats of the same shape and dtype.

    Example:
        >>> metrics.psnr_from_mse([255.0**2, 25.5**2]).round(6)
        array([ 0., 20.])
    """
    with np.errstate(divide="ignore"):
        decibels: np.ndarray = 10 * np.log10(np.divide(255**2, mean_squared_error))
    return decibels


def ssim(image: npt.ArrayLike, reference: npt.ArrayLike, border: int = 0) -> float:
    """Structural similarity (Wang et al., 2004), mean over pixels and channels.

    Gaussian window 11x11 with standard deviation 1.5, K1 = 0.01, K2 = 0.03, and only where the window lies inside the
    image. Arguments and errors as for ``psnr``; 11 pixels must be left.

    Example:
        >>> image = np.arange(16 * 16).reshape(16, 16)
        >>> metrics.ssim(image, image)
        1.0
    """
    from scipy.ndimage import gaussian_filter

    x, y = _inner("ssim", image, reference, border, least=11)

    def smooth(values: np.ndarray) -> np.ndarray:
        filtered: np.ndarray = gaussian_filter(values, 1.5, radius=5, axes=(0, 1))
        return filtered[5:-5, 5:-5]

    mean_x, mean_y = smooth(x), smooth(y)
    var_x, var_y = smooth(x**2) - mean_x**2, smooth(y**2) - mean_y**2
    covariance = smooth(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return float(np.mean(similarity / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))))


def luma(image: npt.ArrayLike) -> np.ndarray:
    """The luma Y of ITU-R BT.601 in studio range, [16, 235], as papers measure it.

    Args:
        image: ``(h, w, 3)``, RGB in [0, 255].

    Returns:
        float64 ``(h, w)``.

    Example:
        >>> metrics.luma([[[0, 0, 0], [255, 255, 255]]]).round(6)  # black and white
        array([[ 16., 235.]])
    """
    y: np.ndarray = np.asarray(image, "float64") @ np.array([65.481, 128.553, 24.966]) / 255 + 16
    return y


def _inner(
    owner: str, image: npt.ArrayLike, reference: npt.ArrayLike, border: int, least: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    border = integer(owner, "border", border, 0)
    if np.shape(image) != np.shape(reference) or min(np.shape(image)[:2]) - 2 * border < least:
        raise ValueError(
            f"Expected two images of one shape, {least} pixels or more inside a border of {border}. "
            f"Received: shapes {np.shape(image)} and {np.shape(reference)}"
        )
    inside = (slice(border, np.shape(image)[0] - border), slice(border, np.shape(image)[1] - border))
    return np.asarray(image, "float64")[inside], np.asarray(reference, "float64")[inside]
