"""A model that loads in the background and predicts in several threads at once.

It is the Keras model, not a LiteRT file: `zoo.load` takes a published name, a model folder and the Hub alike, of which
only the first has LiteRT files; `keras_moe.classify` gives its labels, experts and MACs; and any number of threads may
ask it at once. `keras_moe.export.LiteRTModel` is as safe, and faster for single images; it knows no MACs.
"""

import numpy as np

from keras_moe import zoo
from keras_moe.classify import classify
from keras_moe.images import read_image

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "AVIF", "TIFF", "BMP")  # not all of Pillow's: EPS, say, would start a program


class Classifier:
    """Starts as "starting"; `load` makes it "ready", or "failed"."""

    def __init__(self, name, max_pixels, top):
        self.name, self.max_pixels, self.status = name, max_pixels, "starting"
        self.card = zoo.card(name)
        if self.card.task != "classification" or self.card.input.range != "[0, 255]":
            raise ValueError(
                f"Expected a classifier of images in [0, 255]. Received: {name}, for {self.card.task} of images in "
                f"{self.card.input.range}"
            )
        if top < 1:
            raise ValueError(f"Expected one label of an image, or more. Received: {top}")
        self.top = min(top, len(self.card.classes))

    def load(self):
        try:
            self.model = zoo.load(self.name, classifier_activation="softmax")
            self.classify(np.zeros(self.card.input.shape))  # the first image takes longest
        except BaseException:
            self.status = "failed"
            raise
        self.status = "ready"

    def read(self, file):
        """An open image file as the model takes it; ValueError if it is none, TooManyPixels if it is too large."""
        return read_image(file, self.card.input.shape, self.max_pixels, FORMATS)

    def classify(self, image):
        (found,) = classify(self.model, self.card, image[None], self.top)
        return found
