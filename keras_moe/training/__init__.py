"""Staged training: partition the data, freeze, fit, checkpoint, resume."""

from keras_moe.training.anytime import anytime_curve as anytime_curve
from keras_moe.training.anytime import fit_threshold as fit_threshold
from keras_moe.training.batches import DrawnBatches as DrawnBatches
from keras_moe.training.batches import ImageBatches as ImageBatches
from keras_moe.training.budget import fit_drop_below as fit_drop_below
from keras_moe.training.checkpoint import Checkpoint as Checkpoint
from keras_moe.training.classsr import SRRecipe as SRRecipe
from keras_moe.training.classsr import train_branch as train_branch
from keras_moe.training.classsr import train_classsr as train_classsr
from keras_moe.training.cost_curve import cost_curve as cost_curve
from keras_moe.training.cost_curve import fit_cost_weight as fit_cost_weight
from keras_moe.training.experts import train_experts as train_experts
from keras_moe.training.mask_batches import MaskBatches as MaskBatches
from keras_moe.training.mask_batches import check_masks as check_masks
from keras_moe.training.partition import partition_classes as partition_classes
from keras_moe.training.partition import partition_samples as partition_samples
from keras_moe.training.segmentation import segment as segment
from keras_moe.training.segmentation import train_domain_experts as train_domain_experts
from keras_moe.training.segmentation import train_segmentation as train_segmentation
from keras_moe.training.single_gated import train_single_gated as train_single_gated
from keras_moe.training.stages import Stage as Stage
from keras_moe.training.stages import freeze_all_but as freeze_all_but
from keras_moe.training.stages import run_stages as run_stages
from keras_moe.training.structure_loss import StructureLoss as StructureLoss
from keras_moe.training.supervised import Recipe as Recipe
from keras_moe.training.supervised import supervised as supervised
