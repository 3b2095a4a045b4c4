"""``keras-moe finetune``."""

import argparse
import importlib.util
import os
import pathlib

from keras_moe.cli.shared import Command, fail, positive


def register(command: Command) -> None:
    finetune = command("finetune", _finetune, "Fine-tune a classifier on your own images; save it with a page.")
    finetune.add_argument(
        "start", metavar="START", help="efficientnet_lite0, 1 or 2 (ImageNet, of which a HydraNet is grown), a "
        "published classifier, or the folder of one",
    )  # fmt: skip
    finetune.add_argument(
        "data", metavar="DATA", help="a folder with a folder for each class, perhaps below train, val and test; or a "
        ".csv file with the columns path, label and perhaps split",
    )  # fmt: skip
    finetune.add_argument("out", metavar="OUT", type=pathlib.Path, help="the new folder of the model")
    finetune.add_argument("--size", type=positive, help="sides of the images in pixels (default: the model's own)")
    finetune.add_argument("--epochs", type=positive, help="epochs of a stage at most (default: 4 to 20)")
    finetune.add_argument("--minutes", type=_above_zero, help="of learning, about (default: as long as it takes)")
    finetune.add_argument(
        "--budget", type=_above_zero, metavar="MACS", help="multiply-accumulates per image on average, 200e6 for "
        "instance (default: as few as cost half a point of accuracy)",
    )  # fmt: skip
    finetune.add_argument("--dense", action="store_true", help="a network without experts, for comparison")
    finetune.add_argument("--num-experts", type=positive, default=4, help="of a mixture that is grown (default: 4)")
    finetune.add_argument(
        "--most-unreadable", type=_share, default=0.1, metavar="SHARE",
        help="of images that cannot be read, from which on nothing is done (default: 0.1)",
    )  # fmt: skip
    finetune.add_argument(
        "--split-look-alikes", action="store_true",
        help="images that look alike may come into different parts, as those of a camera that does not move",
    )  # fmt: skip
    finetune.add_argument(
        "--no-latency", action="store_true", help="do not time the result by LiteRT, which the extra litert brings"
    )
    finetune.add_argument("--seed", type=int, default=0, help="of split, order and views (default: 0)")


def _above_zero(text: str) -> float:
    """Argument type: a number > 0."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number > 0. Received: {text}")
    return value


def _share(text: str) -> float:
    """Argument type: a number in [0, 1]."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number in [0, 1]. Received: {text}")
    return value


def _finetune(arguments: argparse.Namespace) -> int:
    if os.path.lexists(arguments.out) or not arguments.out.absolute().parent.is_dir():
        return fail(f"OUT must be a new folder in one that exists. Received: {arguments.out}", 2)
    if not all(map(importlib.util.find_spec, ("matplotlib", "jinja2"))):
        return fail("the page is written with matplotlib and jinja2: pip install 'keras-moe[viz]'", 1)
    from keras_moe.training import finetune

    tuned = finetune(
        arguments.start, arguments.data, arguments.out, size=arguments.size, epochs=arguments.epochs,
        minutes=arguments.minutes, budget=arguments.budget, dense=arguments.dense, num_experts=arguments.num_experts,
        most_unreadable=arguments.most_unreadable, split_look_alikes=arguments.split_look_alikes,
        latency=not arguments.no_latency, seed=arguments.seed,
    )  # fmt: skip
    print(tuned.text())
    return 0
