"""Super-resolution around the network: whole images and route maps. Their quality is measured in ``metrics``."""

from keras_moe.super_resolution.route_map import route_map as route_map
from keras_moe.super_resolution.tiles import Cut as Cut
from keras_moe.super_resolution.upscale import Upscaled as Upscaled
from keras_moe.super_resolution.upscale import upscale_routed as upscale_routed
