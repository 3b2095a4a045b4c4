"""resnet14_cifar100: the base of the CIFAR-100 single-gated MoE, a ResNet-14.

    python -m keras_moe.recipes resnet14_cifar100 [--seeds 0 1] [--publish]

The recipe is ``keras_moe.training.Recipe`` with its defaults: 40 epochs of AdamW, batch 128, half an epoch of warm-up
to 3e-3 and a cosine to 0, flips and 4-pixel crops; trained on all 50,000 training images. Meant for a GPU, where it
takes minutes. It stays a short training: ResNet-14 reaches more in the 200 epochs that papers give it.
"""

from keras_moe.recipes.shared.cifar100 import resnet_on_cifar100

RECIPE = resnet_on_cifar100(14)
