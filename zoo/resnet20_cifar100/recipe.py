"""resnet20_cifar100: the dense baseline of the CIFAR-100 HydraNet, a ResNet-20.

    python zoo/resnet20_cifar100/recipe.py [--seeds 0 1] [--publish]

The recipe is ``keras_moe.training.Recipe`` with its defaults: 40 epochs of AdamW, batch 128, half an epoch of warm-up
to 3e-3 and a cosine to 0, flips and 4-pixel crops; trained on all 50,000 training images. Meant for a GPU, where it
takes minutes. It stays a short training: ResNet-20 reaches more in the 200 epochs that papers give it.
"""

import pathlib

from keras_moe.zoo.publish import main
from keras_moe.zoo.trained_on import resnet_on_cifar100

MODEL = resnet_on_cifar100(20)

if __name__ == "__main__":
    main(MODEL, pathlib.Path(__file__).parent)
