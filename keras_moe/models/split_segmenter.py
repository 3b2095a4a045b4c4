"""A segmentation network of the user's own as an expert: its features and its logits."""

import keras

from keras_moe.channels_last import check_network
from keras_moe.graph import open_graph, rebuild
from keras_moe.models.logits import without_softmax


def cut_segmenter(network: keras.Model, features: str | None, name: str, prefix: str) -> keras.Model:
    """Copy of a functional segmentation network, from images to ``[features, logits]``.

    Args:
        network: a functional network, ``(n, h, w, c)`` to logits ``(n, h, w, classes)`` or to a softmax over them.
        features: name of the layer whose output a gate reads; None: the last of those with the smallest map.
        name: str, of the copy.
        prefix: str, the start of the names of its layers.

    Raises:
        ValueError: several inputs or outputs, no map of classes at its end, unknown sizes, or an unknown layer.
    """
    graph = open_graph(network)
    check_network(network.name, graph.calls)
    calls, _ = without_softmax(graph.calls, network)
    logits = calls[-1].outputs
    if len(graph.inputs) != 1 or len(getattr(logits, "shape", ())) != 4:
        raise ValueError(
            f"Expected a network from one input to logits (n, h, w, classes). Received: {len(graph.inputs)} inputs and "
            f"output {getattr(logits, 'shape', logits)} of {network.name!r}"
        )
    if None in graph.inputs[0].shape[1:]:
        raise ValueError(f"Expected a network of known input sizes. Received: {graph.inputs[0].shape}")
    if logits.shape[1:3] != graph.inputs[0].shape[1:3]:
        raise ValueError(
            f"Expected logits for every pixel of images {graph.inputs[0].shape[1:3]}. Received: {logits.shape[1:3]} of "
            f"{network.name!r}; end it in an UpSampling2D"
        )
    if features is None:
        maps = [call.outputs for call in calls if len(getattr(call.outputs, "shape", ())) == 4]
        maps = [y for y in maps if y.shape[1] > 1]  # not the image as a whole, which some networks pool
        read = min(reversed(maps), key=lambda y: y.shape[1] * y.shape[2])
    else:
        read = calls[graph.index(features)].outputs
    return rebuild(calls, graph.inputs[0], [read, logits], name, prefix)


def check_alike(network: keras.Model, expert: keras.Model, k: int, classes: int) -> None:
    """Checks that a network can give its weights to an expert.

    Args:
        network: from images to ``[features, logits]``.
        expert: expert ``k`` of a mixture of ``classes`` classes.

    Raises:
        ValueError: another number of classes, other layers, or weights of other shapes.
    """
    logits = network.outputs[-1]
    if logits.shape[-1] != classes:
        raise ValueError(f"Expected networks of {classes} classes. Received: {logits.shape[-1]} of network {k}")
    mine, other = ([_function(layer) for layer in model.layers[1:]] for model in (network, expert))
    shapes = [[tuple(w.shape) for w in model.weights] for model in (network, expert)]
    if shapes[0] != shapes[1] or mine != other:
        raise ValueError(
            f"Network {k} has other layers than expert {k}: {len(shapes[0])} weights against {len(shapes[1])}, or of "
            "other shapes, or used in another way. Experts have one architecture: give all of them one `backbone`, "
            "`alpha` and `include_preprocessing`."
        )


def _function(layer: keras.Layer) -> tuple[str, str]:
    """The class and the configuration of a layer, equal for layers that compute the same from the same weights."""
    aside = ("name", "trainable", "dtype", "seed", "initializer", "regularizer", "constraint")
    return type(layer).__name__, str({k: v for k, v in layer.get_config().items() if not k.endswith(aside)})
