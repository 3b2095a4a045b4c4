"""hydranet_cifar100: a HydraNet on CIFAR-100 that executes less than half of a ResNet-20's MACs.

    python zoo/hydranet_cifar100/recipe.py [--seeds 0 1] [--publish]

Two stages, each 15 epochs of ``keras_moe.training.Recipe`` with its defaults, which is the whole recipe of the dense
baseline ``resnet20_cifar100``:

1. *trunk*: stem, one branch and combiner, a small dense network. It is the teacher: the means of its logits over each
   class are clustered into 8 groups of similar classes.
2. *joint*: 8 branches start as copies of the one, the gate is supervised with the groups (cross-entropy, weight 0.5),
   and everything learns with the routing of use: two branches per image.

Then the dynamic-k threshold is set on training images so that the mean cost is 49 % of the baseline's. The alternatives
tried where the paper is silent are in ``alternatives.md``.
"""

import pathlib

from keras_moe.datasets import cifar100
from keras_moe.models import Classifier, HydraNet
from keras_moe.training import Recipe, fit_drop_below, partition_classes, run_stages, supervised
from keras_moe.zoo.publish import main
from keras_moe.zoo.trained_on import on_cifar100

CONFIG = {
    "input_shape": (32, 32, 3),
    "alpha": 1.0,
    "backbone": "resnet8",
    "branches": 8,
    "top_k": 2,
    "branch_alpha": 1.5,
    "gate_filters": 32,
    "classes": 100,
}
SINGLE = {**CONFIG, "branches": 1, "top_k": 1, "gate_filters": 0}
SHARE = 0.49


def build():
    return HydraNet(**CONFIG, classifier_activation=None)


def train(model, seed, folder, epochs):
    learn, test = cifar100()
    recipe = Recipe(epochs, seed=seed)
    single = HydraNet(**SINGLE, classifier_activation=None, name="trunk")
    trunk = run_stages(single, [supervised(single, recipe, learn, test, name="trunk")], folder / "trunk")
    groups = partition_classes(single.predict(learn[0], batch_size=500, verbose=0), learn[1], CONFIG["branches"])
    model.grow_from(single)
    joint = run_stages(model, [supervised(model, recipe, learn, test, groups)], folder / "joint")
    fit_drop_below(model, learn[0][:10000], SHARE * Classifier(backbone="resnet20").macs_total)
    return {**trunk, **joint, "groups": groups.tolist()}


MODEL = on_cifar100(
    name="hydranet_cifar100",
    card={
        "system": "hydranet",
        "summary": "HydraNet on CIFAR-100: a shared stem and 8 branches, of which an image runs one or two.",
        "paper": "Mullapudi, Mark, Shazeer, Fatahalian: HydraNets, CVPR 2018, pp. 8080-8089",
        "paper_url": "https://openaccess.thecvf.com/CVPR2018",
        "model": "HydraNet",
        "recipe_note": "A trunk, then 8 branches grown from it: 15 epochs each of AdamW at batch 128, a cosine from "
        "3e-3; two CPU cores, TensorFlow.",
        "config": CONFIG,
        "baseline": "resnet20_cifar100",
    },
    build=build,
    train=train,
)

if __name__ == "__main__":
    main(MODEL, pathlib.Path(__file__).parent)
