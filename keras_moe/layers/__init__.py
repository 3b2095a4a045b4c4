"""Layers: gates, early exits, expert banks, ensemblers, and the parts of published systems."""

import keras

from keras_moe.layers.attention import EfficientAttention as EfficientAttention
from keras_moe.layers.cost_bias import CostBias as CostBias
from keras_moe.layers.depthwise import DepthwiseConv2D as DepthwiseConv2D
from keras_moe.layers.early_exit import EarlyExit as EarlyExit
from keras_moe.layers.ensemblers import Ensembler as Ensembler
from keras_moe.layers.ensemblers import WeightedSum as WeightedSum
from keras_moe.layers.experts import ExpertBank as ExpertBank
from keras_moe.layers.gate import TopKGate as TopKGate
from keras_moe.layers.inference import every_expert as every_expert
from keras_moe.layers.inference import inference_only as inference_only
from keras_moe.layers.patchwise import PatchWise as PatchWise
from keras_moe.layers.pixel_shuffle import PixelShuffle as PixelShuffle

if keras.backend.backend() == "torch":
    from keras_moe.torch_maps import spare_copies as _spare_copies

    _spare_copies()
elif keras.backend.backend() == "jax":
    from keras_moe.jax_maps import multiply_pixels as _multiply_pixels

    _multiply_pixels()
