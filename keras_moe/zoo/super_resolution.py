"""What published super-resolution models have in common: photographs to learn from and to measure on."""

import numpy as np

from keras_moe.datasets import super_resolution
from keras_moe.images import open_photographs, photographs
from keras_moe.models import ClassSR, SuperResolutionNetwork
from keras_moe.super_resolution import luma, psnr
from keras_moe.training import Round, SuperResolutionRecipe, train_branch, train_classsr
from keras_moe.training.patches import bicubic, cut_patches, shrink
from keras_moe.zoo import load
from keras_moe.zoo.model_card import Data, Input
from keras_moe.zoo.publish import Published

PATCH, HELD_OUT = 32, 40

STEPS = 1000  # of an epoch

_CLASSSR = {
    "system": "classsr",
    "paper": "Kong, Zhao, Qiao, Dong: ClassSR, CVPR 2021, pp. 12016-12025",
    "paper_url": "https://arxiv.org/abs/2103.04039",
    "model": "ClassSR",
}
_DENSE = {
    "system": "dense",
    "paper": "Dong, Loy, Tang: Accelerating the Super-Resolution Convolutional Neural Network, ECCV 2016",
    "paper_url": "https://arxiv.org/abs/1608.00367",
    "model": "SuperResolutionNetwork",
}
_BSD400 = Data(
    "BSD400 + T91",
    "BSD400: non-commercial research and education; T91: research use",
    "360 of the 400 photographs of BSDS500 train + test, as WebP of quality 92, and 91 photographs of Yang et al. 2010",
    "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/bsds/",
)


def classsr_fsrcnn(scale, rounds, share, recipe_note):
    """The ``Published`` of a ClassSR of three FSRCNNs on photographs; the largest starts as ``fsrcnn_x<scale>``.

    Args:
        scale: 2 or 4.
        rounds, share: the ``SuperResolutionRecipe``'s; on a whole image patches overlap, which costs a few percent.
        recipe_note: str, the rounds in words.
    """
    config = {"input_shape": (PATCH, PATCH, 3), "backbone": "fsrcnn", "scale": scale, "class_stride": 16}
    single, epochs = f"fsrcnn_x{scale}", 6

    def recipe(epochs, seed=0):
        return SuperResolutionRecipe(
            epochs, 2, 2, error_epochs=3, rounds=rounds, share=share, steps=STEPS, batch_size=32, seed=seed
        )

    def train(model, seed, folder, epochs):
        learn, held = photograph_patches(scale)
        return train_classsr(model, learn, held, folder, recipe(epochs, seed), largest=load(single))

    stages = recipe(epochs)
    card = {
        **_CLASSSR,
        "summary": f"Three FSRCNNs that enlarge photographs x{scale}, and a class module that sends each patch to one.",
        "recipe_note": f"Steps of {stages.batch_size} patches, {STEPS:,} an epoch: branches on terciles for {epochs} "
        f"epochs, the largest from {single}'s weights, the class module for {stages.class_epochs}, jointly for "
        f"{stages.joint_epochs}, the class module for {stages.error_epochs} on the branches' errors; then with squared "
        f"errors, half of the patches recoloured, and the class module again after each: {recipe_note}; Adam.",
        "config": config,
        "baseline": single,
    }
    return _on_photographs(f"classsr_fsrcnn_x{scale}", card, lambda: ClassSR(**config), train, epochs, scale)


def fsrcnn(scale, epochs, squared):
    """The ``Published`` of a single FSRCNN, ClassSR's hard branch, on all patches.

    Args:
        scale: 2 or 4.
        epochs, squared: ints, epochs with absolute errors and, at the end, with squared ones.
    """
    config = {"input_shape": (PATCH, PATCH, 3), "backbone": "fsrcnn", "filters": 56, "scale": scale}
    used = Round("used", 10, loss="mae", learning_rate=5e-4)

    def recipe(epochs, seed=0):
        return SuperResolutionRecipe(epochs, 0, 0, rounds=(used, Round("squared", squared)), steps=STEPS, seed=seed)

    def train(model, seed, folder, epochs):
        learn, held = photograph_patches(scale)
        return train_branch(model, learn, held, folder, recipe(epochs, seed))

    card = {
        **_DENSE,
        "summary": f"FSRCNN (56 filters) that enlarges photographs x{scale}: every pixel runs all of it.",
        "recipe_note": f"{epochs} x {STEPS:,} steps of {recipe(epochs).batch_size} patches of {PATCH}x{PATCH} pixels, "
        f"L1, a cosine from 1e-3, JAX on one GPU; then {used.epochs} x {STEPS:,} with half of the patches recoloured, "
        f"from 5e-4, then {squared} x {STEPS:,} of these with squared errors, from 1e-3, TensorFlow on two CPU cores; "
        "Adam. Before the squared errors fewer than a tenth of the patches were T91's.",
        "config": config,
    }
    return _on_photographs(f"fsrcnn_x{scale}", card, lambda: SuperResolutionNetwork(**config), train, epochs, scale)


def classsr_on_two_photographs(epochs=3):
    """The ``Published`` of a tiny ClassSR of two FSRCNNs x2, for tests: what it needs comes with scikit-learn."""
    config: dict = {"input_shape": (16, 16, 3), "filters": (4, 12), "scale": 2, "class_filters": 8}

    def halves(lower):
        photos = (photo.resize((320, 214)) for photo in open_photographs().values())
        return [np.asarray(photo)[107:] if lower else np.asarray(photo)[:107] for photo in photos]

    def train(model, seed, folder, epochs):
        learn, held = (cut_patches(halves(lower), 2, 16, 8) for lower in (False, True))
        settings = SuperResolutionRecipe(epochs, 2, 1, steps=200, learning_rate=3e-3, gate_rate=1e-3, seed=seed)
        return train_classsr(model, learn, held, folder, settings)

    card = {
        **_CLASSSR,
        "task": "super-resolution",
        "license": "Apache-2.0",
        "data": Data(
            "two photographs (scikit-learn)",
            "CC BY 2.0",
            "sklearn.datasets.load_sample_images at half their size: upper halves to learn from, lower ones to test",
            "https://scikit-learn.org/stable/datasets/loading_other_datasets.html",
        ),
        "input": Input((16, 16, 3), "[0, 255]", "RGB"),
        "classes": (),
        "summary": "Tiny ClassSR of two FSRCNNs that enlarges x2, for tests without a network.",
        "recipe_note": f"Branches for {epochs} x 200 steps of 16 patches, class module for 400, jointly for 200; Adam.",
        "config": config,
    }
    return Published(
        name="test_classsr",
        card=card,
        build=lambda: ClassSR(**config),
        train=train,
        measure=lambda network: measure_upscaling(network, {"halves": halves(lower=True)}),
        epochs=epochs,
        seeds=(0,),
        golden=lambda: cut_patches(halves(lower=True), 2, 16, 40)[0].astype("float32"),
        metrics={"psnr_y_halves": "dB"},
    )


def photograph_patches(scale):
    """``(low, high)`` patches to learn from and held-out ones, of 40 photographs of BSD400.

    About half of those to learn from are of T91's small and sharp photographs, cut densely: BSD400's were JPEGs.
    """
    photos = super_resolution("bsd400")
    stride = PATCH // 2 if scale == 4 else PATCH
    learn = (
        cut_patches(photos[:-HELD_OUT], scale, PATCH, stride, zooms=(1.0, 0.8, 0.6)),
        cut_patches(super_resolution("t91"), scale, PATCH, 16 // scale, zooms=(1.0, 0.9, 0.8, 0.7, 0.6)),
    )
    return (
        tuple(np.concatenate(patches) for patches in zip(*learn, strict=True)),
        cut_patches(photos[-HELD_OUT:], scale, PATCH, PATCH),
    )


def measure_upscaling(network, sets):
    """PSNR of the luma on whole images (uint8, ``scale`` pixels of border left out) and the mean MACs of a patch.

    Images are cut as ``upscale`` does by default.

    Args:
        network: a ``ClassSR`` or ``SuperResolutionNetwork``.
        sets: dict, name -> list of photographs, uint8 ``(h, w, 3)``; the last set's patches tell the MACs.

    Returns:
        dict: ``"psnr_y_<set>"`` and ``"bicubic_psnr_y_<set>"`` in dB, ``"gmacs_<set>"``, billions of MACs that an image
        really costs, overlap and class module included, all three means over images; ``"macs_executed"`` per patch of
        the model's input shape and, for a mixture, ``"usage"``, the share of patches of each branch.
    """
    found, routes = {}, list[np.ndarray]()
    for name, photos in sets.items():
        ours, plain, gmacs = [], [], []
        routes = []
        for photo in photos:
            low, high = shrink(photo, network.scale)
            done = network.upscale_routed(low, verbose=False)
            ours.append(psnr(luma(done.image), luma(high), network.scale))
            plain.append(psnr(luma(bicubic(low, network.scale)), luma(high), network.scale))
            gmacs.append(done.macs / 1e9)
            routes.append(done.route.ravel())
        for of, values in (("psnr_y", ours), ("bicubic_psnr_y", plain), ("gmacs", gmacs)):
            found[f"{of}_{name}"] = float(np.mean(values))
    if network.bank is None:
        return {**found, "macs_executed": float(network.macs_total)}
    route = np.eye(len(network.bank.experts))[np.concatenate(routes)]
    return {**found, "macs_executed": network.mean_macs(route=route), "usage": route.mean(0).tolist()}


def _on_photographs(name, card, build, train, epochs, scale):
    common = {
        "task": "super-resolution",
        "license": "CC BY-NC 4.0",
        "data": _BSD400,
        "input": Input((PATCH, PATCH, 3), "[0, 255]", "RGB"),
        "classes": (),
    }
    return Published(
        name=name,
        card={**common, **card},
        build=build,
        train=train,
        measure=lambda network: measure_upscaling(network, {s: super_resolution(s) for s in ("set14", "photos2k")}),
        epochs=epochs,
        seeds=(0,),
        golden=lambda: np.stack(photographs((PATCH, PATCH, 3))),
        metrics={"psnr_y_set14": "dB", "psnr_y_photos2k": "dB"},
    )
