"""PSNR and SSIM by the protocol that super-resolution papers share, stated in full."""

import numpy as np

from keras_moe.checks import integer


def psnr(image, reference, border=0):
    """Peak signal-to-noise ratio in dB over all pixels and channels: ``10 log10(255^2 / MSE)``; infinite if equal.

    Args:
        image, reference: arrays ``(h, w)`` or ``(h, w, c)`` in [0, 255], of one shape.
        border: int, pixels left out at every side; papers leave out as many as the scale.

    Raises:
        ValueError: shapes that differ, or nothing left inside the border.
    """
    image, reference = _inner("psnr", image, reference, border)
    error = np.mean((image - reference) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def ssim(image, reference, border=0):
    """Structural similarity (Wang et al., 2004), mean over pixels and channels.

    Gaussian window 11x11 with standard deviation 1.5, K1 = 0.01, K2 = 0.03, and only where the window lies inside the
    image. Arguments and errors as for ``psnr``; 11 pixels must be left.
    """
    from scipy.ndimage import gaussian_filter

    image, reference = _inner("ssim", image, reference, border, least=11)

    def smooth(x):
        return gaussian_filter(x, 1.5, radius=5, axes=(0, 1))[5:-5, 5:-5]

    mean_x, mean_y = smooth(image), smooth(reference)
    var_x, var_y = smooth(image**2) - mean_x**2, smooth(reference**2) - mean_y**2
    covariance = smooth(image * reference) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return float(np.mean(similarity / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))))


def luma(image):
    """Y of ITU-R BT.601 in studio range, [16, 235], as papers measure it: ``(h, w, 3)`` to float64 ``(h, w)``."""
    return np.asarray(image, "float64") @ np.array([65.481, 128.553, 24.966]) / 255 + 16


def _inner(owner, image, reference, border, least=1):
    border = integer(owner, "border", border, 0)
    if np.shape(image) != np.shape(reference) or min(np.shape(image)[:2]) - 2 * border < least:
        raise ValueError(
            f"Expected two images of one shape, {least} pixels or more inside a border of {border}. "
            f"Received: shapes {np.shape(image)} and {np.shape(reference)}"
        )
    inside = (slice(border, np.shape(image)[0] - border), slice(border, np.shape(image)[1] - border))
    return np.asarray(image, "float64")[inside], np.asarray(reference, "float64")[inside]
