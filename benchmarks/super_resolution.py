"""A ClassSR beside its dense network and bicubic: quality and cost, the knob's curve, speed, memory.

    KERAS_MOE_DATA=FOLDER python -m benchmarks.super_resolution quality [--scale 4] [--sets set5 photos2k …]
    KERAS_MOE_DATA=FOLDER python -m benchmarks.super_resolution curve
    KERAS_MOE_DATA=FOLDER python -m benchmarks.super_resolution bound [--patch 32]
    KERAS_MOE_DATA=FOLDER python -m benchmarks.super_resolution speed
    python -m benchmarks.super_resolution memory --scale 2

Protocol: low resolution by Pillow's antialiased bicubic on uint8; outputs rounded to uint8; ``scale`` pixels left out
at every side; PSNR and SSIM on RGB and on the luma of BT.601; means over images. MACs are what is executed on the whole
image: for ClassSR with overlap and class module, for the dense network (run on the image in one piece) without
any. "As the paper": 2 x MACs per 32x32 patch with the transposed convolution counted at its output, no overlap.
"""

import argparse
import resource
import time

import numpy as np

from keras_moe import cost, zoo
from keras_moe.datasets import SUPER_RESOLUTION, super_resolution
from keras_moe.datasets.patches import bicubic, shrink
from keras_moe.metrics import luma, psnr, psnr_from_mse, ssim
from keras_moe.models import ClassSR
from keras_moe.super_resolution.upscale import OVERLAP, PATCH

AIM = 0.6  # of the largest branch's MACs


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("quality", "curve", "bound", "speed", "memory"))
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument(
        "--sets", nargs="+", choices=SUPER_RESOLUTION, default=["set5", "set14", "bsd100", "kodak", "photos2k"]
    )
    parser.add_argument("--patch", type=int, default=PATCH)
    parser.add_argument("--overlap", type=int, default=OVERLAP)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megapixels", type=float, default=50)
    arguments = parser.parse_args()

    if arguments.what == "memory":
        _memory(arguments)
        return
    model = zoo.load(f"classsr_fsrcnn_x{arguments.scale}")
    hard = zoo.load(f"fsrcnn_x{arguments.scale}").get_layer("branch")
    {"quality": _quality, "curve": _curve, "bound": _bound, "speed": _speed}[arguments.what](model, hard, arguments)


def _quality(model, hard, arguments):
    print(f"{'set':9} {'':12} {'RGB':>6} {'SSIM':>6} {'Y':>6} {'SSIM':>6} {'GMACs':>7} {'share':>6}  branches")
    ways = {"bicubic": _bicubic, "dense": _dense(hard), "own hardest": _dense(model.bank.experts[-1])}
    ways["ClassSR"] = _routed(model, arguments)
    for name in arguments.sets:
        rows = {way: [] for way in ways}
        for photo in super_resolution(name):
            low, high = shrink(photo, model.scale)
            for way, enlarge in ways.items():
                image, macs, usage = enlarge(low, model.scale)
                both = [(image, high), (luma(image), luma(high))]
                values = [measure(*pair, model.scale) for pair in both for measure in (psnr, ssim)]
                rows[way].append([*values, macs / 1e9, *usage])
        dense = np.mean(rows["dense"], axis=0)[4]
        for way, values in rows.items():
            rgb, rgb_ssim, y, y_ssim, macs, *usage = np.mean(values, axis=0)
            shares = " ".join(f"{u:.0%}" for u in usage)
            print(
                f"{name:9} {way:12} {rgb:6.2f} {rgb_ssim:6.4f} {y:6.2f} {y_ssim:6.4f} {macs:7.2f} {macs / dense:6.1%}  "
                f"{shares}",
                flush=True,
            )
            if way == "ClassSR":
                print(f"{'':9} as the paper counts: {_as_the_paper(model, usage)}")


def _curve(model, hard, arguments):
    """Quality and cost over the knob, on whole images."""
    before = model.cost_weight
    print(f"published cost_weight {before:.3f}")
    for name in arguments.sets:
        pairs = [shrink(photo, model.scale) for photo in super_resolution(name)]
        dense = np.mean([_dense(hard)(low, model.scale)[1] for low, _ in pairs])
        for step in (-1e6, -4, -2, -1, 0, 1, 2, 4, 1e6):
            model.cost_weight = before + step
            results = [(model.upscale_routed(low, arguments.patch, arguments.overlap), high) for low, high in pairs]
            quality = np.mean([psnr(luma(upscaled.image), luma(high), model.scale) for upscaled, high in results])
            share = np.mean([upscaled.macs for upscaled, _ in results]) / dense
            print(f"{name:9} {before + step:13.3f} {quality:6.3f} dB {share:6.1%}", flush=True)
    model.cost_weight = before


def _bound(model, hard, arguments):
    """Luma PSNR where every patch takes the branch that its true error says, for at most ``AIM`` of the cost.

    Each branch runs on the whole image; overlap and class module cost nothing.
    """
    costs = np.array(model.macs_by_part()["branches"]) / model.macs_by_part()["branches"][-1]
    for name in arguments.sets:
        images = [
            _errors_of_patches(model, *shrink(photo, model.scale), arguments.patch) for photo in super_resolution(name)
        ]
        low, high = -9.0, 9.0
        for _ in range(40):  # of bisection of what cost is worth, a power of ten
            middle = (low + high) / 2
            low, high = (middle, high) if _spent(images, costs, 10**middle) > AIM else (low, middle)
        spent = _spent(images, costs, 10**high)
        chosen = [_best(errors, pixels, 10**high * costs) for errors, pixels in images]
        each = np.mean([_psnr(errors, pixels) for errors, pixels in images], axis=0)
        best = [_psnr(errors[np.arange(len(k)), k], pixels) for k, (errors, pixels) in zip(chosen, images, strict=True)]
        print(
            f"{name:9} branches alone {', '.join(f'{value:.3f}' for value in each)} dB; the best for each patch, "
            f"{spent:.1%}: {np.mean(best):.3f} dB",
            flush=True,
        )


def _best(errors, pixels, prices):
    """The branch of each patch by its share of the image's error, and of its pixels times the branch's price."""
    return (errors / errors[:, -1].sum() + prices * (pixels / pixels.sum())[:, None]).argmin(1)


def _spent(images, costs, worth):
    """The mean cost of a pixel where a cost of 1 is worth that share of an image's error."""
    return np.mean([costs[_best(errors, pixels, worth * costs)] @ pixels / pixels.sum() for errors, pixels in images])


def _errors_of_patches(model, low, high, patch):
    """Sums of squared luma errors, ``(patches, branches)``, and the pixels of each patch."""
    border, size = model.scale, patch * model.scale
    target = luma(high)[border:-border, border:-border]
    maps = [
        (luma(_dense(branch)(low, model.scale)[0])[border:-border, border:-border] - target) ** 2
        for branch in model.bank.experts
    ]
    corners = [(y, x) for y in range(0, target.shape[0], size) for x in range(0, target.shape[1], size)]
    errors = [[error[y : y + size, x : x + size].sum() for error in maps] for y, x in corners]
    return np.array(errors), np.array([target[y : y + size, x : x + size].size for y, x in corners])


def _psnr(errors, pixels):
    return psnr_from_mse(errors.sum(0) / pixels.sum())


def _speed(model, hard, arguments):
    """Seconds per image, in turn within each round; the median round of each image, then the mean over images."""
    photos = [shrink(photo, model.scale)[0] for photo in super_resolution(arguments.sets[-1])]
    ways = {"dense": _dense(hard), "ClassSR": _routed(model, arguments)}
    for patch in (arguments.patch, 32):  # 32: the paper's
        ways[f"one by one, {patch} px"] = _one_by_one(model, patch, arguments.overlap)
    seconds = {way: [] for way in ways}
    for low in photos[:6]:
        times = {way: [] for way in ways}
        for round in range(arguments.rounds + 1):
            for way, enlarge in ways.items():
                start = time.perf_counter()
                enlarge(low, model.scale)
                if round:  # the first warms up
                    times[way].append(time.perf_counter() - start)
        for way, durations in times.items():
            seconds[way].append(np.median(durations))
    for way, durations in seconds.items():
        ratio = np.mean(durations) / np.mean(seconds["ClassSR"])
        print(f"{way:18} {np.mean(durations):7.3f} s per image, {ratio:5.2f} x ClassSR's", flush=True)


def _memory(arguments):
    """One image of noise and gradients, uint8, and the most memory that this process ever held.

    The weights are random, and every patch takes the largest branch, which is the worst case.
    """
    model = ClassSR(scale=arguments.scale, cost_weight=-1e6)
    height = round((arguments.megapixels * 1e6 / 1.5) ** 0.5)
    width = round(height * 1.5)
    image = np.random.default_rng(0).integers(0, 40, (height, width, 3), "uint8")
    image += np.linspace(0, 200, width).astype("uint8")[:, None]
    start = time.perf_counter()
    upscaled = model.upscale_routed(image, arguments.patch, arguments.overlap)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{width} x {height} -> {upscaled.image.shape[1]} x {upscaled.image.shape[0]}: peak memory {peak:.2f} GiB, ",
        end="",
    )
    print(f"{time.perf_counter() - start:.0f} s, {upscaled.macs / 1e9:.0f} billion MACs")


def _bicubic(low, scale):
    return bicubic(low, scale), 0, ()


def _dense(branch):
    """A branch on the whole image in one piece."""

    def enlarge(low, scale):
        image = branch.predict_on_batch(low[None].astype("float32") / 255)[0] * 255
        return np.rint(np.clip(image, 0, 255)).astype("uint8"), cost.macs(branch, (None, *low.shape)), ()

    return enlarge


def _routed(model, arguments):
    def enlarge(low, scale):
        upscaled = model.upscale_routed(low, arguments.patch, arguments.overlap, verbose=False)
        usage = np.bincount(upscaled.route.ravel(), minlength=len(model.bank.experts)) / upscaled.route.size
        return upscaled.image, upscaled.macs, usage

    return enlarge


def _one_by_one(model, patch, overlap):
    """Patches through the same branches, one at a time."""

    def enlarge(low, scale):
        model.upscale_routed(low, patch, overlap, batch_size=1, verbose=False)

    return enlarge


def _as_the_paper(model, usage):
    flops = [cost.flops_as_classsr(branch, (None, 32, 32, 3)) for branch in model.bank.experts]
    module = 2 * cost.macs(model.get_layer("class_module"), (None, 32, 32, 3))
    mean = float(np.dot(usage, flops)) + module
    return f"{mean / 1e6:.0f} M FLOPs per patch of {flops[-1] / 1e6:.0f} M, {mean / flops[-1]:.0%}"


if __name__ == "__main__":
    main()
