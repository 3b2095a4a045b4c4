"""What a caller tells the expert banks: that no gradient will be asked for, or that every expert must run."""

import collections.abc
import contextlib
import contextvars

_promised = contextvars.ContextVar("inference_only", default=False)
_every = contextvars.ContextVar("every_expert", default=False)


@contextlib.contextmanager
def inference_only() -> collections.abc.Iterator[None]:
    """Inside, what is traced serves inference alone: expert banks may drop what only gradients and saving need.

    On TensorFlow a function that is traced inside runs faster with many experts, above all on one image; gradients
    through it miss the experts' variables, and it cannot be saved. Other backends need no promise and ignore it.
    ``predict`` and ``evaluate`` of the package's models are traced inside; a function of yours can be, too::

        answer = tf.function(model)
        with keras_moe.layers.inference_only():
            answer(images)  # the first call traces
    """
    token = _promised.set(True)
    try:
        yield
    finally:
        _promised.reset(token)


@contextlib.contextmanager
def every_expert() -> collections.abc.Iterator[None]:
    """Inside, expert banks run every expert on every row, for what cannot hold a choice that is made when it runs.

    The answers are the same. ``export`` of the package's models does this where need be. A ``keras.Model`` of your own
    that holds a bank needs it for ONNX on TensorFlow, whose converter otherwise writes a file that no runtime loads::

        with keras_moe.layers.every_expert():
            model.export("model.onnx", "onnx")
    """
    token = _every.set(True)
    try:
        yield
    finally:
        _every.reset(token)


def is_every_expert() -> bool:
    """Whether the caller runs inside ``every_expert``."""
    return _every.get()


def is_inference_only() -> bool:
    """Whether the caller runs inside ``inference_only``."""
    return _promised.get()
