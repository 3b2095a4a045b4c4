"""How much the experts of a single-gated MoE count beside its base."""

import numpy as np
from keras import ops

from keras_moe.checks import check, class_labels
from keras_moe.layer_state import set_weights
from keras_moe.layers import Ensembler
from keras_moe.models.single_gated import SingleGatedMoE
from keras_moe.training.anytime import outputs_of_networks
from keras_moe.types import Array

_BOUNDS = (-3.0, 5.0)  # of the logarithm: from a twentieth of the base to 150 times as much


def fit_balance(model: SingleGatedMoE, images: Array, labels: Array) -> float:
    """Sets how much the experts count beside the base, by cross-entropy on held-out images.

    The plain average of the paper is of networks that know as much as each other. Where a base on fewer pixels knows
    less than the experts do, equal parts are worse than an expert alone.

    Args:
        model: a ``SingleGatedMoE`` with ``learned=True``; its early exit is disregarded, and left as it is.
        images, labels: ``(n, h, w, c)`` and int ``(n,)``: images that neither trained the model nor will measure it.

    Returns:
        The balance, a float: how many times as much as the base the experts count.

    Raises:
        ValueError: a model with ``learned=False``, or labels that are no classes of the model, one for each image.

    Example:
        >>> model = keras_moe.models.SingleGatedMoE((8, 8, 1), backbone="resnet8", classes=10, learned=True)
        >>> images, labels = datasets.digits()[1]
        >>> balance = training.fit_balance(model, images, labels)
        >>> np.allclose(np.exp(model.get_layer("ensembler").log_balance), balance)
        True
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    ensembler = model.get_layer("ensembler")
    check("fit_balance", "model", model.name, ensembler.learned, "a model with learned=True")
    labels = class_labels("fit_balance", "labels", labels, (len(images),), model.output_shape[-1])
    outputs = outputs_of_networks(model, images)
    route = ops.convert_to_numpy(model.get_layer("top_k")(outputs["gate_logits"]))
    experts = np.einsum("nk,nkc->nc", route, outputs["experts"])
    trial = Ensembler(learned=True, dtype="float32")  # leaves the model's own unchanged until the best is known
    trial.build(outputs["base"].shape, experts.shape, route.shape)

    def cross_entropy(log_balance: float) -> float:
        set_weights(trial, [np.asarray(log_balance)])
        logits = ops.convert_to_numpy(trial(outputs["base"], experts, route))
        return float(-log_softmax(logits, axis=-1)[np.arange(len(labels)), labels].mean())

    log_balance = minimize_scalar(cross_entropy, bounds=_BOUNDS, method="bounded").x
    set_weights(ensembler, [np.asarray(log_balance)])
    return float(np.exp(log_balance))
