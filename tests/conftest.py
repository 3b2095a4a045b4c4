"""Every test runs on the backend that KERAS_BACKEND names; CI runs the suite once on each of the three.

Marked ``once`` is what tests Python around the networks (commands, pages, cards, the order of stages, refusals): it
runs on PyTorch alone. TensorFlow and JAX would take most of their time to compile the same networks for it again.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import keras
import pytest

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    # A test runs its graphs a few times at most: optimizing them costs more than it gives.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


def pytest_collection_modifyitems(items):
    if keras.backend.backend() != "torch":
        for item in items:
            if item.get_closest_marker("once"):
                item.add_marker(pytest.mark.skip(reason="of no backend: runs on PyTorch, which compiles nothing"))


@pytest.fixture(autouse=True)
def fresh():
    """Names, seeds and policies do not leak from one test to the next."""
    keras.utils.clear_session(free_memory=False)  # collecting all garbage takes longer than most tests
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture
def backend():
    return keras.backend.backend()
