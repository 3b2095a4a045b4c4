"""Metrics of label maps, confidences and enlarged images."""

from keras_moe.metrics.calibration import confidence_bins as confidence_bins
from keras_moe.metrics.calibration import expected_calibration_error as expected_calibration_error
from keras_moe.metrics.image_quality import luma as luma
from keras_moe.metrics.image_quality import psnr as psnr
from keras_moe.metrics.image_quality import psnr_from_mse as psnr_from_mse
from keras_moe.metrics.image_quality import ssim as ssim
from keras_moe.metrics.interval import wilson_interval as wilson_interval
from keras_moe.metrics.segmentation import IGNORE as IGNORE
from keras_moe.metrics.segmentation import confusion_matrix as confusion_matrix
from keras_moe.metrics.segmentation import dice as dice
from keras_moe.metrics.segmentation import iou as iou
from keras_moe.metrics.segmentation import mean_iou as mean_iou
from keras_moe.metrics.segmentation import measure_segmenter as measure_segmenter
