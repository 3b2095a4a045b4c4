"""``finetune``: reads, caches, learns in stages, fits the budget, measures, saves, and writes a page."""

import contextlib
import pathlib
import shutil
import sys

import keras

from keras_moe.datasets import read_labelled_files
from keras_moe.models import MoEModel
from keras_moe.training.finetuning.naming import check_out, check_start
from keras_moe.training.finetuning.plan import FineTuningSettings
from keras_moe.training.finetuning.progress import identify, say, track
from keras_moe.training.finetuning.result import FineTuned, finish
from keras_moe.training.finetuning.start import start_from
from keras_moe.training.finetuning.training import Training
from keras_moe.types import Path


def finetune(
    start: Path | MoEModel,
    data: Path,
    out: Path,
    *,
    size: int | None = None,
    epochs: int | None = None,
    minutes: float | None = None,
    budget: float | None = None,
    dense: bool = False,
    num_experts: int = 4,
    batch_size: int | None = None,
    most_unreadable: float = 0.1,
    split_look_alikes: bool = False,
    latency: bool = True,
    seed: int = 0,
    verbose: bool = True,
) -> FineTuned:
    """Fine-tunes a classifier on images of your own, and saves it as a model folder with a page on how good it is.

    1. The images are read and split (``datasets.read_labelled_files``), and features of the trunk, which stays as it
       is at first, are cached for the whole images and random views of them.
    2. *dense*: the head learns alone, then everything behind the trunk with it. Of a published mixture that is its
       baseline, if that begins with the same weights: experts that know other classes than yours are left out. Where
       there is no such baseline, there is no *dense*.
    3. *thin*, where experts have fewer blocks: the same network without them learns from all images and from *dense*;
       without that it starts as the mean of the published experts.
    4. *gate*: it learns which group of classes, for which an expert is meant, an image belongs to. *mixture*: experts
       start as copies of the network before, and learn with the gate.
    5. *all*: the whole network, from the files, gently.
    6. The knob (``drop_below`` or ``threshold``) is set on the validation part, and the test part is measured; an image
       is timed by LiteRT.

    Each stage keeps the weights that are most accurate on the validation part, of equal ones those of least loss, and
    ends when half of its epochs brought no better ones. The same call goes on where it was interrupted, ``kill -9``
    included, wherever the same images and ``start`` lie by then, and with other ``minutes`` and ``budget``, for what is
    left; what it keeps for that lies in ``<out>.run`` and is removed at the end.

    Args:
        start: ``"efficientnet_lite0"`` (or ``1``, ``2``; extra ``imagenet``); the name of a published classifier, or
            the folder of one; or a ``HydraNet``, ``SingleGatedMoE`` or ``Classifier``, which stays as it is. The result
            is a ``SingleGatedMoE`` for one, else a ``HydraNet``.
        data: a folder with a folder for each class, perhaps below ``train``, ``val`` and ``test``; or a ``.csv`` file.
        out: path of the new folder.
        size: int, sides of the images in pixels; None: those of ``start``.
        epochs: int, at most, of *dense* and *thin*; None: 4 to 20, more for few images.
        minutes: float, of learning, about; None: as long as it takes.
        budget: float, mean multiply-accumulates per image; None: the cheapest operation that costs half a point of
            accuracy at most, on the validation part; of a ``HydraNet`` no more than the dense network, where possible.
        dense: bool. True: a network without experts, a ``Classifier``, for comparison.
        num_experts: int, of a mixture that is grown from a dense network.
        batch_size: int; None: 32, fewer of few images.
        most_unreadable, split_look_alikes: as for ``datasets.read_labelled_files``.
        latency: bool, whether the result is timed by LiteRT on this machine for the page; only with TensorFlow and the
            extra ``litert``.
        seed: int, of split, order and views.
        verbose: bool, whether progress is printed, on stderr.

    Returns:
        ``FineTuned``.

    Raises:
        FileExistsError: ``out`` is there already, or ``<out>.run`` and no fine-tuning's.
        FileNotFoundError, ValueError: see ``datasets.read_labelled_files``; an unknown ``start``, one that is no
            classifier, ``out`` in ``data`` or named like a published model, a budget below the least that the network
            costs, or ``<out>.run`` of another call.

    Example:
        >>> from PIL import Image
        >>> import pathlib
        >>> rng = np.random.default_rng(0)
        >>> for label in ("light", "dark"):
        ...     pathlib.Path("tones", label).mkdir(parents=True)
        ...     for i in range(8):
        ...         noise = rng.integers(0, 90, (32, 32), "uint8") + (150 if label == "light" else 0)
        ...         Image.fromarray(noise.astype("uint8")).save(f"tones/{label}/{i}.png")
        >>> tuned = training.finetune("test_hydranet", "tones", "tones_model", epochs=1, latency=False, verbose=False)
        >>> zoo.card("tones_model").classes
        ('dark', 'light')
    """
    settings = FineTuningSettings(
        size, epochs, minutes, budget, dense, num_experts, batch_size, most_unreadable, split_look_alikes, latency, seed
    )
    target = pathlib.Path(out)
    check_out(target, data)
    work = target.with_name(f"{target.name}.run")
    with contextlib.redirect_stdout(sys.stderr):
        check_start(start)
        files = read_labelled_files(
            data, most_unreadable=settings.most_unreadable, split_look_alikes=settings.split_look_alikes,
            seed=settings.seed, track=track("reading", verbose),
        )  # fmt: skip
        say(files.text(), verbose)
        keras.utils.set_random_seed(settings.seed)
        begun = start_from(start, len(files.classes), settings.size, settings.num_experts)
        training = Training(begun, files, settings, work, verbose)
        identify(work, start, files, settings)  # once nothing else is refused: a slip leaves no folder
        learned = training.learn()
        tuned = finish(learned, begun, files, settings, work, target, verbose)
    shutil.rmtree(work)
    return tuned
