"""A promise that lets expert banks take a shorter way: no gradient will be asked for."""

import contextlib
import contextvars

_promised = contextvars.ContextVar("inference_only", default=False)


@contextlib.contextmanager
def inference_only():
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


def is_inference_only():
    """Whether the caller runs inside ``inference_only``."""
    return _promised.get()
