"""The LiteRT graphs of each form, and the quantization of each graph. Runs on the TensorFlow backend only."""

import collections.abc
import contextlib
import dataclasses

from keras_moe.export.litert.calibration import DETOUR, CalibrationSamples, Sample, samples_of
from keras_moe.export.litert.convert import FloatTensors, convert
from keras_moe.export.litert.float_tensors import around_experts, outside_branches, reading
from keras_moe.export.litert.subgraphs import MAP, Subgraph, Subgraphs, Tensors, cut, whole
from keras_moe.export.quantization.cross_layer_equalization import equalized
from keras_moe.export.quantization.gptq import rounded
from keras_moe.models import MoEModel
from keras_moe.types import Array, Tensor


@dataclasses.dataclass(frozen=True)
class Graphs:
    """LiteRT models.

    Args:
        graphs: dict, name -> bytes; ``"model"`` alone where one graph is all.
        calibration: images routed to each expert, list of int; None without any or without experts.
    """

    graphs: dict[str, bytes]
    calibration: list[int] | None = None


@dataclasses.dataclass(frozen=True)
class OpenedModel:
    """A model that will be written in one form: opened once, the inputs that calibrate it gathered once.

    Args:
        model: an ``MoEModel``.
        form, quantize: ``litert``'s arguments, checked.
        subgraphs: the model cut around its expert bank; one subgraph where it has none.
        samples: what calibrates.
    """

    model: MoEModel
    form: str
    quantize: str | None
    subgraphs: Subgraph | Subgraphs
    samples: CalibrationSamples

    @property
    def layers(self) -> list[str]:
        """Names of the layers, those of experts too."""
        subgraphs = [self.subgraphs] if isinstance(self.subgraphs, Subgraph) else list(self.subgraphs)
        return [call.name for subgraph in subgraphs for call in subgraph.graph.calls]


def opened_model(model: MoEModel, form: str, quantize: str | None, representative_dataset: Array | None) -> OpenedModel:
    """The ``OpenedModel`` of a model; the arguments are ``litert``'s, checked."""
    subgraphs = whole(model) if model.bank is None else cut(model)
    if quantize in ("int8", "dynamic") and representative_dataset is not None:  # to see what int8 kernels do
        return OpenedModel(model, form, quantize, subgraphs, samples_of(subgraphs, representative_dataset))
    return OpenedModel(model, form, quantize, subgraphs, CalibrationSamples({}))


def build(opened: OpenedModel, trunk_precision: str | None) -> Graphs:
    """The ``Graphs`` of a model; ``trunk_precision`` is ``litert``'s argument."""
    if isinstance(opened.subgraphs, Subgraph):
        return _of_whole(opened, opened.subgraphs)
    return Graphs(_of_subgraphs(opened, opened.subgraphs, trunk_precision), opened.samples.counts)


def _of_whole(opened: OpenedModel, subgraph: Subgraph) -> Graphs:
    is_part = opened.form == "parts"
    with _ready_for_int8([subgraph], opened.samples):
        float_tensors = _in_float(opened.model) if opened.quantize == "int8" and not is_part else None
        samples = opened.samples.subgraphs.get(subgraph.name)
        converted = _convert(opened, subgraph, subgraph, opened.quantize, samples, is_part, float_tensors)
    return Graphs({"whole" if is_part else "model": converted})


def _of_subgraphs(opened: OpenedModel, subgraphs: Subgraphs, trunk_precision: str | None) -> dict[str, bytes]:
    quantized = (*subgraphs.experts, *([] if trunk_precision == "float" else [subgraphs.trunk]))
    with _ready_for_int8(quantized, opened.samples):
        if opened.form == "parts":
            return {subgraph.name: _part(opened, subgraph) for subgraph in subgraphs}
        is_routed = opened.form == "routed"
        run = _routed(subgraphs) if is_routed else _dense(subgraphs)
        samples = opened.samples
        calibration = samples.routed if is_routed and opened.quantize == "int8" else samples.subgraphs.get("trunk")
        float_tensors = _float_tensors(opened, trunk_precision)
        return {
            "model": _convert(opened, subgraphs.trunk, run, opened.quantize, calibration, float_tensors=float_tensors)
        }


@contextlib.contextmanager
def _ready_for_int8(
    subgraphs: collections.abc.Iterable[Subgraph], samples: CalibrationSamples
) -> collections.abc.Iterator[None]:
    """Inside, channels of ``subgraphs`` are equalized and kernels rounded; without ``samples`` nothing is done."""
    with contextlib.ExitStack() as stack:
        for subgraph in subgraphs if samples.subgraphs else ():
            inputs = [[sample[name] for name in subgraph.inputs] for sample in samples.subgraphs[subgraph.name]]
            stack.enter_context(equalized(subgraph.graph, inputs))
            stack.enter_context(rounded(subgraph.graph, inputs))
        yield


def _float_tensors(opened: OpenedModel, trunk_precision: str | None) -> FloatTensors | None:
    """What stays in float32 of a whole file: with float16 what decides the route, since little decides a near tie."""
    if opened.quantize == "float16":
        return outside_branches if opened.form == "routed" else None
    return _in_float(opened.model, outside_branches if trunk_precision == "float" else around_experts)


def _in_float(model: MoEModel, *choices: FloatTensors) -> FloatTensors:
    """The tensors that stay in float with int8, as a function for ``convert``; those that ``choices`` name among them.

    A network that classifies pixels loses most in the convolution that reads the image, and little time there.
    """
    if model.output_kind == "classes" and len(model.output_shape) == MAP:
        choices += (reading,)
    return lambda plain: [name for choice in choices for name in choice(plain)]


def _part(opened: OpenedModel, subgraph: Subgraph) -> bytes:
    # See ``Subgraphs`` and ``_float_tensors``.
    if subgraph.name == "router" or (subgraph.name == "trunk" and opened.quantize == "float16"):
        return _convert(opened, subgraph, subgraph, None)
    samples = opened.samples.subgraphs.get(subgraph.name)
    return _convert(opened, subgraph, subgraph, opened.quantize, samples, integer_io=True)


def _convert(
    opened: OpenedModel,
    subgraph: Subgraph,
    run: collections.abc.Callable[[Tensors], Tensors],
    quantize: str | None,
    samples: list[Sample] | None = None,
    integer_io: bool = False,
    float_tensors: FloatTensors | None = None,
) -> bytes:
    """LiteRT bytes of ``run``, which takes the inputs of ``subgraph``, by name.

    What samples have beyond these inputs calibrates alone. What is rare is clipped for the sake of the rest, but not
    where it shows: in a picture.
    """
    shapes = dict(zip(subgraph.inputs, (tuple(t.shape) for t in subgraph.model.inputs), strict=True))
    extra = {name: x.shape for name, x in samples[0].items() if name not in shapes} if samples else {}

    def function(*tensors: Tensor) -> Tensors:
        return run(dict(zip(shapes | extra, tensors, strict=True)))

    return convert(
        function,
        shapes | extra,
        opened.subgraphs.graph,
        quantize,
        samples,
        integer_io and quantize == "int8",
        float_tensors,
        clipped=opened.model.output_kind != "image",
        zeros=tuple(extra),
    )


def _routed(subgraphs: Subgraphs) -> collections.abc.Callable[[Tensors], Tensors]:
    def run(tensors: Tensors) -> Tensors:
        results = subgraphs.decide(tensors)
        if DETOUR in tensors:
            results["route"] += tensors[DETOUR]
        results["combined"] = subgraphs.bank(results["features"], results["route"])
        return {**subgraphs.head(results), "route": results["route"]}

    return run


def _dense(subgraphs: Subgraphs) -> collections.abc.Callable[[Tensors], Tensors]:
    def run(tensors: Tensors) -> Tensors:
        results = subgraphs.decide(tensors)
        outputs = [_weighed(expert, k, results) for k, expert in enumerate(subgraphs.experts)]
        results["combined"] = sum(outputs[1:], outputs[0])
        return {**subgraphs.head(results), "route": results["route"]}

    return run


def _weighed(expert: Subgraph, k: int, tensors: Tensors) -> Tensor:
    (output,) = expert(tensors).values()
    return output * tensors["route"][0, k]
