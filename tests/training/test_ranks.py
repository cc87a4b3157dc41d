"""Several processes that share a run: the same as one, bit for bit after a restart, and none that outlives another."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from PIL import Image

import pyramid
from conftest import CLASSES, tiny_photos, tiny_run
from pyramid import device
from pyramid.checkpoints import load_state, save_state
from pyramid.data import Photos
from pyramid.errors import InputError
from pyramid.presets import PRESETS, TERMS, MaskShares
from pyramid.training import Run, loop, objective, ranks, train
from pyramid.training.averaging import averaged_generator, distance_to_raw
from pyramid.training.record import Metrics
from pyramid.training.sampling import Batch, Sampler
from pyramid.training.step import economise

ROOT = Path(__file__).resolve().parents[2]
WORKER = """
import sys
sys.path[:0] = ["tests", "tests/training"]
import test_ranks
getattr(test_ranks, sys.argv[1])(*sys.argv[2:])
"""
#: every term within a few steps, and parts in more references than are looked at
SHARES = MaskShares(region=0.5, closed=0.05, several=0.05, relabel=0.5, compose=1.0, levels=(0.3, 0.3, 1, 1, 1, 1, 1))
OFTEN = replace(PRESETS["tiny32"], shares=SHARES, batch=16)
LIMIT = 240  # seconds


def processes(count: int, *command: str) -> list[subprocess.Popen]:
    """A command in as many processes, in the environment that torchrun makes for them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    return [
        subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"}
            | {name: str(value) for name, value in {**shared, "RANK": rank, "LOCAL_RANK": rank}.items()},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]


def workers(count: int, function: str, *arguments) -> list[subprocess.Popen]:
    """A function of this file in as many processes."""
    return processes(count, "-c", WORKER, function, *map(str, arguments))


def ended(started: list[subprocess.Popen]) -> list[str]:
    """What processes that end well have printed."""
    said = [process.communicate(timeout=LIMIT) for process in started]
    assert [process.returncode for process in started] == [0] * len(started), said
    return [out for out, _ in said]


def wait_for(path: Path, started: list[subprocess.Popen]) -> None:
    deadline = time.monotonic() + LIMIT
    while not path.exists():
        assert time.monotonic() < deadline and all(process.poll() is None for process in started)
        time.sleep(0.05)


def gradients(run: Run) -> dict[str, torch.Tensor]:
    """Of both networks on each of five draws, the last of eight, as one vector: network -> (5, weights)."""
    found = {"generator": [], "discriminator": []}
    for step in range(8):
        run.learn(run.sampler.draw(step), objective.weights(run.preset, 0))
        for name, each in found.items():
            each.append(torch.cat([p.grad.flatten() for p in getattr(run, name).parameters()]))
    return {name: torch.stack(each[-5:]) for name, each in found.items()}


def compute(out: str) -> None:
    """Gradients in single and double precision, then ten steps in double; rank 0 keeps what has come of it."""
    device.autocast_dtype = lambda _: None
    still = replace(OFTEN, learning_rate=0.0, discriminator_rate=0.0)  # a generator's step meets the same weights
    with ranks.together():
        base = tiny_run()
        single = gradients(Run(still, base.photos, base.classifier, 0))
        thrifty = Run(still, base.photos, base.classifier, 0)
        economise(thrifty, recompute=True)
        recomputed = gradients(thrifty)
        torch.set_default_dtype(torch.float64)
        torch.Tensor.float = torch.Tensor.double
        base = tiny_run()
        double = gradients(Run(still, base.photos, base.classifier, 0))
        run, metrics = Run(OFTEN, base.photos, base.classifier, 0), Metrics()
        for _ in range(10):
            run.step(metrics)
        averaged = averaged_generator(run, 3)
        result = {
            "single": single,
            "recomputed": recomputed,
            "double": double,
            "networks": [run.generator.state_dict(), run.discriminator.state_dict(), averaged.state_dict()],
            "line": metrics.line(),
            "distance": distance_to_raw(run, averaged, 2),
        }
        if ranks.first():
            save_state(Path(out), result)


def test_two_processes_compute_what_one_computes(tmp_path):
    """Gradients; and weights, statistics, average and metrics after ten steps in double precision.

    In single precision the rounding turns a sign or a max-pool of the generator's terms in some draws, as a change of
    z by 1e-6 does.
    """
    for count in (1, 2):
        ended(workers(count, "compute", tmp_path / str(count)))
    one, two = (load_state(tmp_path / name) for name in ("1", "2"))

    def away(precision: str, network: str) -> torch.Tensor:
        a, b = (result[precision][network] for result in (one, two))  # (5, weights)
        return (a - b).norm(dim=1) / a.norm(dim=1)  # (5,)

    for result in (one, two):  # sums over the ranks are taken again, and come out the same
        assert all(torch.equal(result["recomputed"][name], gradient) for name, gradient in result["single"].items())
    assert away("double", "generator").max() < 1e-10 and away("double", "discriminator").max() < 1e-10
    assert away("single", "discriminator").max() < 1e-5
    assert away("single", "generator").min() < 1e-5 and away("single", "generator").max() < 5e-3
    for ours, theirs in zip(one["networks"], two["networks"], strict=True):
        for name, value in ours.items():
            torch.testing.assert_close(theirs[name], value, rtol=0, atol=1e-7, msg=lambda m, name=name: f"{name}: {m}")
    assert two["line"] == one["line"] and two["distance"] == pytest.approx(one["distance"], rel=1e-7)
    learnt = {**one["line"]["discriminator"], **one["line"]["generator"]}
    assert set(learnt) == set(TERMS)
    assert all(any(value.values()) if isinstance(value, dict) else value for value in learnt.values())


def test_the_ranks_draws_are_the_draw_of_one(monkeypatch):
    """Row by row, both z of a reference in one rank, a class in whole pairs; each rank reads its own pictures alone."""
    read = []
    pixels = Photos.pixels
    monkeypatch.setattr(Photos, "pixels", lambda self, rows: read.append(rows.tolist()) or pixels(self, rows))
    preset = replace(OFTEN, batch=24)
    whole = [Sampler(tiny_photos(), preset, 4, 0).draw(step) for step in range(8)]
    rows, read = read, []
    shares = []
    for rank in range(3):
        monkeypatch.setattr(ranks, "ranks", lambda: 3)
        monkeypatch.setattr(ranks, "rank", lambda rank=rank: rank)
        sampler = Sampler(tiny_photos(), preset, 4, 0)
        shares.append([sampler.draw(step) for step in range(8)])
    assert [sum(of_step, []) for of_step in zip(read[:8], read[8:16], read[16:], strict=True)] == rows
    for step, batch in enumerate(whole):
        parts = [share[step] for share in shares]
        assert all(torch.equal(*Batch.of_one_class(part.real_labels)) for part in parts)
        by_z = ("labels", "judged", "z")
        for field in {f.name for f in fields(Batch)} - {"masks", "shift", "others", *by_z}:
            assert torch.equal(torch.cat([getattr(part, field) for part in parts]), getattr(batch, field)), field
        for field in by_z:
            of_each_z = zip(*(Batch.split_z(getattr(part, field)) for part in parts), strict=True)
            assert torch.equal(torch.cat([torch.cat(rows) for rows in of_each_z]), getattr(batch, field)), field
        for name, mask in batch.masks.items():
            of_each_z = zip(*(Batch.split_z(part.masks[name]) for part in parts), strict=True)
            assert torch.equal(torch.cat([torch.cat(rows) for rows in of_each_z]), mask), name
        for i, moved in enumerate(batch.shift):
            assert torch.equal(torch.cat([part.shift[i] for part in parts]), moved)
        assert all(torch.equal(part.others, batch.others) for part in parts)


def test_a_batch_is_shared_in_whole_pairs(monkeypatch):
    monkeypatch.setattr(ranks, "ranks", lambda: 3)
    with pytest.raises(InputError, match="3 processes cannot share the 8 images of a step of tiny32"):
        tiny_run()


def test_shared_batches_are_not_cut_again(monkeypatch):
    run = tiny_run()
    monkeypatch.setattr(ranks, "ranks", lambda: 2)
    with pytest.raises(InputError, match="The 2 processes share the batch already.*leave --parts out"):
        economise(run, parts=2)


def go_on(folder: str, *stops: str) -> None:
    """Train up to each of several steps, every time from the checkpoint."""
    loop.REPORT_EVERY = 2
    with ranks.together():
        for steps in map(int, stops):
            train(tiny_run(), Path(folder), steps=steps, progress=False)


def test_a_shared_run_goes_on_bit_for_bit_in_as_many_processes(tmp_path):
    ended([*workers(2, "go_on", tmp_path / "whole", 6)])
    ended([*workers(2, "go_on", tmp_path / "parted", 3, 6)])
    whole, parted = (load_state(tmp_path / name / "checkpoint.pt") for name in ("whole", "parted"))
    assert parted["step"] == whole["step"] == 6
    for part in ("generator", "discriminator", "ema"):
        assert all(torch.equal(parted[part][name], value) for name, value in whole[part].items())
    for ours, theirs in zip(whole["optimisers"], parted["optimisers"], strict=True):
        for index, moments in ours["state"].items():
            assert all(torch.equal(v, theirs["state"][index][k]) for k, v in moments.items())
    for name in ("whole", "parted"):
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines] == [2, 4, 6]  # of one process
    with pytest.raises(InputError, match="shared by 2 processes, not 1; start 2"):
        train(tiny_run(), tmp_path / "whole", steps=8, progress=False)


def go_on_until_stopped(folder: str) -> None:
    with ranks.together():
        print(train(tiny_run(), Path(folder), progress=False, save_minutes=0.001).step_count)


def test_ctrl_c_on_one_stops_all_at_one_step_which_is_saved(tmp_path):
    started = workers(2, "go_on_until_stopped", tmp_path)
    wait_for(tmp_path / "checkpoint.pt", started)
    started[1].send_signal(signal.SIGINT)
    steps = [int(said) for said in ended(started)]
    assert steps[0] == steps[1] == load_state(tmp_path / "checkpoint.pt")["step"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Random pictures, a folder a class."""
    place = tmp_path_factory.mktemp("photos")
    photos = tiny_photos(90)
    for i, (pixels, label) in enumerate(zip(photos.images, photos.labels.tolist(), strict=True)):
        (place / CLASSES[label]).mkdir(exist_ok=True)
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(place / CLASSES[label] / f"{i:03d}.png")
    return place


def test_torchrun_trains_and_where_one_process_is_killed_the_other_says_so(folder, tmp_path):
    command = ["-m", "pyramid", "train", "tiny32", "--data", str(folder), "--out", str(tmp_path)]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*torchrun, *command, "--steps", "2"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("the model is in") == done.stdout.count("16 images") == 1
    assert pyramid.load(tmp_path / "model").classes == CLASSES
    (tmp_path / ".lock").unlink()
    started = processes(2, *command)  # goes on
    wait_for(tmp_path / ".lock", started)
    started[1].kill()
    _, said = started[0].communicate(timeout=LIMIT)
    assert started[0].returncode == 2 and "Traceback" not in said
    assert said.rstrip().splitlines()[-1].endswith(ranks.ENDED)
    assert load_state(tmp_path / "checkpoint.pt")["step"] == 2
