"""A LiteRT model predicts in any number of threads, in a process that was forked, and in one that was sent a copy."""

import concurrent.futures
import os
import pickle
import threading

import keras
import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="needs the extra `litert`")

from keras_moe.export import LiteRTModel
from keras_moe.export.litert import interpreters
from keras_moe.images import crops
from keras_moe.zoo.store import published_folder

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="of no backend: once is enough")

IMAGES = crops((32, 32, 3), 40)
FILES = {  # routed, integers at the borders of many files, and a network without a route
    "routed": "hydranet_cifar100/routed_int8.tflite",
    "parts": "hydranet_cifar100/parts_int8.json",
    "dense": "resnet14_cifar100/routed_int8.tflite",
}


@pytest.fixture(params=FILES)
def path(request):
    return published_folder() / FILES[request.param]


def outputs(found):
    return [part for part in found if part is not None]


def test_eight_threads_get_what_one_gets(path):
    one, model = LiteRTModel(path), LiteRTModel(path)
    wanted = [outputs(one.predict_routed(image[None])) for image in IMAGES]
    assert len({row[0].tobytes() for row in wanted}) == len(IMAGES), "a prediction that was mixed up would show"
    together = threading.Barrier(8)

    def ask(first):
        together.wait()
        return {i: outputs(model.predict_routed(IMAGES[i][None])) for i in range(first, len(IMAGES), 8)}

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        got = {i: found for part in threads.map(ask, range(8)) for i, found in part.items()}
    for i, expected in enumerate(wanted):
        for a, b in zip(got[i], expected, strict=True):
            np.testing.assert_array_equal(a, b)
    assert 0 < model.runtime_seconds < 60


def test_as_many_interpreters_as_calls_at_once_and_no_more_than_processors(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    model = LiteRTModel(published_folder() / FILES["routed"])
    for image in IMAGES[:3]:
        model.predict(image[None])
    assert len(model._pool._made) == 1
    inside, release, waited = threading.Barrier(3), threading.Event(), []

    def borrow():
        with model._pool.lent():
            inside.wait()
            release.wait()

    def third():
        waited.append(model.predict(IMAGES[:1]))

    threads = [threading.Thread(target=borrow) for _ in range(2)]
    for thread in threads:
        thread.start()
    inside.wait()  # both hold a set
    threads.append(threading.Thread(target=third))
    threads[-1].start()
    threads[-1].join(0.2)
    assert not waited
    release.set()
    for thread in threads:
        thread.join()
    assert (len(waited), len(model._pool._made)) == (1, 2)


def test_a_call_that_fails_gives_its_interpreters_back():
    model = LiteRTModel(published_folder() / FILES["routed"])
    wanted = model.predict(IMAGES[:1])
    for _ in range(3):
        with pytest.raises(ValueError, match="float"):
            model.predict(np.full((1, 32, 32, 3), "a pixel"))
    np.testing.assert_array_equal(model.predict(IMAGES[:1]), wanted)
    assert len(model._pool._made) == 1


def test_a_pickled_copy(path):
    model = LiteRTModel(path)
    copy = pickle.loads(pickle.dumps(model))
    assert (copy.labels, copy.description, copy.runtime_seconds) == (model.labels, model.description, 0)
    for a, b in zip(outputs(copy.predict_routed(IMAGES[:2])), outputs(model.predict_routed(IMAGES[:2])), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_makes_its_own(monkeypatch):
    model = LiteRTModel(published_folder() / FILES["routed"], num_threads=4)
    first, child = model._pool._made, os.getpid() + 1
    monkeypatch.setattr(os, "getpid", lambda: child)
    model.predict(IMAGES[:1])
    assert model._pool._made is not first
    assert any(kept is first for kept in interpreters._OF_THE_PARENT), "freeing them there is a crash"
