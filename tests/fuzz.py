"""Broken files and kills at random moments: `python -m tests.fuzz` and `python -m tests.fuzz --kill`, minutes each.

Every case is drawn from a seed, so that one that fails can be looked at again. A file may be read all the same, or be
refused with an InputError; anything else counts as a failure, and so do ten seconds, and two gigabytes.
"""

import argparse
import hashlib
import io
import json
import random
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import pyramid  # noqa: E402
from conftest import CLASSES, tiny_run  # noqa: E402
from pyramid import data, figures, masks, model  # noqa: E402
from pyramid.checkpoints import load_state  # noqa: E402
from pyramid.errors import InputError  # noqa: E402
from pyramid.measure import study  # noqa: E402
from pyramid.measure.tables import markdown  # noqa: E402
from pyramid.training import train  # noqa: E402
from tests.memory import peak  # noqa: E402

SECONDS, GIGABYTES = 10, 2
WHOLE = {"images": 1000, "safetensors": 200, "cards": 200, "checkpoints": 200, "metrics": 200, "answers": 200}


def mutated(content: bytes, rng: random.Random) -> bytes:
    """One to five of: bytes changed, cut off, taken out, doubled, put in, numbers made extreme."""
    content = bytearray(content)
    for _ in range(rng.randint(1, 5)):
        size = max(len(content), 1)
        at = min(rng.choice((rng.randrange(size), rng.randrange(min(size, 64)))), size - 1)
        length = rng.choice((1, 2, 4, 8, 64, 1024))
        kind = rng.randrange(6)
        if kind == 0:
            content[at : at + length] = rng.randbytes(min(length, 16))
        elif kind == 1:
            del content[at:]
        elif kind == 2:
            del content[at : at + length]
        elif kind == 3:
            content[at:at] = content[at : at + length]
        elif kind == 4:
            content[at:at] = rng.randbytes(length)
        else:
            extreme = rng.choice((0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000, 0xFFFF))
            content[at : at + 4] = struct.pack(rng.choice("<>") + "I", extreme)
    return bytes(content)


VALUES = (None, True, 0, -1, 2**70, 1e400, "", "x" * 10_000, [], {}, [[]], "conv1", float("nan"), -0.5, "\ud800")


def mutated_json(value, rng: random.Random):
    """A JSON value with one to three of its parts changed, taken away, renamed or wrapped."""
    value = json.loads(json.dumps(value))
    for _ in range(rng.randint(1, 3)):
        holder = value
        while isinstance(holder, dict | list) and holder:
            key = rng.choice(list(holder)) if isinstance(holder, dict) else rng.randrange(len(holder))
            if not isinstance(holder[key], dict | list) or not holder[key] or rng.random() < 0.4:
                kind = rng.randrange(4)
                if kind == 0:
                    holder[key] = rng.choice(VALUES)
                elif kind == 1:
                    del holder[key]
                elif kind == 2 and isinstance(holder, dict):
                    holder[rng.choice(("x", "name", "sha256"))] = holder.pop(key)
                else:
                    holder[key] = [holder[key]]
                break
            holder = holder[key]
    return value


def pictures() -> list[tuple[str, bytes]]:
    """A small picture in every format that is read, and in odd modes."""
    pixels = np.random.default_rng(0).integers(0, 256, (48, 40, 3)).astype(np.uint8)
    image, found = Image.fromarray(pixels), []
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, picture, options in (
        ("a.jpg", image, {"exif": exif}), ("b.jpg", image.convert("CMYK"), {}), ("c.png", image.convert("RGBA"), {}),
        ("d.png", image.convert("P"), {}), ("e.png", Image.fromarray(pixels[..., 0].astype(np.uint16) * 200), {}),
        ("f.gif", image, {"save_all": True, "append_images": [image.rotate(90)]}), ("g.bmp", image, {}),
        ("h.webp", image, {}), ("i.tif", image, {"compression": "tiff_lzw"}), ("j.tif", image.convert("F"), {}),
        ("k.jpg", image, {"progressive": True}), ("l.tiff", image.convert("1"), {}),
    ):  # fmt: skip
        stream = io.BytesIO()
        picture.save(stream, format=Image.registered_extensions()[Path(name).suffix], **options)
        found.append((name, stream.getvalue()))
    return found


Case = Callable[[random.Random], Callable[[], object]]  # draws a case, and returns what is done with it


def of_images(folder: Path) -> Case:
    base = pictures()

    def draw(rng: random.Random):
        name, content = rng.choice(base)
        broken = mutated(content, rng)
        path = folder / name
        path.write_bytes(broken)
        if rng.random() < 0.5:
            return lambda: data.open_image(path, 32)
        return lambda: data.open_upload(name, broken, 32)

    return draw


def _saved(folder: Path):
    """A tiny model in a folder, and its card."""
    run = tiny_run()
    judge = pyramid.judge.Judge(len(CLASSES), run.preset.judge_base)
    card = {"preset": run.preset.asdict(), "classes": CLASSES, "familiar_above": 0.5}
    model.save(folder, card, classifier=run.classifier, judge=judge, generator=run.generator)
    return json.loads((folder / "card.json").read_text(encoding="utf-8"))


def _used(folder: Path) -> None:
    loaded = pyramid.load(folder, "cpu")
    photo = torch.zeros(1, 3, loaded.image_size, loaded.image_size)
    features = loaded.features(photo)
    loaded.generate(features, masks.level("conv4"))
    loaded.is_familiar(features)


def of_safetensors(folder: Path) -> Case:
    card, plain = _saved(folder), (folder / "generator.safetensors").read_bytes()

    def draw(rng: random.Random):
        broken = mutated(plain, rng)
        (folder / "generator.safetensors").write_bytes(broken)
        hashes = card["sha256"] | {"generator": hashlib.sha256(broken).hexdigest()}  # as if the card had named it
        (folder / "card.json").write_text(json.dumps(card | {"sha256": hashes}), encoding="utf-8")
        return lambda: _used(folder)

    return draw


def of_cards(folder: Path) -> Case:
    card = _saved(folder)

    def draw(rng: random.Random):
        text = json.dumps(mutated_json(card, rng)) if rng.random() < 0.7 else None
        content = text.encode() if text else mutated(json.dumps(card).encode(), rng)
        (folder / "card.json").write_bytes(content)
        return lambda: _used(folder)

    return draw


def of_checkpoints(folder: Path) -> Case:
    train(tiny_run(), folder, steps=1, progress=False)
    path = folder / "checkpoint.pt"
    plain = path.read_bytes()
    state = load_state(path)

    def draw(rng: random.Random):
        if rng.random() < 0.5:
            path.write_bytes(mutated(plain, rng))
        else:  # sound as a file, wrong in what it says
            changed = dict(state)
            key = rng.choice(list(changed))
            if rng.random() < 0.4:
                del changed[key]
            else:
                changed[key] = rng.choice([v for v in VALUES if v != "\ud800"] + [torch.zeros(2), {"a": torch.ones(1)}])
            torch.save(changed, path)
        return lambda: tiny_run().resume(load_state(path, tuple(state)))

    return draw


def of_metrics(folder: Path) -> Case:
    path = folder / "metrics.jsonl"
    line = {"step": 50, "images": 400, "seconds": 2.0, "lr_factor": 1.0, "z_distance": 0.1, "variety": 0.5,
            "discriminator": {"adversarial": 1.9, "heads": 1.0}, "pictures": {"spread": 0.4, "saturated": 0.0},
            "generator": {"reconstruction": {"conv1": 0.2, "fc8": 0.1}, "adversarial": 0.1}}  # fmt: skip

    def draw(rng: random.Random):
        lines = [json.dumps(mutated_json(line, rng) if rng.random() < 0.5 else line) for _ in range(4)]
        content = "\n".join(lines).encode()
        path.write_bytes(mutated(content, rng) if rng.random() < 0.5 else content)
        return lambda: (figures.read_metrics(folder), [figures.png(figure) for figure in figures.run_figures(folder)])

    return draw


def of_answers(folder: Path) -> Case:
    trials = study.plan_trials(6, 1, 0)
    answers = study.simulate(trials, dict.fromkeys(pyramid.LEVELS, 0.4), "ann", 0)
    lines = [asdict(given) for given in answers]
    path = folder / "ann.jsonl"

    def draw(rng: random.Random):
        rows = [json.dumps(mutated_json(line, rng) if rng.random() < 0.2 else line) for line in lines]
        content = "\n".join(rows).encode()
        path.write_bytes(mutated(content, rng) if rng.random() < 0.5 else content)
        return lambda: study.markdown_report(study.report(study.read_answers([path])))

    return draw


KINDS: dict[str, Callable[[Path], Case]] = {
    "images": of_images, "safetensors": of_safetensors, "cards": of_cards, "checkpoints": of_checkpoints,
    "metrics": of_metrics, "answers": of_answers,
}  # fmt: skip


def _too_long(*_):
    raise TimeoutError(f"more than {SECONDS} seconds")


def fuzz(kind: str, count: int, seed: int = 0) -> dict:
    """`count` cases of a kind: how many were read, how many refused in a sentence, and what failed."""
    read, refused, failed, longest = 0, 0, [], 0.0
    before = signal.signal(signal.SIGALRM, _too_long)
    with tempfile.TemporaryDirectory() as folder:
        draw = KINDS[kind](Path(folder))
        for i in range(count):
            use = draw(random.Random(f"{kind} {seed} {i}"))
            begun = time.monotonic()
            signal.setitimer(signal.ITIMER_REAL, SECONDS)
            try:
                use()
                read += 1
            except InputError as error:
                refused += 1
                if "\n" in str(error).strip():
                    failed.append((i, f"not one sentence: {error}"))
            except Exception:
                failed.append((i, traceback.format_exc().strip().splitlines()[-1]))
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            longest = max(longest, time.monotonic() - begun)
    signal.signal(signal.SIGALRM, before)
    gigabytes = peak() / 2**30
    if gigabytes > GIGABYTES:
        failed.append((-1, f"{gigabytes:.1f} GB"))
    return {"read": read, "refused": refused, "failed": failed, "seconds": longest, "gigabytes": gigabytes}


def fuzz_apart(kind: str, count: int, seed: int = 0) -> dict:
    """`fuzz` in a process of its own, so that the memory measured is its own."""
    command = [sys.executable, "-m", "tests.fuzz", "--kind", kind, "--count", str(count), "--seed", str(seed)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        return {"failed": [(-1, f"ended with {done.returncode}")]}
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    """All cases, each kind in a process of its own; prints a table and what failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kill", action="store_true", help="kill -9 at random moments instead")
    parser.add_argument("--kind", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.kill:
        from tests import kills

        return kills.main()
    if args.kind:
        print(json.dumps(fuzz(args.kind, args.count, args.seed)))
        return 0
    rows, failed = [], []
    for kind, count in WHOLE.items():
        result = fuzz_apart(kind, count)
        failed += [(kind, *case) for case in result["failed"]]
        cells = [str(result.get(key, "–")) for key in ("read", "refused")] + [str(len(result["failed"]))]
        limits = [f"{result[key]:.1f}" if key in result else "–" for key in ("seconds", "gigabytes")]
        rows.append([kind, str(count), *cells, *limits])
    print(markdown(["broken", "files", "read", "refused", "failed", "longest, s", "peak, GB"], rows))
    for case in failed:
        print(*case)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
