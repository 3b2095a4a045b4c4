"""What training the HydraNet and its baseline costs: forward multiply-accumulates per training image, over all epochs.

python -m benchmarks.training_cost
"""

import runpy

from keras_moe.models import Classifier, HydraNet
from keras_moe.zoo.store import published_folder


def main():
    hydra, baseline = (
        runpy.run_path(str(published_folder() / name / "recipe.py"))
        for name in ("hydranet_cifar100", "resnet20_cifar100")
    )
    trunk = HydraNet(**hydra["SINGLE"]).macs_total
    parts = HydraNet(**hydra["CONFIG"]).macs()
    joint = sum(m for m in parts.values() if isinstance(m, int)) + hydra["CONFIG"]["top_k"] * parts["branches"][0]
    epochs = hydra["MODEL"].epochs
    dense = Classifier(**baseline["CONFIG"]).macs_total * baseline["MODEL"].epochs
    print(f"HydraNet: {epochs} epochs x {trunk / 1e6:.1f} M (trunk) + {epochs} x {joint / 1e6:.1f} M (joint, top-k)")
    print(f"training cost, HydraNet / baseline: {epochs * (trunk + joint) / dense:.3f}")


if __name__ == "__main__":
    main()
