"""Which LiteRT graphs a form is made of, and what calibrates each. Runs on the TensorFlow backend only."""

import contextlib
import dataclasses

import numpy as np

from keras_moe.export.litert.convert import convert
from keras_moe.export.litert.flatbuffer import around_experts, outside_branches, reading
from keras_moe.export.litert.subgraphs import MAP, Piece, Pieces, cut, whole
from keras_moe.export.quantization.cross_layer_equalization import equalized
from keras_moe.export.quantization.gptq import rounded

IMAGES = 300  # calibrate; more changed nothing
PER_EXPERT = 20  # images at least, where there are as many
_DETOUR = "detour"  # an input that only calibrates: weights that the route gets in addition


@dataclasses.dataclass(frozen=True)
class Graphs:
    """LiteRT models.

    Args:
        graphs: dict, name -> bytes; ``"model"`` alone where one graph is all.
        calibration: images routed to each expert, list of int; None without any or without experts.
    """

    graphs: dict
    calibration: list | None = None


def build(model, form, quantize, representative_dataset, trunk_precision):
    """The ``Graphs`` of ``model``; the arguments are ``litert``'s, checked."""
    if model.bank is None:
        return _plain(model, form, quantize, representative_dataset)
    pieces = cut(model)
    samples, counts = (
        _samples(pieces, representative_dataset) if _has_steps(quantize, representative_dataset) else (None, None)
    )
    quantized = (*pieces.experts, *([] if trunk_precision == "float" else [pieces.trunk]))
    with _ready_for_int8(quantized, samples):
        if form == "parts":
            return Graphs({piece.name: _part(piece, model, quantize, samples) for piece in pieces}, counts)
        run = _routed(pieces) if form == "routed" else _dense(pieces)
        kept = _kept(model, form, quantize, trunk_precision)
        seen = samples and samples["routed" if form == "routed" and quantize == "int8" else "trunk"]
        made = _convert(pieces.trunk, run, model, quantize, seen, kept=kept)
    return Graphs({"model": made}, counts)


def _plain(model, form, quantize, representative_dataset):
    piece, samples = whole(model), None
    if _has_steps(quantize, representative_dataset):
        samples = [{"images": image[None]} for image in representative_dataset[:IMAGES]]
    with _ready_for_int8([piece], samples and {piece.name: samples}):
        kept = _in_float(model) if quantize == "int8" and form != "parts" else None
        made = _convert(piece, piece, model, quantize, samples, form == "parts", kept)
    return Graphs({"whole" if form == "parts" else "model": made})


def _has_steps(quantize, representative_dataset):
    """Whether kernels will be int8, and there are images to see what that does."""
    return quantize in ("int8", "dynamic") and representative_dataset is not None


@contextlib.contextmanager
def _ready_for_int8(pieces, samples):
    """Inside, channels of ``pieces`` are equalized and kernels rounded; without ``samples`` nothing is done."""
    with contextlib.ExitStack() as stack:
        for piece in pieces if samples else ():
            inputs = [[sample[name] for name in piece.inputs] for sample in samples[piece.name]]
            stack.enter_context(equalized(piece.model, inputs))
            stack.enter_context(rounded(piece.model, inputs))
        yield


def _kept(model, form, quantize, trunk_precision):
    """What stays in float32 of a whole file: with float16 what decides the route, since little decides a near tie."""
    if quantize == "float16":
        return outside_branches if form == "routed" else None
    return _in_float(model, outside_branches if trunk_precision == "float" else around_experts)


def _in_float(model, *choices):
    """What stays in float with int8: a function for ``convert``, which also keeps what ``choices`` name.

    A network that classifies pixels loses most in the convolution that reads the image, and little time there.
    """
    if model.answers == "classes" and len(model.output_shape) == MAP:
        choices += (reading,)
    return lambda plain: [name for choice in choices for name in choice(plain)]


def _part(piece, model, quantize, samples):
    if piece.name == "router" or (piece.name == "trunk" and quantize == "float16"):  # see ``Pieces`` and ``_kept``
        return _convert(piece, piece, model, None)
    return _convert(piece, piece, model, quantize, samples and samples[piece.name], True)


def _convert(source, run, model, quantize, samples=None, integer_io=False, kept=None):
    """LiteRT bytes of ``run``, which takes the inputs of the piece ``source``, by name.

    What samples have beyond these inputs calibrates alone. What is rare is clipped for the sake of the rest, but not
    where it shows: in a picture.
    """
    shapes = dict(zip(source.inputs, (tuple(t.shape) for t in source.model.inputs), strict=True))
    extra = {name: x.shape for name, x in samples[0].items() if name not in shapes} if samples else {}

    def function(*tensors):
        return run(dict(zip(shapes | extra, tensors, strict=True)))

    integer_io = integer_io and quantize == "int8"
    clipped = model.answers != "image"
    seen = samples and (lambda: iter(samples))
    return convert(function, shapes | extra, model, quantize, seen, integer_io, kept, clipped, tuple(extra))


def _routed(pieces: Pieces):
    def run(tensors):
        found = _route(pieces, tensors)
        if _DETOUR in tensors:
            found["route"] += tensors[_DETOUR]
        found["combined"] = pieces.bank(found["features"], found["route"])
        return {**pieces.head(found), "route": found["route"]}

    return run


def _dense(pieces: Pieces):
    def run(tensors):
        found = _route(pieces, tensors)
        outputs = [_weighed(expert, k, found) for k, expert in enumerate(pieces.experts)]
        found["combined"] = sum(outputs[1:], outputs[0])
        return {**pieces.head(found), "route": found["route"]}

    return run


def _route(pieces, tensors):
    found = pieces.trunk(tensors)
    return {**found, **pieces.router(found)}


def _weighed(expert: Piece, k, found):
    (output,) = expert(found).values()
    return output * found["route"][0, k]


def _samples(pieces, representative_dataset):
    """``(samples, counts)``: dict, piece -> list of dicts of arrays; images routed to each expert, list of int.

    The images are chosen so that each expert gets its share of those routed to it. An expert that too few were routed
    to also gets those that its gate logit puts nearest to it; ``"routed"``, the samples of a whole file, sends them on.
    """
    import tensorflow as tf

    run = tf.function(lambda images: _route(pieces, {"images": images}))
    combine = tf.function(lambda features, route: pieces.bank(features, route))
    found = [{n: t.numpy() for n, t in run(tf.constant(image[None])).items()} for image in representative_dataset]
    route, logits = (np.concatenate([f[name] for f in found]) for name in ("route", "gate_logits"))
    chosen = _balanced(route != 0)
    served = [[i for i in chosen if route[i, k]] for k in range(route.shape[1])]
    samples = {"trunk": [{"images": representative_dataset[i][None]} for i in chosen]}
    for f in (found[i] for i in chosen):
        f["combined"] = combine(f["features"], f["route"]).numpy()
    samples["head"] = [{name: found[i][name] for name in pieces.head.inputs} for i in chosen]
    detours = []
    for k, own in enumerate(served):
        nearest = [i for i in np.argsort(-logits[:, k]) if i not in own][: max(0, PER_EXPERT - len(own))]
        samples[f"expert_{k}"] = [{"features": found[i]["features"]} for i in (*own, *nearest)]
        detours += [(representative_dataset[i][None], k) for i in nearest]
    samples["routed"] = _with_detours(samples["trunk"], detours, len(served))
    return samples, [len(own) for own in served]


def _with_detours(straight, detours, experts):
    """Samples that go their way, then ``detours``: pairs of an image and the expert that it is sent to as well."""
    if not detours:
        return straight
    extra = np.eye(experts, dtype="float32")
    straight = [{**sample, _DETOUR: np.zeros_like(extra[:1])} for sample in straight]
    return straight + [{"images": image, _DETOUR: extra[k : k + 1]} for image, k in detours]


def _balanced(ran):
    """Indices of about ``IMAGES`` rows of ``ran``, bool ``(n, experts)``: of each expert's the first, then the rest."""
    first = [i for k in range(ran.shape[1]) for i in np.flatnonzero(ran[:, k])[:PER_EXPERT]]
    return list(dict.fromkeys([*first, *range(len(ran))]))[: max(IMAGES, len(set(first)))]
