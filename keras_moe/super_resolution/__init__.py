"""Super-resolution around the network: whole images, route maps, quality."""

from keras_moe.metrics.image_quality import luma as luma
from keras_moe.metrics.image_quality import psnr as psnr
from keras_moe.metrics.image_quality import ssim as ssim
from keras_moe.super_resolution.route_map import route_map as route_map
from keras_moe.super_resolution.upscale import Upscaled as Upscaled
from keras_moe.super_resolution.upscale import upscale_routed as upscale_routed
