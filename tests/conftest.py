"""Every test runs on the backend that KERAS_BACKEND names; CI runs the suite once on each of the three.

Marked ``once`` is what tests Python around the networks (commands, pages, cards, the order of stages, refusals): it
runs on PyTorch alone. TensorFlow and JAX would take most of their time to compile the same networks for it again.
"""

import gc
import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import pytest

BACKEND = os.environ["KERAS_BACKEND"]

# Keras is imported where it is used: the process that hands out tests to workers, which wait for it, needs none.


@pytest.fixture(scope="session", autouse=True)
def quick_compilation():
    """What a test compiles runs a few times at most: less of it is compiled, and nothing optimized."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    if BACKEND == "jax":
        draw_by_numpy()


def draw_by_numpy():
    """Random values of JAX, which compiles for half a second for each shape of a weight; outside a trace by NumPy."""
    import jax
    import numpy as np
    from scipy.special import ndtr, ndtri

    def by_numpy(draw, quantile):
        def drawn(key, *, shape, dtype, **limits):
            if isinstance(key, jax.core.Tracer):
                return draw(key, shape=shape, dtype=dtype, **limits)
            uniform = np.random.default_rng(np.asarray(key)).random(shape)
            return jax.numpy.asarray(quantile(uniform, *limits.values()).astype(jax.numpy.dtype(dtype)))

        return drawn

    def truncated(uniform, lower, upper):
        return ndtri(ndtr(lower) + uniform * (ndtr(upper) - ndtr(lower)))

    jax.random.truncated_normal = by_numpy(jax.random.truncated_normal, truncated)
    jax.random.uniform = by_numpy(jax.random.uniform, lambda uniform, low, high: low + uniform * (high - low))


def pytest_collection_modifyitems(items):
    if BACKEND != "torch":
        for item in items:
            if item.get_closest_marker("once"):
                item.add_marker(pytest.mark.skip(reason="of no backend: runs on PyTorch, which compiles nothing"))


def pytest_collection_finish():
    """What was imported stays: collecting garbage, which each LiteRT conversion asks for, need not walk through it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def fresh():
    """Names, seeds and policies do not leak from one test to the next."""
    import keras

    keras.utils.clear_session(free_memory=False)  # collecting all garbage takes longer than most tests
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def backend():
    return BACKEND
