"""A published mixture looks at two real photographs: what it sees, which experts ran, what that saved.

    python examples/classify_photos.py [--model NAME] [--out PNG] [IMAGE …]

Without images it takes scikit-learn's two photographs.
"""

import argparse

import numpy as np

from keras_moe import zoo
from keras_moe.classify import classify
from keras_moe.images import open_image, open_photographs, to_input
from keras_moe.picture import plot_classifications


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="*", metavar="IMAGE")
    parser.add_argument("--model", default="hydranet_photos")
    parser.add_argument("--out", default="demo.png")
    arguments = parser.parse_args()

    model = zoo.load(arguments.model)
    photographs = {path: open_image(path) for path in arguments.images} or open_photographs()
    inputs = np.stack([to_input(image, model.input_shape[1:]) for image in photographs.values()])
    results = classify(model, arguments.model, inputs)

    for name, result in zip(photographs, results, strict=True):
        share = result.macs_executed / result.macs_total
        print(f"\n{name}")
        for label, probability in result.top:
            print(f"  {probability:6.1%}  {label}")
        print(f"  experts that ran: {result.experts or 'all of it, it is a dense network'}")
        print(f"  MACs executed: {result.macs_executed / 1e6:.1f} M of {result.macs_total / 1e6:.1f} M ({share:.0%})")

    experts = len(model.bank.experts) if model.bank else 0
    plot_classifications(list(photographs.values()), results, experts).savefig(arguments.out, dpi=110)
    print(f"\npicture: {arguments.out}")


if __name__ == "__main__":
    main()
