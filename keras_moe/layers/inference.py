"""Two contexts for expert banks: inference without gradients, and computation of every expert."""

import collections.abc
import contextlib
import contextvars

_promised = contextvars.ContextVar("inference_only", default=False)
_every = contextvars.ContextVar("every_expert", default=False)


def inference_only() -> contextlib.AbstractContextManager[None]:
    """A context in which functions are traced for inference alone, without gradients and without saving.

    On TensorFlow a function traced inside runs faster with many experts, most of all on one image. Gradients through it
    miss the experts' variables, and it cannot be saved. The other backends ignore the context. ``predict`` and
    ``evaluate`` of the package's models are traced inside. A function of your own can be, too::

        predict = tf.function(model)
        with keras_moe.layers.inference_only():
            predict(images)  # the first call traces

    Example:
        >>> bank = keras_moe.layers.ExpertBank([keras.layers.Rescaling(1.0), keras.layers.Rescaling(10.0)])
        >>> with keras_moe.layers.inference_only():
        ...     outputs = bank(np.array([[1.0], [2.0]]), np.array([[1.0, 0.0], [0.0, 1.0]]))
        >>> keras.ops.convert_to_numpy(outputs)
        array([[ 1.],
               [20.]], dtype=float32)
    """
    return _inside(_promised)


def every_expert() -> contextlib.AbstractContextManager[None]:
    """A context in which expert banks run every expert on every row, for formats without choices at run time.

    The outputs are the same. ``export`` of the package's models enters it for the formats that need it. A
    ``keras.Model`` of your own with a bank needs it for ONNX on TensorFlow: outside, the converter writes a file that
    no runtime loads::

        with keras_moe.layers.every_expert():
            model.export("model.onnx", "onnx")

    Example:
        >>> bank = keras_moe.layers.ExpertBank([keras.layers.Rescaling(1.0), keras.layers.Rescaling(10.0)])
        >>> with keras_moe.layers.every_expert():
        ...     outputs = bank(np.array([[1.0], [2.0]]), np.array([[1.0, 0.0], [0.0, 1.0]]))
        >>> keras.ops.convert_to_numpy(outputs)
        array([[ 1.],
               [20.]], dtype=float32)
    """
    return _inside(_every)


def is_every_expert() -> bool:
    """Whether the caller runs inside ``every_expert``."""
    return _every.get()


def is_inference_only() -> bool:
    """Whether the caller runs inside ``inference_only``."""
    return _promised.get()


@contextlib.contextmanager
def _inside(context: contextvars.ContextVar[bool]) -> collections.abc.Iterator[None]:
    token = context.set(True)
    try:
        yield
    finally:
        context.reset(token)
