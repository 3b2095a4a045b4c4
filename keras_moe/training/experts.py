"""Experts trained each alone: one after another in this process, in several processes, or on a cluster.

joblib runs the jobs. ``n_jobs`` asks for local processes; inside ``joblib.parallel_config("dask")`` or, after
``ray.util.joblib.register_ray()``, ``("ray")`` the same call uses that cluster. The training of an expert depends on
its own job alone: the engine does not change the result.
"""

import concurrent.futures.process
import contextlib
import dataclasses
import functools
import hashlib
import json
import pathlib
import typing
from collections.abc import Iterator

import joblib
import keras
import numpy as np

from keras_moe.batches import DrawnBatches
from keras_moe.checks import check, integer, number
from keras_moe.layer_state import set_weights
from keras_moe.models.single_gated import SingleGatedMoE
from keras_moe.training.classification import Recipe, adamw
from keras_moe.training.stages import History, Logs, freeze_all_but, jit_compile
from keras_moe.types import Array, LabelledImages, Path
from keras_moe.weights import read_tensors, write_tensors


@dataclasses.dataclass(frozen=True)
class _Job:
    """The training of one expert as plain data, which can be sent to another process."""

    expert: int
    model: dict[str, typing.Any]
    weights: list[Array]
    images: Array
    labels: Array
    probabilities: Array
    share: float
    recipe: Recipe
    verbose: str | int

    @functools.cached_property
    def key(self) -> str:
        """A digest of data, weights and settings."""
        digest = hashlib.sha256(json.dumps([self.expert, self.share, dataclasses.asdict(self.recipe)]).encode())
        for array in [*self.weights, self.probabilities, self.labels, self.images]:
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def train_experts(
    model: SingleGatedMoE,
    train: LabelledImages,
    folder: Path,
    recipe: Recipe,
    noise: float = 0.1,
    n_jobs: int | None = None,
    retries: int = 1,
    verbose: str | int = "auto",
) -> History:
    """Trains every expert of a single-gated MoE on images that the gate would send it, and a few others.

    Expert k learns alone (poster, step 4). Base and gate are frozen. An epoch is a ``1 / experts`` share of all images,
    drawn with probability in proportion to ``gate_k + noise``. The loss is that of the mean of base and expert, the
    prediction in use. Each finished expert is saved in ``folder`` at once (on Ray, which returns all results together,
    at the end); a second call trains the missing ones only. The weights do not depend on where the experts were
    trained: for that, on PyTorch an expert uses one CPU thread, and ``n_jobs`` puts more cores to use.

    Args:
        model: a ``SingleGatedMoE`` with a trained gate. Training starts from its experts' weights, which are replaced
            at the end.
        train: ``(images, labels)``: uint8 ``(n, h, w, c)`` and int ``(n,)``.
        folder: for ``expert_<k>.safetensors``; made if need be.
        recipe: the ``Recipe`` of each expert.
        noise: float > 0.
        n_jobs: the number of processes, an int other than 0, as in ``joblib.Parallel``; None: one expert after another
            in this process, or as ``joblib.parallel_config`` says.
        retries: int, restarts of experts whose worker died.
        verbose: as in ``fit``, for experts that train in this process; 0 hides the progress bar too.

    Returns:
        dict, ``"expert_<k>"`` -> list of logs, one dict of floats per epoch.

    Raises:
        RuntimeError: workers died more than ``retries`` times, or training failed; it names the missing experts. The
            finished ones are kept.
        ValueError: ``folder`` holds experts of another run.

    Example:
        >>> images, labels = datasets.digits()[0]
        >>> model = zoo.load("test_single_gated", classifier_activation=None)
        >>> recipe = training.Recipe(epochs=1, batch_size=50, augment=False)
        >>> history = training.train_experts(model, (images[:300], labels[:300]), "run", recipe, verbose=0)
        >>> list(history)
        ['expert_0', 'expert_1', 'expert_2']
    """
    noise, n_jobs = check_settings("train_experts", noise, n_jobs)
    retries = integer("train_experts", "retries", retries, 0)
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    jobs = _jobs(model, train, recipe, noise, verbose)
    for attempt in range(retries + 1):
        missing = [job for job in jobs if not _saved(job, folder)]
        if not missing:
            break
        try:
            _run(missing, folder, n_jobs, verbose)
        except concurrent.futures.process.BrokenProcessPool as error:
            if attempt == retries:
                raise RuntimeError(_complaint(jobs, folder, f"their worker died {attempt + 1} times")) from error
        except Exception as error:
            raise RuntimeError(_complaint(jobs, folder, f"{type(error).__name__}: {error}")) from error
    return _collect(model, jobs, folder)


def check_settings(owner: str, noise: float, n_jobs: int | None) -> tuple[float, int | None]:
    """``(noise, n_jobs)`` as Python's numbers; ValueError, in the name of ``owner``, for any other value."""
    n_jobs = integer(owner, "n_jobs", n_jobs, or_none=True)
    check(owner, "n_jobs", n_jobs, n_jobs != 0, "None, an int >= 1, or a negative one: all processors but as many")
    return number(owner, "noise", noise, above=0), n_jobs


def _jobs(model: SingleGatedMoE, train: LabelledImages, recipe: Recipe, noise: float, verbose: str | int) -> list[_Job]:
    images, labels = train
    gate = keras.Model(model.inputs, keras.layers.Softmax(dtype="float32")(model.gate["gate_logits"]))
    probabilities = np.asarray(gate.predict(images, batch_size=256, verbose=0), "float32") + noise
    experts = len(model.bank.experts)
    plain, weights = keras.saving.serialize_keras_object(model), model.get_weights()
    return [
        _Job(
            k, plain, weights, images, labels, probabilities[:, k], 1 / experts,
            dataclasses.replace(recipe, seed=recipe.seed * experts + k), verbose,
        )
        for k in range(experts)
    ]  # fmt: skip


def _run(jobs: list[_Job], folder: pathlib.Path, n_jobs: int | None, verbose: str | int) -> None:
    bar = keras.utils.Progbar(len(jobs), unit_name="expert", verbose=int(verbose != 0))
    engine, _ = joblib.parallel.get_active_backend()
    one_by_one = engine.supports_return_generator  # Ray's does not
    parallel = joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered" if one_by_one else "list")
    for done, (k, weights, logs) in enumerate(parallel(joblib.delayed(_train)(job) for job in jobs), start=1):
        metadata = {"key": next(job.key for job in jobs if job.expert == k), "logs": json.dumps(logs)}
        write_tensors(_path(folder, k), {str(i): w for i, w in enumerate(weights)}, metadata)
        bar.update(done)


def _train(job: _Job) -> tuple[int, list[Array], list[Logs]]:
    """``(expert, weights, logs)`` of one job; runs where joblib puts it."""
    model = keras.saving.deserialize_keras_object(job.model)
    set_weights(model, job.weights)
    freeze_all_but(model, ("experts",))
    network = model.with_expert(job.expert)
    data = DrawnBatches(
        job.images, job.labels, job.probabilities, job.share, batch_size=job.recipe.batch_size,
        augment=job.recipe.augment, seed=job.recipe.seed,
    )  # fmt: skip
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(adamw(job.recipe, len(data)), loss, metrics=["accuracy"], jit_compile=jit_compile())
    with _reproducible(network, job.recipe.seed):
        history = network.fit(data, epochs=job.recipe.epochs, shuffle=False, verbose=job.verbose).history
    logs = [dict(zip(history, map(float, values), strict=True)) for values in zip(*history.values(), strict=True)]
    return job.expert, model.bank.experts[job.expert].get_weights(), logs


@contextlib.contextmanager
def _reproducible(model: keras.Model, seed: int) -> Iterator[None]:
    """Training inside does not depend on the process or its past, and does not disturb it.

    ``seed`` sets the random layers. The order of PyTorch's sums depends on the number of CPU threads, and a worker has
    fewer: there an expert trains on one thread, and ``n_jobs`` puts more cores to use.
    """
    for i, state in enumerate(v for v in model.variables if v.name == "seed_generator_state"):
        state.assign([seed, i])
    if keras.backend.backend() != "torch":
        yield
        return
    import torch

    threads = torch.get_num_threads()
    with torch.random.fork_rng():  # Keras' dropout on PyTorch draws from the global generator
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def _collect(model: SingleGatedMoE, jobs: list[_Job], folder: pathlib.Path) -> History:
    logs: History = {}
    for job in jobs:
        tensors = read_tensors(_path(folder, job.expert))
        set_weights(model.bank.experts[job.expert], [tensors[str(i)] for i in range(len(tensors))])
        logs[f"expert_{job.expert}"] = json.loads(_metadata(job, folder)["logs"])
    return logs


def _saved(job: _Job, folder: pathlib.Path) -> bool:
    if not _path(folder, job.expert).exists():
        return False
    if _metadata(job, folder)["key"] != job.key:
        raise ValueError(
            f"{_path(folder, job.expert)} is of another run: its data, weights or recipe differ. Give another folder, "
            "or remove the file to train this expert anew."
        )
    return True


def _metadata(job: _Job, folder: pathlib.Path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(_path(folder, job.expert), "numpy") as file:
        metadata: dict[str, str] = file.metadata()
        return metadata


def _complaint(jobs: list[_Job], folder: pathlib.Path, why: str) -> str:
    missing = [job.expert for job in jobs if not _saved(job, folder)]
    return f"Experts {missing} were not trained ({why}). The others are in {folder}; call again to train these."


def _path(folder: pathlib.Path, expert: int) -> pathlib.Path:
    return folder / f"expert_{expert}.safetensors"
