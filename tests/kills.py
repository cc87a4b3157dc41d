"""Kill -9 at random moments, and go on: `python -m tests.fuzz --kill`.

Training and classifier training are killed twenty times each and taken up again; they have to end with the weights, to
the bit, of a run that was never stopped. A save of a model over an older one is killed twenty times; whatever lies
there afterwards has to load, and to be one of the two.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import torch

import pyramid
from pyramid.checkpoints import load_state
from pyramid.errors import InputError
from pyramid.measure.tables import markdown

ROOT = Path(__file__).resolve().parents[1]
KILLS = 20
HEAD = """
import sys, torch
from pathlib import Path
torch.set_num_threads(1)
sys.path.insert(0, "tests")
from conftest import CLASSES, tiny_photos, tiny_run
folder = Path(sys.argv[1])
print("begun", flush=True)
"""
TRAINING = """
from pyramid.training import loop
loop.save_samples = lambda *_: None
loop.train(tiny_run(), folder, steps=400, progress=False, save_minutes=0.001)
"""
CLASSIFIER = """
import dataclasses
from pyramid.device import seeded
from pyramid.judge import Judge
from pyramid.training.classifiers import train_supervised
photos = tiny_photos(240)
photos = dataclasses.replace(photos, held_out=torch.arange(240) % 10 == 0)
with seeded(0):
    judge = Judge(len(CLASSES), 8)
train_supervised(judge, photos, folder / "judge.pt", 150, progress=False)
"""
SAVING = """
from pyramid import model
from pyramid.judge import Judge
run = tiny_run()
judge = Judge(len(CLASSES), run.preset.judge_base)
card = {"preset": run.preset.asdict(), "classes": CLASSES, "familiar_above": 0.5}
for i in range(10**6):
    for network in (run.classifier, judge, run.generator):
        for parameter in network.parameters():
            parameter.data.fill_(i % 7)
    model.save(folder, card | {"shade": i % 7}, classifier=run.classifier, judge=judge, generator=run.generator)
"""


def start(code: str, folder: Path) -> subprocess.Popen:
    """The worker, at the point where its work begins."""
    process = subprocess.Popen(
        [sys.executable, "-c", HEAD + code, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    process.stdout.readline()
    return process


def killed(process: subprocess.Popen, seconds: float) -> bool:
    """Let it work for so long, then kill it; whether it was still at work."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    alive = process.poll() is None
    os.kill(process.pid, signal.SIGKILL) if alive else None
    process.wait()
    return alive


def same(first: dict, second: dict) -> bool:
    """Whether two checkpoints are equal to the bit."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return first == second


def resumed(code: str, name: str, rng: random.Random, reach: float) -> tuple[int, bool]:
    """Kill KILLS times, up to `reach` seconds after each start; (kills, whether it ended as one never stopped)."""
    with tempfile.TemporaryDirectory() as place:
        whole, often = Path(place) / "whole", Path(place) / "often"
        assert start(code, whole).wait() == 0
        count = 0
        while count < KILLS and killed(start(code, often), rng.uniform(0.1, reach)):
            count += 1
        last = start(code, often)
        ended = last.wait() == 0
        left = [path.name for path in often.iterdir() if path.name.endswith(".tmp")]
        equal = ended and same(load_state(whole / name), load_state(often / name))
        return count, equal and len(left) <= KILLS


def saved(rng: random.Random) -> tuple[int, bool]:
    """Kill saves of a model over an older one: (kills, whether what lay there always loaded whole)."""
    with tempfile.TemporaryDirectory() as place:
        folder, count, sound = Path(place) / "m", 0, True
        process = start(SAVING, folder)
        while not (folder / "card.json").exists():
            time.sleep(0.01)
        killed(process, 0)
        for _ in range(KILLS):
            count += killed(start(SAVING, folder), rng.uniform(0.0, 1.5))
            try:
                model = pyramid.load(folder, "cpu")
            except InputError:
                sound = False
                continue
            values = {float(p.min()) for n in (model.judge, model.generator) for p in n.parameters()}
            sound &= values == {float(model.card["shade"])}
        return count, sound


def main(seed: int = 0) -> int:
    """All three; prints a table."""
    rng = random.Random(seed)
    results = {
        "training": resumed(TRAINING, "checkpoint.pt", rng, 1.5),
        "classifier training": resumed(CLASSIFIER, "judge.pt", rng, 1.5),
        "saving a model": saved(rng),
    }
    rows = [[name, str(count), "yes" if sound else "NO"] for name, (count, sound) in results.items()]
    print(markdown(["killed", "times", "ended to the bit as if never killed, or whole"], rows))
    return not all(sound for _, sound in results.values())
