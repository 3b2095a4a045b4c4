"""Batches of images with masks, augmented together."""

import numpy as np

from keras_moe.batches import ImageBatches, Targets
from keras_moe.training.mask_views import MaskViews, View
from keras_moe.types import Array


class MaskBatches(ImageBatches):
    """Shuffled, augmented batches of images and their masks, by seed and epoch alone, like ``ImageBatches``.

    Args:
        images: uint8 array ``(n, h, w, c)``, c 1 or 3.
        targets: integer or bool masks ``(n, h, w)``, or a dict of them. In a dict, arrays ``(n,)``, such as the
            domains of images, are passed on unchanged.
        batch_size: int. The last, smaller batch is left out.
        augment: bool, whether each image is seen in a random view.
        views: ``MaskViews``; None: a flip and windows of 2/3 to 1 of either side, bilinear. Masks take the nearest
            label, since a mean of labels is no label.
        seed: int.

    Yields:
        ``(images, targets)``: float32 ``(batch_size, h, w, c)``, masks int32 ``(batch_size, h, w)``.

    Raises:
        ValueError: fewer images than a batch, masks of another size than the images, or images that cannot be seen in
            these views: colours that are not uint8, turns of images that are not square.

    Example:
        >>> (scenes, masks, domains), _ = datasets.digit_scenes()
        >>> batches = training.MaskBatches(scenes, masks, batch_size=4)
        >>> images, targets = batches[0]
        >>> images.shape, targets.shape, targets.dtype
        ((4, 16, 16, 1), (4, 16, 16), dtype('int32'))
    """

    def __init__(
        self,
        images: Array,
        targets: Targets,
        batch_size: int = 8,
        augment: bool = True,
        views: MaskViews | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(images, targets, batch_size, augment, seed=seed)
        self.views = MaskViews() if views is None else views
        if augment:
            self.views.check(images)
        for target in targets.values() if isinstance(targets, dict) else [targets]:
            if target.shape not in (images.shape[:3], images.shape[:1]):
                raise ValueError(f"Expected masks {images.shape[:3]}, as the images. Received: {target.shape}")

    def __getitem__(self, i: int) -> tuple[Array, Targets]:
        rows = self._permutation()[i * self.batch_size : (i + 1) * self.batch_size]
        rng = np.random.default_rng((self.seed, self.epoch, i))
        views = [self.views.draw(self.images.shape[1:3], rng) for _ in rows] if self.augment else None
        images = self.images[rows]
        if views:
            images = np.stack([view.of_image(image) for view, image in zip(views, images, strict=True)])
        if isinstance(self.targets, dict):
            targets: Targets = {name: _views_of(target[rows], views) for name, target in self.targets.items()}
        else:
            targets = _views_of(self.targets[rows], views)
        return images.astype("float32"), targets


def _views_of(targets: Array, views: list[View] | None) -> Array:
    if views is not None and targets.ndim > 1:
        targets = np.stack([view.of_mask(mask) for view, mask in zip(views, targets, strict=True)])
    return targets.astype("int32")
