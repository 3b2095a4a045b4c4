"""Threads that ask one model at once, its first questions among them, get what one thread gets."""

import concurrent.futures
import threading

import keras
import numpy as np
import pytest
from descriptors import deciding_moe

THREADS = 8
QUESTIONS = {
    "predict": lambda model, x: model.predict(x, verbose=0),
    "predict_on_batch": lambda model, x: model.predict_on_batch(x),
    "call": lambda model, x: keras.ops.convert_to_numpy(model(x)),
    "predict_routed": lambda model, x: np.concatenate(model.predict_routed(x), axis=1),
    "route": lambda model, x: model.route(x),
}


def ask(model, images, thread):
    """Every question about two of the images, each thread starting with another."""
    x = images[2 * thread : 2 * thread + 2]
    names = list(QUESTIONS)
    order = names[thread % len(names) :] + names[: thread % len(names)]
    return {name: np.asarray(QUESTIONS[name](model, x)) for name in order}


def test_eight_threads_at_once():
    (model, images), together = deciding_moe(), threading.Barrier(THREADS)
    weights = model.get_weights()

    def work(thread):
        together.wait()
        return ask(model, images, thread)

    with concurrent.futures.ThreadPoolExecutor(THREADS) as threads:
        got = list(threads.map(work, range(THREADS)))
    wanted = [ask(model, images, thread) for thread in range(THREADS)]
    assert len({found["predict"].tobytes() for found in wanted}) == THREADS, "a prediction mixed up would show"
    for found, expected in zip(got, wanted, strict=True):
        for name in QUESTIONS:
            np.testing.assert_allclose(found[name], expected[name], atol=1e-5, err_msg=name)
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(after, before)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="only there threads take turns")
def test_a_callback_may_ask_the_model_that_predicts():
    """The thread whose turn it is need not wait for itself."""
    (model, images), seen = deciding_moe(), []
    last = keras.callbacks.LambdaCallback(on_predict_end=lambda logs: seen.append(model.route(images)))
    model.predict(images, verbose=0, callbacks=[last])
    np.testing.assert_allclose(seen, [model.route(images)])
