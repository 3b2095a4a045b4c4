"""One interface for the data of stages: arrays, a ``PyDataset``, ``tf.data``, PyTorch's ``DataLoader``."""

import time
import typing
import warnings
from collections.abc import Callable, Iterator

import keras
import numpy as np
from keras import ops
from keras.src.trainers.data_adapters.py_dataset_adapter import OrderedEnqueuer

from keras_moe.batches import ImageBatches
from keras_moe.byte_order import native
from keras_moe.checks import fits
from keras_moe.types import Array, Shape

BatchSource: typing.TypeAlias = typing.Any
"""A ``keras.utils.PyDataset``, a ``tf.data.Dataset``, a PyTorch ``DataLoader`` or a pair of arrays."""
ToTargets: typing.TypeAlias = Callable[[typing.Any], dict[str, Array]]
Check: typing.TypeAlias = Callable[[Array, dict[str, Array]], None]


class SourceBatches(keras.utils.PyDataset):
    """The batches of any source as NumPy arrays and a dict of targets; counts the time that the source takes.

    Args:
        source: see ``BatchSource``. A ``PyDataset`` has its ``workers``, threads or processes, as in Keras' own
            ``fit``. Of an unbatched pair of arrays, batches of 32 in another order each epoch.
        to_targets: ``y -> dict``, from what the source gives to the targets of each output.
        input_shape: of the model, which images must have.
        check: called with the images and targets of every batch; raises for those that will not do.

    Attributes:
        is_exact: bool, whether an epoch's batches depend on its number alone, so that a resumed run sees the same.
        seconds: float, the time that was waited for the source.
        count: int, the images that it gave.

    Raises:
        ValueError: a source that does not say how many batches it has; images of another shape.
    """

    def __init__(self, source: BatchSource, to_targets: ToTargets, input_shape: Shape, check: Check) -> None:
        super().__init__()
        is_list = isinstance(source, list) and len(source) == 2 and all(hasattr(part, "shape") for part in source)
        if isinstance(source, tuple) or is_list:
            images, targets = source
            targets = np.asarray(targets) if isinstance(targets, list) else targets
            source = ImageBatches(images, targets, batch_size=min(32, len(images)), augment=False)
        self.source, self.to_targets, self.input_shape, self.check = source, to_targets, input_shape, check
        self.by_index = isinstance(source, keras.utils.PyDataset)
        self.in_background = self.by_index and (
            source.workers > 1 or (source.workers == 1 and source.use_multiprocessing)
        )
        self._length = _length(source)
        self._iterator: Iterator[typing.Any] = iter(())
        generator = getattr(source, "generator", None)  # a DataLoader's
        self._seed: int | None = None if generator is None else generator.initial_seed()
        self._epoch, self.seconds, self.count = 0, 0.0, 0
        in_order = type(getattr(source, "sampler", None)).__name__ == "SequentialSampler"  # a DataLoader's
        self.is_exact = hasattr(source, "epoch") or self._seed is not None or in_order

    @property
    def epoch(self) -> int:
        """The number of the epoch, from 0; to set it is to resume there."""
        return self._epoch

    @epoch.setter
    def epoch(self, value: int) -> None:
        self._epoch = value
        if hasattr(self.source, "epoch"):
            self.source.epoch = value
        if value and not self.is_exact:
            warnings.warn(
                f"Training goes on at epoch {value + 1}. The order of a {type(self.source).__name__} cannot be set, so "
                "the result is not the same as without the interruption. ImageBatches, FileBatches and a DataLoader "
                "with a `generator` of its own resume exactly.",
                stacklevel=2,
            )

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, i: int) -> tuple[Array, dict[str, Array]]:
        started = time.perf_counter()
        x, y, *more = self.source[i] if self.by_index and not self.in_background else self._next(i)
        if more:
            raise ValueError("A stage takes batches (images, targets). Received: batches with sample weights")
        images, targets = _array(x), self.to_targets(keras.tree.map_structure(_array, y))
        if not fits(images.shape[1:], self.input_shape):
            raise ValueError(
                f"Expected batches of images {('n', *self.input_shape)}, channels last. Received: {images.shape}"
            )
        self.check(images, targets)
        self.seconds += time.perf_counter() - started
        self.count += len(images)
        return images, targets

    def on_epoch_end(self) -> None:
        self._epoch += 1
        self._iterator = iter(())  # ends the workers
        if self.by_index:
            self.source.on_epoch_end()

    def _next(self, i: int) -> typing.Any:
        if i == 0:
            if self._seed is not None:
                self.source.generator.manual_seed(self._seed + self._epoch)
            self._iterator = _by_workers(self.source) if self.in_background else iter(self.source)
        return next(self._iterator)


class Throughput(keras.callbacks.Callback):
    """Adds to the logs of an epoch the images per second, and the share of the time that the data took.

    It is told once which of the two is the limit, after the second epoch: the first one compiles. Where it is the data,
    decode with more workers, or keep smaller pictures.

    Args:
        batches: ``SourceBatches``.
        name: str, of the stage.
        verbose: whether it is told.
    """

    def __init__(self, batches: SourceBatches, name: str, verbose: bool) -> None:
        super().__init__()
        self.batches, self.name, self.verbose = batches, name, verbose
        self._word, self._epochs = "", 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, typing.Any] | None = None) -> None:
        if self._epochs == 2:
            self._tell()  # of the epoch before, once Keras has ended its line
        self._began = time.perf_counter()
        self.batches.seconds, self.batches.count = 0.0, 0

    def on_epoch_end(self, epoch: int, logs: dict[str, typing.Any]) -> None:
        self._epochs += 1
        seconds = time.perf_counter() - self._began
        rate, share = self.batches.count / seconds, min(1.0, self.batches.seconds / seconds)
        logs["images_per_second"], logs["data_share"] = rate, share
        limit = "the data is" if share > _data_is_limit(self.batches) else "compute is"
        self._word = f"{self.name}: {rate:,.0f} images/s; {limit} the limit, the data took {share:.0%} of the time"

    def on_train_end(self, logs: dict[str, typing.Any] | None = None) -> None:
        self._tell()

    def _tell(self) -> None:
        if self.verbose and self._word:
            print(self._word)
            self.verbose = False


def _data_is_limit(batches: SourceBatches) -> float:
    """The share of the time from which on the network waits for the data."""
    if keras.backend.backend() == "tensorflow":  # makes the next batches meanwhile: in all of the time, if it must
        return 0.9
    return 0.1 if batches.in_background else 0.5  # what is waited for batches of workers is lost; else by turns


def _by_workers(source: keras.utils.PyDataset) -> Iterator[typing.Any]:
    """An epoch of batches in their order, made by as many threads or processes as the source asks for."""
    enqueuer = OrderedEnqueuer(source, source.workers, source.use_multiprocessing, source.max_queue_size)
    enqueuer.start()
    try:
        yield from enqueuer.get()
    finally:
        enqueuer.stop()


def _length(source: BatchSource) -> int:
    try:
        length = source.num_batches if isinstance(source, keras.utils.PyDataset) else len(source)
    except TypeError:
        length = None
    if length is None:
        raise ValueError(
            f"Expected data that knows how many batches it has. Received: a {type(source).__name__} without a length; "
            "of tf.data, take(n) or assert_cardinality(n) sets it."
        )
    return int(length)


def _array(value: typing.Any) -> Array:
    return native(value) if isinstance(value, np.ndarray) else np.asarray(ops.convert_to_numpy(_detached(value)))


def _detached(value: typing.Any) -> typing.Any:
    """A tensor of a backend other than Keras' own as an array."""
    return value.numpy() if hasattr(value, "numpy") else value
