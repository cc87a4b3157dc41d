"""Timings, never a test: `python -m tests.benchmark`."""

import statistics
import time

import torch

import pyramid
from pyramid import masks
from pyramid.levels import LEVELS
from pyramid.scenes import render


def milliseconds(work, repeats: int = 50) -> float:
    """Median of `repeats` runs after three to warm up."""
    times = []
    for i in range(repeats + 3):
        start = time.perf_counter()
        work()
        if i >= 3:
            times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def main() -> None:
    numbers = iter(range(10_000))
    each = milliseconds(lambda: [render(next(numbers), 64) for _ in range(10)]) / 10
    print(f"scenes drawn at 64 px, one core: {1000 / each:.0f} a second")
    model = pyramid.load("photos64", device="cpu")
    photo = pyramid.open_image(pyramid.sample_photographs()[0], model.image_size)
    features = model.features(photo)
    print(f"{torch.get_num_threads()} threads, medians of 50, milliseconds")
    print(f"features of one photograph: {milliseconds(lambda: model.features(photo)):.1f}")
    for name in LEVELS:
        mask = masks.level(name)
        print(f"one image from {name}: {milliseconds(lambda mask=mask: model.generate(features, mask)):.1f}")


if __name__ == "__main__":
    main()
