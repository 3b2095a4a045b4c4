"""``keras-moe export`` and ``keras-moe bench``."""

import contextlib
import pathlib
import sys

from keras_moe.cli.shared import fail, model_name, positive, print_json


def register(command):
    export = command("export", _export, "Write a published model as LiteRT (TFLite) files for phones.")
    export.add_argument("name", type=model_name)
    export.add_argument(
        "out", type=pathlib.Path, metavar="OUT", help="a .tflite file; a .json manifest for --form parts"
    )
    export.add_argument("--form", choices=("routed", "parts", "dense"), default="routed")
    export.add_argument("--quantize", choices=("float16", "dynamic", "int8"))
    export.add_argument(
        "--images", type=pathlib.Path, metavar="FOLDER", help="images that calibrate int8 and are compared"
    )
    bench = command("bench", _bench, "Time exported files with LiteRT on real images.")
    bench.add_argument("files", nargs="+", metavar="FILE", help="what `keras-moe export` wrote")
    bench.add_argument("--images", type=pathlib.Path, metavar="FOLDER", help="default: crops of two photographs")
    bench.add_argument("--threads", type=positive, nargs="+", default=[1, 2])
    for printing in (export, bench):
        printing.add_argument("--json", action="store_true", help="print JSON")


def _export(arguments):
    from keras_moe import zoo
    from keras_moe.export import litert

    card = zoo.card(arguments.name)
    if arguments.quantize == "int8" and arguments.images is None:
        print("keras-moe: calibrating with crops of two photographs; --images FOLDER takes your own", file=sys.stderr)
    with contextlib.redirect_stdout(sys.stderr):  # what the converter says
        images = _images(arguments.images, card.input.shape)
        report = litert(
            zoo.load(card.name), arguments.out, arguments.form, arguments.quantize, representative=images, card=card
        )
    if arguments.json:
        return print_json(report)
    for file, pinned in report["files"].items():
        print(f"{file}  {pinned['bytes']:,} bytes")
    print(f"conditions: {report['conditions']}")
    for expert, images in enumerate(report["calibration"] or ()):
        print(f"expert {expert}: calibrated with {images} images{'' if images else ', and so not quantized'}")
    for name, value in report["parity"].items():
        print(f"{name}: {value:.6g}")
    return 0


def _bench(arguments):
    from rich.progress import track

    from keras_moe.export import LiteRTModel
    from keras_moe.export.timing import by_route

    rows, failures = [], 0
    jobs = [(file, threads) for file in arguments.files for threads in arguments.threads]
    for file, threads in track(jobs, "timing", console=_to_stderr(), transient=True):
        try:
            model = LiteRTModel(file, num_threads=threads)
        except (OSError, ValueError) as error:
            failures = fail(str(error), 1)
            continue
        images = _images(arguments.images, tuple(model.description["input_shape"]))
        rows += [{"file": str(file), "threads": threads, **row} for row in by_route(model, images)]
    if arguments.json:
        print_json(rows)
    else:
        for row in rows:
            print(
                "{file}  threads {threads}  {route}  images {images}  p50 {p50_ms:.3f} ms  p95 {p95_ms:.3f} ms".format(
                    **row
                )
            )
    return failures


def _images(folder, shape):
    import numpy as np

    from keras_moe.images import crops, read_image

    if folder is None:
        return crops(shape, 300)
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    if not paths:
        raise ValueError(f"Expected a folder of images. Received: {folder}, which holds no file")
    return np.stack([read_image(path, shape) for path in paths])


def _to_stderr():
    from rich.console import Console

    return Console(stderr=True)
