"""Super-resolution recipes: ClassSR of three FSRCNNs, the single FSRCNN, and a tiny ClassSR for tests."""

import pathlib
import typing

from keras_moe.datasets import TWO_PHOTOGRAPHS, bsd400
from keras_moe.datasets.patches import cut_patches
from keras_moe.datasets.super_resolution import PATCH, photograph_patches
from keras_moe.datasets.two_photographs import halves_of_photographs
from keras_moe.models import ClassSR, MoEModel, SuperResolutionNetwork
from keras_moe.recipes.publishing.measures import measure_on_photographs, measure_upscaling
from keras_moe.recipes.publishing.recipe import Config, ModelRecipe
from keras_moe.training import Round, SuperResolutionRecipe, train_branch, train_classsr
from keras_moe.zoo import load

STEPS = 1000  # of an epoch

_CLASSSR_PAPER = "Kong, Zhao, Qiao, Dong: ClassSR, CVPR 2021, pp. 12016-12025"
_CLASSSR_URL = "https://arxiv.org/abs/2103.04039"


def classsr_fsrcnn(scale: int, rounds: tuple[Round, ...], share: float, recipe_note: str) -> ModelRecipe:
    """A ClassSR of three FSRCNNs on photographs; the largest starts as ``fsrcnn_x<scale>``.

    Args:
        scale: 2 or 4.
        rounds, share: the ``SuperResolutionRecipe``'s; on a whole image patches overlap, which costs a few percent.
        recipe_note: str, the rounds in words.
    """
    config: Config = {"input_shape": (PATCH, PATCH, 3), "backbone": "fsrcnn", "scale": scale, "class_stride": 16}
    single, epochs = f"fsrcnn_x{scale}", 6

    def recipe(epochs: int, seed: int = 0) -> SuperResolutionRecipe:
        return SuperResolutionRecipe(
            epochs, 2, 2, error_epochs=3, rounds=rounds, share=share, steps=STEPS, batch_size=32, seed=seed
        )

    def train(model: MoEModel, seed: int, folder: pathlib.Path, epochs: int) -> dict[str, typing.Any]:
        learn, held = photograph_patches(scale)
        return train_classsr(model, learn, held, folder, recipe(epochs, seed), largest=load(single))

    stages = recipe(epochs)
    return ModelRecipe(
        name=f"classsr_fsrcnn_x{scale}",
        summary=f"Three FSRCNNs that enlarge photographs x{scale}, and a class module that sends each patch to one.",
        paper=_CLASSSR_PAPER,
        paper_url=_CLASSSR_URL,
        model=ClassSR,
        config=config,
        build_options={},
        recipe_note=f"Steps of {stages.batch_size} patches, {STEPS:,} an epoch: branches on terciles for {epochs} "
        f"epochs, the largest from {single}'s weights, the class module for {stages.class_epochs}, jointly for "
        f"{stages.joint_epochs}, the class module for {stages.error_epochs} on the branches' errors; then with squared "
        f"errors, half of the patches recoloured, and the class module again after each: {recipe_note}; Adam.",
        dataset=bsd400(scale),
        train=train,
        measure=measure_on_photographs,
        epochs=epochs,
        baseline=single,
    )


def fsrcnn(scale: int, epochs: int, squared: int) -> ModelRecipe:
    """A single FSRCNN, ClassSR's hard branch, on all patches.

    Args:
        scale: 2 or 4.
        epochs, squared: ints, epochs with absolute errors and, at the end, with squared ones.
    """
    config: Config = {"input_shape": (PATCH, PATCH, 3), "backbone": "fsrcnn", "filters": 56, "scale": scale}
    used = Round("used", 10, loss="mae", learning_rate=5e-4)

    def recipe(epochs: int, seed: int = 0) -> SuperResolutionRecipe:
        return SuperResolutionRecipe(epochs, 0, 0, rounds=(used, Round("squared", squared)), steps=STEPS, seed=seed)

    def train(model: MoEModel, seed: int, folder: pathlib.Path, epochs: int) -> dict[str, typing.Any]:
        learn, held = photograph_patches(scale)
        return train_branch(model, learn, held, folder, recipe(epochs, seed))

    return ModelRecipe(
        name=f"fsrcnn_x{scale}",
        summary=f"FSRCNN (56 filters) that enlarges photographs x{scale}: every pixel runs all of it.",
        paper="Dong, Loy, Tang: Accelerating the Super-Resolution Convolutional Neural Network, ECCV 2016",
        paper_url="https://arxiv.org/abs/1608.00367",
        model=SuperResolutionNetwork,
        config=config,
        build_options={},
        recipe_note=f"{epochs} x {STEPS:,} steps of {recipe(epochs).batch_size} patches of {PATCH}x{PATCH} pixels, "
        f"L1, a cosine from 1e-3, JAX on one GPU; then {used.epochs} x {STEPS:,} with half of the patches recoloured, "
        f"from 5e-4, then {squared} x {STEPS:,} of these with squared errors, from 1e-3, TensorFlow on two CPU cores; "
        "Adam. Before the squared errors fewer than a tenth of the patches were T91's.",
        dataset=bsd400(scale),
        train=train,
        measure=measure_on_photographs,
        epochs=epochs,
    )


def classsr_on_two_photographs(epochs: int = 3) -> ModelRecipe:
    """A tiny ClassSR of two FSRCNNs x2, for tests, on photographs that come with scikit-learn."""
    config: Config = {"input_shape": (16, 16, 3), "filters": (4, 12), "scale": 2, "class_filters": 8}

    def train(model: MoEModel, seed: int, folder: pathlib.Path, epochs: int) -> dict[str, typing.Any]:
        learn, held = (cut_patches(halves_of_photographs(lower), 2, 16, 8) for lower in (False, True))
        settings = SuperResolutionRecipe(epochs, 2, 1, steps=200, learning_rate=3e-3, gate_rate=1e-3, seed=seed)
        return train_classsr(model, learn, held, folder, settings)

    return ModelRecipe(
        name="test_classsr",
        summary="Tiny ClassSR of two FSRCNNs that enlarges x2, for tests without a network.",
        paper=_CLASSSR_PAPER,
        paper_url=_CLASSSR_URL,
        model=ClassSR,
        config=config,
        build_options={},
        recipe_note=f"Branches for {epochs} x 200 steps of 16 patches, class module for 400, jointly for 200; Adam.",
        dataset=TWO_PHOTOGRAPHS,
        train=train,
        measure=_measure_on_lower_halves,
        epochs=epochs,
    )


def _measure_on_lower_halves(network: MoEModel) -> dict[str, typing.Any]:
    return measure_upscaling(network, {"halves": halves_of_photographs(lower=True)})
