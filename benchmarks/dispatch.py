"""Routed against dense and ideal, in images per second, on the backend that KERAS_BACKEND names.

    KERAS_BACKEND=torch python -m benchmarks.dispatch

The experts are branches of the published CIFAR-100 HydraNet (random weights: the time is the same). Per K experts,
batch n and k experts per image: *dense* runs all experts on all images, *ideal* runs k experts on the whole batch, as
if every image had chosen the same k; *routed* sends every image to k random ones. *apart* is what routed would cost
without routing: each expert on the images that chose it, cut out beforehand, nothing put back. *stacked*, on JAX and
PyTorch, is the experts as one batched computation (``benchmarks.stacked_experts``). All are compiled functions of the
backend, timed in turn within one run; the median of the rounds is printed. Where routed falls behind ideal but not
behind apart, the time goes into experts that are slower per image on few images.
"""

import argparse
import time

import keras
import numpy as np
from keras import ops

from benchmarks.stacked_experts import Stacked
from keras_moe import zoo
from keras_moe.layers import ExpertBank, inference_only
from keras_moe.layers.dispatch import dense
from keras_moe.models import HydraNet

STACKS = keras.backend.backend() != "tensorflow"
WAYS = ("dense", "ideal", "apart", *(["stacked"] if STACKS else []), "routed")
WARM = 12  # rounds; after ten calls the package traces on PyTorch


class Dense(ExpertBank):
    """The oracle: no expert is spared."""

    def call(self, features, routing_weights, training=False):
        return dense(self.experts, features, routing_weights, training)


class Ideal(ExpertBank):
    """The first k experts on the whole batch: what k of K would cost if routing were free."""

    def __init__(self, experts, k, **kwargs):
        super().__init__(experts, **kwargs)
        self.k = k

    def call(self, features, routing_weights, training=False):
        return dense(self.experts[: self.k], features, routing_weights, training)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experts", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32, 256])
    parser.add_argument("--ks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()

    print(f"{keras.backend.backend()}: images/s, median of {arguments.rounds} rounds")
    columns = [*(f"{of:>8}" for of in WAYS), *(f"{f'routed/{of}':>13}" for of in WAYS[:-1])]
    print(f"{'K':>3} {'n':>4} {'k':>2}", *columns)
    for count in arguments.experts:
        config = {**zoo.card("hydranet_cifar100").config, "num_experts": count}
        bank = HydraNet(**config).bank
        shape = bank.input[0].shape[1:]
        for n in arguments.batches:
            for k in arguments.ks:
                speeds = _speeds(bank.experts, shape, n, k, arguments.rounds)
                ratios = [f"{speeds['routed'] / speeds[of]:13.2f}" for of in WAYS[:-1]]
                print(f"{count:3} {n:4} {k:2}", *(f"{speeds[of]:8.0f}" for of in WAYS), *ratios, flush=True)


def _speeds(experts, shape, n, k, rounds):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, *shape)).astype("float32")
    w = np.zeros((n, len(experts)), "float32")
    for row in w:
        row[rng.choice(len(experts), k, replace=False)] = 1 / k
    runs = {name: _compiled(bank, x, w) for name, bank in (("dense", Dense(experts)), ("ideal", Ideal(experts, k)))}
    bank = ExpertBank(experts)
    runs["routed"] = _compiled(bank, x, w)
    runs["apart"] = _compiled(*_apart(experts, x, w))
    if STACKS:
        stacked = Stacked(experts, int(np.count_nonzero(w, axis=0).max()))
        _check_equal(bank(x, w), stacked(ops.convert_to_tensor(x), ops.convert_to_tensor(w)))
        runs["stacked"] = _compiled(stacked, x, w)
    seconds = {name: [] for name in runs}
    for round in range(WARM + rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if round >= WARM:
                seconds[name].append(time.perf_counter() - start)
    return {name: n / np.median(seconds[name]) for name in WAYS}


def _check_equal(y, other):
    np.testing.assert_allclose(ops.convert_to_numpy(y), ops.convert_to_numpy(other), rtol=1e-4, atol=1e-4)


def _apart(experts, x, w):
    """A function that runs each expert on rows of its own, and these rows. The sum leaves no output unused."""
    chosen = np.flatnonzero(w.any(axis=0))
    ran = [experts[k] for k in chosen]
    if keras.backend.backend() == "torch":
        from keras_moe.layers.torch_traces import Traced

        ran = [Traced(expert) for expert in ran]
    if keras.backend.backend() == "tensorflow":
        from keras_moe.layers.dispatch.tensorflow import with_fused_norms

        ran = [with_fused_norms(expert) for expert in ran]

    def run(*parts):
        return sum(ops.sum(expert(part)) for expert, part in zip(ran, parts, strict=True))

    return run, *(x[w[:, k] != 0] for k in chosen)


def _compiled(function, *arrays):
    """A function without arguments that runs ``function`` as ``predict`` would and waits for the result."""
    backend, tensors = keras.backend.backend(), [ops.convert_to_tensor(a) for a in arrays]
    if backend == "tensorflow":
        import tensorflow as tf

        rows = 1 if len(arrays[0]) == 1 else None  # as in ``predict``, the batch size is not known beforehand
        specs = [tf.TensorSpec([rows, *t.shape[1:]], t.dtype) for t in tensors]
        compiled = tf.function(lambda *tensors: function(*tensors), input_signature=specs)
        with inference_only():  # as in ``predict`` of the package's models
            compiled.get_concrete_function()
        return lambda: compiled(*tensors).numpy()
    if backend == "jax":
        import jax

        compiled = jax.jit(lambda *tensors: function(*tensors))
        return lambda: compiled(*tensors).block_until_ready()
    import torch

    def run():
        with torch.no_grad():
            function(*tensors)

    return run


if __name__ == "__main__":
    main()
