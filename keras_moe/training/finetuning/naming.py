"""What START and OUT name, told before anything is read."""

import os
import pathlib

from keras_moe import zoo
from keras_moe.models import MoEModel, imagenet
from keras_moe.training.finetuning.start import SIZES, check_model
from keras_moe.types import Path
from keras_moe.zoo.hub import PREFIX
from keras_moe.zoo.listing import check_known


def check_start(start: Path | MoEModel) -> None:
    """Refuses what cannot be fine-tuned, as far as can be told without loading a model.

    Raises:
        ValueError: an unknown name, or a model that does not classify.
        ImportError: without the weights of ImageNet.
    """
    if isinstance(start, MoEModel):
        check_model(start)
    elif start in SIZES:
        imagenet.trained(str(start))
    else:
        name = os.fspath(start)
        if not (name in zoo.list_models() or name.startswith(PREFIX) or os.path.isdir(name)):
            known = [*SIZES, *zoo.list_models(task="classification")]
            check_known("START", name, known, "the path of a model folder, or hf://user/repo")
        card = zoo.card(name)
        if card.task != "classification":
            raise ValueError(f"finetune: expected a model that classifies. Received: {card.name}, for {card.task}")


def check_out(out: pathlib.Path, data: Path) -> None:
    """Refuses a place for the result that is taken, lies among the images, or would not be found again.

    Raises:
        FileExistsError, ValueError.
    """
    if out.is_symlink() and not out.exists():
        raise FileExistsError(f"{out} is a link to nowhere. Remove it, or give another folder.")
    if out.exists():
        raise FileExistsError(f"{out} is there already. Give another folder, or remove it.")
    if out.name in (*SIZES, *zoo.list_models()):
        raise ValueError(
            f"{out} is named like a published model, which would be found in its place. Give another name."
        )
    if pathlib.Path(data).is_dir() and out.resolve().is_relative_to(pathlib.Path(data).resolve()):
        raise ValueError(f"{out} lies in {data}, where it would be taken for a class. Give a folder elsewhere.")


def identity(start: Path | MoEModel) -> str:
    """What tells START from others: its name, or the digest of its weights where it is a folder, wherever that lies."""
    if isinstance(start, MoEModel):
        return str(start.name)
    if start in SIZES:
        return str(start)
    sha256: str = zoo.card(os.fspath(start)).file("weights.safetensors").sha256
    return sha256
