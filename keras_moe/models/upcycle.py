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
    """A mixture of experts that answers as ``classifier`` does, until it is trained further.

    The classifier is cut at a layer; experts start as copies of what comes after it. ``"single_gated"`` keeps the whole
    classifier as a base that may answer alone and adds the experts to it (``SingleGatedMoE``); ``"hydranet"`` replaces
    its tail by branches (``HydraNet``). The classifier itself is copied and stays as it is.

    Args:
        classifier: a functional or ``Sequential`` Keras classifier with one input and one output ``(n, classes)``, that
            ends in logits or a softmax: of ``keras.applications``, KerasHub, KerasCV or your own. Models inside it are
            opened.
        split_at: name of the layer after which it is cut; its output must be all that the rest needs. None: the cut
            whose tail is nearest to a third of the multiply-accumulates.
        num_experts: int, number of experts.
        system: ``"single_gated"`` or ``"hydranet"``.
        **options: further arguments of the class's ``from_classifier``, such as ``top_k`` or ``threshold``.

    Returns:
        A ``SingleGatedMoE`` or ``HydraNet``. It ends in a softmax if the classifier does, else in logits.

    Raises:
        ValueError: an unknown system, an unknown layer (the nearest names are suggested), a layer where one cannot cut
            (those where one can are listed), anything but a functional classifier that is channels_last, several inputs
            or outputs, an end that is neither logits nor a softmax of two classes or more, an unknown input size
            without ``split_at``, or fewer than two experts.
    """
    if system not in SYSTEMS:
        raise ValueError(f"`system` must be one of {SYSTEMS}. Received: system={system!r}")
    num_experts = integer("upcycle", "num_experts", num_experts, 2)  # one expert needs no gate
    if system == "single_gated":
        return SingleGatedMoE.from_classifier(classifier, split_at, num_experts, **options)
    return HydraNet.from_classifier(classifier, split_at, num_experts, **{"top_k": min(2, num_experts), **options})
