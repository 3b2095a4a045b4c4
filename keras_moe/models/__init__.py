"""Models: one system per file."""

from keras_moe.models.base import MoEModel as MoEModel
from keras_moe.models.classifier import Classifier as Classifier
from keras_moe.models.classsr import ClassSR as ClassSR
from keras_moe.models.hydranet import HydraNet as HydraNet
from keras_moe.models.patcher import Patcher as Patcher
from keras_moe.models.segmentation import SegmentationMoE as SegmentationMoE
from keras_moe.models.segmenter import Segmenter as Segmenter
from keras_moe.models.single_gated import SingleGatedMoE as SingleGatedMoE
from keras_moe.models.super_resolution import SuperResolutionNetwork as SuperResolutionNetwork
from keras_moe.models.unet import UNet as UNet
from keras_moe.models.upcycle import upcycle as upcycle
