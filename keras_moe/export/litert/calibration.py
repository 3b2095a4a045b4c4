"""Inputs that calibrate the quantization of each subgraph, such that every expert sees some. TensorFlow backend."""

import dataclasses
import typing

import numpy as np

from keras_moe.export.litert.subgraphs import Subgraph, Subgraphs
from keras_moe.types import Array

IMAGES = 300  # calibrate; more changed nothing
PER_EXPERT = 20  # images at least, where there are as many
DETOUR = "detour"  # an input that only calibrates: weights that the route gets in addition
Sample: typing.TypeAlias = dict[str, Array]


@dataclasses.dataclass(frozen=True)
class CalibrationSamples:
    """Inputs that calibrate.

    Args:
        subgraphs: dict, name of a subgraph -> list of its inputs by name, a dict for each image; empty where nothing
            calibrates.
        routed: inputs of a whole routed file.
        counts: images routed to each expert, list of int; None without experts.
    """

    subgraphs: dict[str, list[Sample]]
    routed: list[Sample] | None = None
    counts: list[int] | None = None


def samples_of(subgraphs: Subgraph | Subgraphs, representative_dataset: Array) -> CalibrationSamples:
    """The ``CalibrationSamples`` of a model in subgraphs, or in one.

    The images are chosen so that each expert gets its share of those routed to it. An expert that too few were routed
    to also gets those that its gate logit puts nearest to it; the samples of a whole file send them on.
    """
    if isinstance(subgraphs, Subgraph):
        images = [{"images": image[None]} for image in representative_dataset[:IMAGES]]
        return CalibrationSamples({subgraphs.name: images})
    outputs = _run(subgraphs, representative_dataset)
    route, logits = (np.concatenate([f[name] for f in outputs]) for name in ("route", "gate_logits"))
    chosen = _balanced(route != 0)
    served = [[i for i in chosen if route[i, k]] for k in range(route.shape[1])]
    samples = {"trunk": [{"images": representative_dataset[i][None]} for i in chosen]}
    samples["head"] = _of_head(subgraphs, [outputs[i] for i in chosen])
    detours = []
    for k, indices in enumerate(served):
        nearest = _nearest(logits[:, k], indices)
        samples[f"expert_{k}"] = [{"features": outputs[i]["features"]} for i in (*indices, *nearest)]
        detours += [(representative_dataset[i][None], k) for i in nearest]
    routed = _with_detours(samples["trunk"], detours, len(served))
    return CalibrationSamples(samples, routed, [len(indices) for indices in served])


def _run(subgraphs: Subgraphs, images: Array) -> list[Sample]:
    """The outputs of trunk and router, by name, for each image."""
    import tensorflow as tf

    run = tf.function(lambda images: subgraphs.decide({"images": images}))
    return [{name: t.numpy() for name, t in run(tf.constant(image[None])).items()} for image in images]


def _of_head(subgraphs: Subgraphs, outputs: list[Sample]) -> list[Sample]:
    """The head's inputs, from the ``outputs`` of trunk and router."""
    import tensorflow as tf

    combine = tf.function(lambda features, route: subgraphs.bank(features, route))
    combined = [{**f, "combined": combine(f["features"], f["route"]).numpy()} for f in outputs]
    return [{name: tensors[name] for name in subgraphs.head.inputs} for tensors in combined]


def _nearest(logits: Array, indices: list[int]) -> list[int]:
    """The images beside ``indices`` with the greatest of one expert's ``logits``, so many that it gets enough."""
    missing = max(0, PER_EXPERT - len(indices))
    return [int(i) for i in np.argsort(-logits) if i not in indices][:missing]


def _with_detours(straight: list[Sample], detours: list[tuple[Array, int]], experts: int) -> list[Sample]:
    """Samples that go their way, then ``detours``: pairs of an image and the expert that it is sent to as well."""
    if not detours:
        return straight
    extra = np.eye(experts, dtype="float32")
    straight = [{**sample, DETOUR: np.zeros_like(extra[:1])} for sample in straight]
    return straight + [{"images": image, DETOUR: extra[k : k + 1]} for image, k in detours]


def _balanced(ran: Array) -> list[int]:
    """Indices of about ``IMAGES`` rows of ``ran``, bool ``(n, experts)``: of each expert's the first, then the rest."""
    first = [i for k in range(ran.shape[1]) for i in np.flatnonzero(ran[:, k])[:PER_EXPERT]]
    return list(dict.fromkeys([*first, *range(len(ran))]))[: max(IMAGES, len(set(first)))]
