"""Writes a page about a tiny single-gated mixture and 397 handwritten digits; nothing is downloaded.

    python examples/insights.py [--out HTML]

The same for any published classifier with a gate, or segmentation model, and for your own images: ``keras-moe insights
NAME FOLDER``.
"""

import argparse
import pathlib

from keras_moe import insights, zoo
from keras_moe.files import write_bytes

NAME = "test_single_gated"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default="insights.html")
    out = parser.parse_args().out

    model, card = zoo.load(NAME), zoo.card(NAME)
    samples = insights.read_samples("digits", card)
    predictions = insights.collect_expert_predictions(model, samples.images)

    usage = insights.expert_usage(predictions.route)
    by_class = insights.class_by_expert(predictions.route, samples.labels, len(card.classes))
    for k, ran in enumerate(usage.ran):
        favourite = card.classes[by_class[:, k].argmax()]
        print(f"expert {k} runs for {ran:.1%} of the images, most of all for those of a {favourite}")
    cases = insights.agreement(predictions.expert_labels, predictions.predicted_labels, predictions.route)
    right = predictions.predicted_labels == samples.labels
    print(f"all experts agree on {cases.perfect.mean():.1%}, and {right[cases.perfect].mean():.1%} of that is right")
    if not cases.perfect.all():
        print(f"where they do not, {right[~cases.perfect].mean():.1%} is right")

    write_bytes(out, insights.create_classification_report(model, card, samples, predictions).encode())
    print(f"page: {out}")


if __name__ == "__main__":
    main()
