"""What trainings cost against that of the dense ResNet-20: multiply-accumulates per training image, over all epochs.

    python -m benchmarks.training_cost

A part that learns counts three times, forward, backward to its input and to its weights; a frozen one once.
"""

from benchmarks import without_options
from keras_moe import zoo
from keras_moe.models import Classifier, HydraNet, SingleGatedMoE
from keras_moe.recipes import hydranet_cifar100, single_gated_cifar100


def main():
    without_options(__doc__)
    epochs = hydranet_cifar100.RECIPE.epochs
    dense = 3 * epochs * Classifier(backbone="resnet20").macs_total
    costs = {"resnet20_cifar100": dense, "hydranet_cifar100": _hydra(), "single_gated_cifar100": _single()}
    for name, cost in costs.items():
        print(f"{name}: {cost / 1e6:,.0f} M per training image, {cost / dense:.3f} of resnet20_cifar100")


def _hydra():
    """A trunk, then stem, gate and the chosen branches, twice; everything learns. Teachers see two views once."""
    parts = HydraNet(**hydranet_cifar100.CONFIG).macs_by_part()
    chosen = (
        sum(m for m in parts.values() if isinstance(m, int)) + hydranet_cifar100.CONFIG["top_k"] * parts["branches"][0]
    )
    epochs = hydranet_cifar100.RECIPE.epochs
    learned = (
        epochs * HydraNet(**hydranet_cifar100.SINGLE).macs_total + (epochs + hydranet_cifar100.TAUGHT_EPOCHS) * chosen
    )
    return 3 * learned + 2 * sum(zoo.card(name).macs_executed for name in hydranet_cifar100.TEACHERS)


def _single():
    """The base; an epoch of the gate behind it; the experts behind it, who together see each image once an epoch."""
    parts, epochs = SingleGatedMoE(**single_gated_cifar100.CONFIG).macs_by_part(), single_gated_cifar100.RECIPE.epochs
    return 3 * epochs * parts["base"] + parts["base"] + epochs * (parts["base"] + 3 * parts["experts"][0])


if __name__ == "__main__":
    main()
