"""resnet20_cifar100: the dense baseline of the CIFAR-100 HydraNet, a ResNet-20.

    python -m keras_moe.recipes resnet20_cifar100 [--seeds 0 1] [--publish]

The recipe is ``keras_moe.training.Recipe`` with its defaults: 40 epochs of AdamW, batch 128, half an epoch of warm-up
to 3e-3 and a cosine to 0, flips and 4-pixel crops; trained on all 50,000 training images. Meant for a GPU, where it
takes minutes. It stays a short training: ResNet-20 reaches more in the 200 epochs that papers give it.
"""

from keras_moe.recipes.shared.cifar100 import resnet_on_cifar100

RECIPE = resnet_on_cifar100(20)
