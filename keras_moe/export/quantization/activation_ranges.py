"""Ranges of activations for int8 that minimize the error, in place of the smallest and largest value observed.

A few extreme values would otherwise cost all others resolution; clipping them is the better trade where the mean square
error says so. The converter's own calibration also mixes tensors that share memory.
"""

import collections.abc

import numpy as np

from keras_moe.export.flatbuffer import packed, parsed
from keras_moe.types import Array

SAMPLES = 100
_VALUES = 4096  # of each tensor and sample
_SHRUNK = np.linspace(1.0, 0.4, 25)


def refined(
    calibrated: bytes, plain: bytes, samples: collections.abc.Iterable[dict[str, Array]], clipped: bool = True
) -> bytes:
    """A calibrated LiteRT model with better ranges in its main graph; branches of ``IF`` keep theirs.

    Args:
        calibrated: as the converter leaves it before it quantizes.
        plain: the same model in float.
        samples: iterable of dicts of arrays, the inputs.
        clipped: False: from the smallest to the largest value after all.
    """
    model, values = parsed(calibrated), _activations(plain, samples)
    for tensor in model.subgraphs[0].tensors:
        if tensor.name in values and tensor.quantization is not None and np.size(tensor.quantization.min) == 1:
            low, high = best_range(values[tensor.name], _SHRUNK if clipped else _SHRUNK[:1])
            tensor.quantization.min, tensor.quantization.max = (np.array([end], "float32") for end in (low, high))
    return packed(model)


def best_range(values: Array, factors: collections.abc.Sequence[float] | Array = _SHRUNK) -> tuple[float, float]:
    """``(low, high)`` around zero whose 256 steps represent ``values``, float array ``(n,)``, with the least error.

    ``factors``: of the whole range, those to choose from.
    """
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    if low == high:
        return low, high
    loss = [_loss(values, low * factor, high * factor) for factor in factors]
    factor = factors[int(np.argmin(loss))]
    return low * factor, high * factor


def _loss(values: Array, low: float, high: float) -> float:
    step = (high - low) / 255
    zero = np.rint(-low / step)
    steps = np.clip(np.rint(values / step) + zero, 0, 255) - zero
    return float(np.mean(np.square(steps * step - values)))


def _activations(plain: bytes, samples: collections.abc.Iterable[dict[str, Array]]) -> dict[bytes, Array]:
    """Name, bytes, of each float tensor that an operation makes -> some of its values, the extremes among them."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=plain,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    run, rng = interpreter.get_signature_runner("serving_default"), np.random.default_rng(0)
    computed = [t for t in interpreter.get_tensor_details() if t["dtype"] == np.float32 and t["name"]]
    observed: dict[bytes, list[Array | list[float]]] = {t["name"].encode(): [] for t in computed}
    for _, sample in zip(range(SAMPLES), samples, strict=False):
        run(**sample)
        for tensor in computed:
            values = interpreter.get_tensor(tensor["index"]).ravel()
            some = rng.choice(values, _VALUES) if values.size > _VALUES else values
            observed[tensor["name"].encode()] += [some, [values.min(), values.max()]] if values.size else []
    return {name: np.concatenate(parts) for name, parts in observed.items() if parts}
