"""The loop of mixture.cc in Python: trunk, router, the chosen experts and head, through tflite-micro's interpreter.

    python examples/microcontroller/loop.py MANIFEST IMAGE

It reads what ``keras-moe export NAME app.json --form parts --quantize int8 --target tflm`` wrote, and needs neither
Keras nor keras_moe: NumPy, Pillow and ``tflite-micro`` alone.
"""

import json
import pathlib
import sys

import numpy as np
from tflite_micro.python.tflite_micro import runtime

ARENA_BYTES = 1 << 24


class Mixture:
    """The graphs of a manifest, each of which is loaded when it runs: they share one arena on a microcontroller."""

    def __init__(self, manifest):
        self.folder = pathlib.Path(manifest).parent
        self.description = json.loads(pathlib.Path(manifest).read_text("utf-8"))
        self.parts = {part["name"]: part for part in self.description["parts"]}
        self.ran = []

    def classify(self, image):
        """``(prediction, route)`` of an image, an array ``(height, width, channels)`` in [0, 255]."""
        self.ran, values = [], {"images": image[None]}
        self.run("trunk", values)
        self.run("router", values)
        route = values["route"][0]
        if not np.all(np.isfinite(route)):
            raise ArithmeticError("the gate is broken: its route is not finite")
        values["combined"] = 0.0
        for k in np.flatnonzero(route):
            self.run(f"expert_{k}", values)
            values["combined"] = values["combined"] + route[k] * values["output"]
        self.run("head", values)
        return values["prediction"][0], route

    def run(self, name, values):
        """Runs one graph: takes its inputs from ``values``, name -> float array, and puts its outputs there."""
        self.ran.append(name)
        part = self.parts[name]
        data = (self.folder / part["file"]).read_bytes()
        interpreter = runtime.Interpreter.from_bytes(data, arena_size=ARENA_BYTES)
        for i, tensor in enumerate(part["inputs"]):
            interpreter.set_input(to_tensor(values[tensor["name"]], tensor), i)
        interpreter.invoke()
        for i, tensor in enumerate(part["outputs"]):
            values[tensor["name"]] = from_tensor(interpreter.get_output(i), tensor)


def to_tensor(value, tensor):
    value = np.broadcast_to(np.asarray(value, "float32"), tensor["shape"])
    if tensor["dtype"] == "int8":
        value = np.clip(np.rint(value / tensor["scale"]) + tensor["zero_point"], -128, 127)
    return np.ascontiguousarray(value, tensor["dtype"])


def from_tensor(value, tensor):
    if tensor["dtype"] == "int8":
        value = (value.astype("float32") - tensor["zero_point"]) * np.float32(tensor["scale"])
    return value


def main(manifest, image):
    from PIL import Image

    mixture = Mixture(manifest)
    height, width, channels = mixture.description["input_shape"]
    picture = Image.open(image).convert("RGB" if channels == 3 else "L").resize((width, height))
    prediction, route = mixture.classify(np.asarray(picture, "float32").reshape(height, width, channels))
    print(f"ran: {', '.join(mixture.ran)}\nroute: {route.round(3)}\nclass: {prediction.argmax()}")


if __name__ == "__main__":
    main(*sys.argv[1:])
