"""Any Keras classifier turned into a mixture of experts."""

import typing

import keras

from keras_moe.checks import integer
from keras_moe.models.hydranet import HydraNet
from keras_moe.models.single_gated import SingleGatedMoE

SYSTEMS = ("single_gated", "hydranet")


def upcycle(
    classifier: keras.Model,
    split_at: str | None = None,
    num_experts: int = 4,
    system: str = "single_gated",
    **options: typing.Any,
) -> SingleGatedMoE | HydraNet:
    """A mixture of experts with the predictions of ``classifier``, for further training.

    The classifier is cut at a layer, and experts start as copies of the layers after the cut. ``"single_gated"`` keeps
    the whole classifier as a base that may predict alone, and adds experts to it (``SingleGatedMoE``). ``"hydranet"``
    replaces its tail by branches (``HydraNet``). Both copy the classifier and leave it unchanged.

    Args:
        classifier: a functional or ``Sequential`` Keras classifier with one input and one output ``(n, classes)``, that
            ends in logits or a softmax: of ``keras.applications``, KerasHub, KerasCV or your own. Models inside it are
            opened.
        split_at: name of the layer before the cut, whose output alone must be enough for the rest. None: the cut whose
            tail is nearest to a third of the multiply-accumulates.
        num_experts: int, number of experts.
        system: ``"single_gated"`` or ``"hydranet"``.
        **options: further arguments of the class's ``from_classifier``, such as ``top_k`` or ``threshold``.

    Returns:
        A ``SingleGatedMoE`` or ``HydraNet``. It ends in a softmax if the classifier does, else in logits.

    Raises:
        ValueError: an unknown system, fewer than two experts, an unknown layer (the message suggests the nearest
            names), a layer without a cut (the message lists those with one), or an unknown input size without
            ``split_at``; anything but a functional, channels_last classifier with one input, one output and at least
            two classes that ends in logits or a softmax.

    Example:
        >>> inputs = keras.Input((8, 8, 3))
        >>> x = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(inputs)
        >>> x = keras.layers.GlobalAveragePooling2D()(x)
        >>> classifier = keras.Model(inputs, keras.layers.Dense(5, "softmax")(x))
        >>> model = keras_moe.models.upcycle(classifier, split_at="conv", num_experts=2)
        >>> images = np.ones((1, 8, 8, 3))
        >>> np.allclose(model.predict(images, verbose=0), classifier.predict(images, verbose=0), atol=1e-5)
        True
    """
    if system not in SYSTEMS:
        raise ValueError(f"`system` must be one of {SYSTEMS}. Received: system={system!r}")
    num_experts = integer("upcycle", "num_experts", num_experts, 2)  # one expert needs no gate
    if system == "single_gated":
        return SingleGatedMoE.from_classifier(classifier, split_at, num_experts, **options)
    return HydraNet.from_classifier(classifier, split_at, num_experts, **{"top_k": min(2, num_experts), **options})
