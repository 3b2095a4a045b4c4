"""A routed file on a Raspberry Pi, without Keras: a photo, or the camera's, to a label and the experts that ran.

    pip install ai-edge-litert numpy pillow          # 64-bit Raspberry Pi OS, Python 3.11 or newer
    python raspberry_pi.py routed_int8.tflite [PHOTO]

Get the file with `keras_moe.zoo.download("hydranet_cifar100", ".", "routed_int8.tflite")` on another machine.
"""

import subprocess
import sys
import zipfile

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image, ImageOps


def main(model, photo=None):
    if photo is None:
        photo = "camera.jpg"
        subprocess.run(["rpicam-still", "--nopreview", "--timeout", "1000", "--output", photo], check=True)
    labels = zipfile.ZipFile(model).read("labels.txt").decode().split("\n")
    network = Interpreter(model).get_signature_runner()
    (_, height, width, channels) = network.get_input_details()["images"]["shape"]
    if channels not in (1, 3):
        sys.exit(f"Expected a model of grey or RGB photographs. Received: {model}, which takes {channels} channels")
    upright = ImageOps.exif_transpose(Image.open(photo)).convert("RGB")
    square = ImageOps.fit(upright, (width, height), Image.Resampling.BICUBIC)
    pixels = np.asarray(square.convert("L" if channels == 1 else "RGB"), "float32")
    outputs = network(images=pixels.reshape(1, height, width, channels))
    prediction, route = outputs["prediction"], outputs.get("route")  # no route: a dense network
    print(f"{labels[prediction.argmax()]} {prediction.max():.1%}")
    if route is not None:
        ran = [f"expert {k} (weight {route[0, k]:.2f})" for k in np.flatnonzero(route)]
        print(", ".join(ran) or "no expert: the base predicted alone")


if __name__ == "__main__":
    main(*sys.argv[1:])
