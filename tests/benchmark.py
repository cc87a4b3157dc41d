"""Timings and peak memory, never a test: `python -m tests.benchmark`, `… --memory`, `… --loader [COUNT]`.

`… --step PRESET` takes training steps of a preset on noise and stands them beside what `measure.scale` expects.
"""

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


PEAK = "\nfrom tests.memory import peak; print(peak() // 2**20)"
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


READING = """
import time, psutil, torch
from pathlib import Path
from pyramid import data
from pyramid.scenes import load_folder, streaming
data.CACHE, streaming.IN_MEMORY = Path({cache!r}), 0
begun = time.perf_counter()
photos = streaming.stream(load_folder({folder!r}, {size}, progress=False, streamed=True).index, {size}, {workers})
print("listed or read from the index in", round(time.perf_counter() - begun, 1), "s")
me, batches = psutil.Process(), torch.randperm(len(photos), generator=torch.Generator().manual_seed(0)).split(64)
begun, quarters = time.perf_counter(), []
for i, pixels in enumerate(photos.batches(batches), 1):
    if i * 4 // len(batches) > len(quarters):
        quarters.append(sum(p.memory_full_info().pss for p in (me, *me.children(recursive=True))) // 2**20)
seconds = time.perf_counter() - begun
print("{workers} processes:", round(len(photos) / seconds), "images a second,", round(len(photos) / seconds /
      max({workers}, 1)), "of each; MB of all together after each quarter:", quarters)
"""


def loader(count: int, size: int) -> None:
    """`Streamed` over as many synthetic JPEGs of 256 px, in one process, one apart and two apart, index and all."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as place:
        for i in range(count):
            folder = Path(place) / "photos" / f"class{i % 10}"
            folder.mkdir(parents=True, exist_ok=True)
            coarse = Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8))  # about a photograph's detail
            coarse.resize((256, 256), Image.Resampling.BICUBIC).save(folder / f"{i}.jpg", quality=90)
        mean = sum(path.stat().st_size for path in Path(place).rglob("*.jpg")) / count
        print(f"{count:,} JPEGs of 256 px, {mean / 1000:.0f} kB on the mean, at {size} px")
        for workers in (0, 1, 2):
            code = READING.format(cache=f"{place}/cache", folder=f"{place}/photos", size=size, workers=workers)
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
            print("\n".join(done.stdout.splitlines()[2:]))


STEPPING = """
import json, sys, time, torch
from dataclasses import replace
from pyramid.classifier import Classifier
from pyramid.data import Photos
from pyramid.device import autocast_dtype, default_device, in_precision
from pyramid.measure import scale
from pyramid.presets import get_preset
from pyramid.training import Run
from pyramid.training.record import Metrics
from pyramid.training.step import economise
from tests.memory import peak
name, batch, how, most = {name!r}, {batch}, {how!r}, {steps}
recorded = how.pop("recorded", True)
preset, device = replace(get_preset(name), batch=batch), default_device()
classes, on_card = scale.classes_of(preset), device.type == "cuda"
images = torch.randint(0, 256, (32, 3, preset.image_size, preset.image_size), dtype=torch.uint8)
labels, names = torch.arange(32) % classes, tuple(map(str, range(classes)))
photos = Photos(images, labels, torch.zeros(32, dtype=torch.bool), names).to(device)
run = Run(preset, photos, Classifier(classes, **preset.classifier), 0)
economise(run, **how)
run.recorder = run.recorder if recorded else None
def memory():
    if on_card:
        return torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
    return 2 * (peak(),)
def timed(steps):
    if on_card: torch.cuda.synchronize()
    begun = time.perf_counter()
    for _ in range(steps): run.step(Metrics())
    if on_card: torch.cuda.synchronize()
    return time.perf_counter() - begun
warm = preset.r1_every + 10 if on_card else 1
timed(warm)
seconds = timed(most)
how = {{k: v for k, v in how.items() if k != "compiled"}}
expected = scale.count_step(preset, classes, batch, autocast_dtype(device), **how).peak
allocated, reserved = memory()
print(json.dumps(dict(preset=name, batch=batch, **{how!r}, images_a_second=round(batch * most / seconds, 2),
    device=torch.cuda.get_device_name() if on_card else "cpu", recordings=len(run.recorder.recordings) if run.recorder
    else 0, gigabytes=round(allocated / 1e9, 3), reserved=round(reserved / 1e9, 3), estimate=round(expected / 1e9, 3))))
"""


def step(name: str, batch: int, how: dict, steps: int) -> str:
    """One line of JSON, from a process of its own; R1 is in one step of sixteen, or in as many as are taken."""
    code = STEPPING.format(name=name, batch=batch, how=how, steps=steps)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


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
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--memory", action="store_true", help="peaks instead of timings")
    choice.add_argument("--loader", type=int, nargs="?", const=50_000, metavar="COUNT", help="JPEGs read from a disk")
    choice.add_argument("--step", metavar="PRESET", help="training steps of a preset, on a card where there is one")
    parser.add_argument("--batch", type=int, nargs="+", default=[16], help="generated images of these steps")
    parser.add_argument("--steps", type=int, default=32, help="that are timed")
    parser.add_argument("--how", nargs="*", default=[], help="recompute, compiled, parts=N, or recorded= for no graph")
    parser.add_argument("--size", type=int, default=256, help="pixels a side that the JPEGs are read at")
    args = parser.parse_args()
    if args.loader:
        loader(args.loader, args.size)
    elif args.step:
        words = [word.partition("=") for word in args.how]
        how = {key: (int(value) if value else not given) for key, given, value in words}
        for count in args.batch:
            print(step(args.step, count, how, args.steps), flush=True)
    else:
        memory() if args.memory else timings()
