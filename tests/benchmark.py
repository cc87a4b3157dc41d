"""Timings and peak memory, never a test: `python -m tests.benchmark`, and `python -m tests.benchmark --memory`."""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

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


PEAK = "\nimport resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
LOADING = """
from pathlib import Path
from pyramid import data
from pyramid.scenes import load_folder
data.CACHE = Path({cache!r})
load_folder({folder!r}, 64, progress=False)
"""
EVALUATING = """
from pyramid import data, load
from pyramid.measure import levels
from pyramid.scenes import load_photos
photos = load_photos("scenes-test", 64, progress=False)
levels.evaluate(load("scenes64", "cpu"), photos, photos, {count}, side=32, progress=False)
"""


def megabytes(code: str) -> int:
    """Peak of resident memory of a process of its own."""
    done = subprocess.run([sys.executable, "-c", code + PEAK], capture_output=True, text=True, check=True)
    return int(done.stdout.splitlines()[-1])


def memory() -> None:
    """`load_folder` on up to 50,000 small files, decoded and from its cache; `evaluate` over up to 2,600 images."""
    print(f"import alone: {megabytes('import pyramid, pyramid.measure.levels')} MB")
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as place:
        made = 0
        for count in (12_500, 25_000, 50_000):
            for i in range(made, count):
                folder = Path(place) / "photos" / f"class{i % 10}"
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / f"{i}.bmp")
            made = count
            code = LOADING.format(cache=f"{place}/cache", folder=f"{place}/photos")
            pixels = count * 3 * 64 * 64 // 2**20
            print(
                f"load_folder, {count:,} files, {pixels} MB of pixels: {megabytes(code)} MB, again {megabytes(code)} MB"
            )
    for count in (1300, 2600):
        print(f"evaluate, {count:,} images: {megabytes(EVALUATING.format(count=count))} MB")


def timings() -> None:
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memory", action="store_true", help="peaks instead of timings")
    memory() if parser.parse_args().memory else timings()
