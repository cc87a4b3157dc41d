"""Photographs on a disk: their index, their pixels, their order."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from pyramid import data
from pyramid.data import Photos, read_image, square
from pyramid.errors import InputError
from pyramid.scenes import folders, index, load_folder, streaming

SIZE, EACH = 32, 40


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """Three classes of random pictures, in no memory: what is read is what was drawn."""
    monkeypatch.setattr(data, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(streaming, "IN_MEMORY", 3 * SIZE**2 * EACH)  # a third of them
    rng = np.random.default_rng(0)
    for label, name in enumerate(("forest", "sea", "street")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(EACH):
            pixels = rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
            pixels[0, 0] = label, i, 0
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{i:02d}.png")
    return tmp_path / "photos"


def load(folder, **more) -> streaming.Streamed:
    return load_folder(folder, SIZE, progress=False, streamed=True, **more)


def told(pixels: torch.Tensor) -> list[tuple[int, int]]:
    """(label, number) as the first pixel of each picture says."""
    return [tuple(pair) for pair in pixels[:, :2, 0, 0].tolist()]


def test_a_set_is_streamed_by_the_bytes_it_would_take(disk, monkeypatch):
    photos = load(disk)
    assert isinstance(photos, streaming.Streamed) and len(photos) == 3 * EACH
    assert photos.classes == ("forest", "sea", "street") and photos.labels.bincount().tolist() == [EACH] * 3
    monkeypatch.setattr(streaming, "IN_MEMORY", 3 * SIZE**2 * 3 * EACH)
    held = load(disk)
    assert isinstance(held, Photos) and told(held.images) == [(c, i) for c in range(3) for i in range(EACH)]


def test_pixels_are_those_of_the_rows(disk):
    photos = load(disk)
    rows = torch.tensor([100, 3, 41, 3])
    assert told(photos.pixels(rows)) == [(2, 20), (0, 3), (1, 1), (0, 3)]
    held = photos.part(held_out=True)
    assert 0 < len(held) < 30 and len(held) + len(photos.part(held_out=False)) == 3 * EACH
    every = told(held.pixels(torch.arange(len(held))))
    assert [label for label, _ in every] == held.labels.tolist()
    assert not set(every) & set(told(photos.part(False).pixels(torch.arange(3 * EACH - len(held)))))


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_come_in_their_order_and_draw_nothing(disk, workers):
    photos = streaming.stream(load(disk).index, SIZE, workers)
    order = torch.randperm(3 * EACH, generator=torch.Generator().manual_seed(1)).split(7)
    before = torch.get_rng_state()
    for _ in range(2):  # the processes go on being used
        for rows, pixels in zip(order, photos.batches(order), strict=True):
            assert told(pixels) == [(int(row) // EACH, int(row) % EACH) for row in rows]
    assert torch.equal(before, torch.get_rng_state())


def test_a_new_order_ends_the_one_before(disk):
    photos = streaming.stream(load(disk).index, SIZE, workers=2)
    order = torch.arange(3 * EACH).split(4)
    first = photos.batches(order)
    next(first), next(first)
    assert told(next(photos.batches(order[5:]))) == [(0, 20), (0, 21), (0, 22), (0, 23)]
    with pytest.raises(RuntimeError, match="another order"):
        next(first)


def test_a_sample_has_every_class_alike(disk, monkeypatch):
    monkeypatch.setattr(streaming, "KNOWN", 30)
    photos = load(disk).part(held_out=False)
    assert photos.labels[photos.known].bincount().tolist() == [10] * 3 and len(photos.known.unique()) == 30
    assert photos.labels[photos.known[:9]].bincount().tolist() == [3] * 3
    assert torch.equal(photos.known, load(disk).part(held_out=False).known)
    few = load_folder(disk, SIZE, progress=False)  # not streamed: as many as fit
    assert len(few) == EACH and [label for label, _ in told(few.images)] == few.labels.tolist()
    assert few.labels.bincount().tolist() == [14, 13, 13]


def test_the_index_is_written_once_and_no_folder_walked_again(disk, monkeypatch):
    first = load(disk)

    def walk(*_):
        raise AssertionError("the folder was walked")

    monkeypatch.setattr(folders, "find_pictures", walk)
    again = load(disk)
    assert again.fingerprint == first.fingerprint and torch.equal(again.held_out, first.held_out)
    assert again.part(True).fingerprint != again.part(False).fingerprint
    assert told(again.pixels(torch.tensor([119]))) == [(2, 39)]


@pytest.mark.parametrize("change", ["added", "removed", "class", "grown"])
def test_a_folder_that_changed_is_listed_anew(disk, change):
    before, sea = load(disk), disk / "sea"
    if change == "added":
        Image.new("RGB", (SIZE, SIZE)).save(sea / "more.png")
    elif change == "removed":
        (sea / "03.png").unlink()
    elif change == "class":
        (disk / "town").mkdir()
        Image.new("RGB", (SIZE, SIZE)).save(disk / "town" / "0.png")
    else:
        times = sea.stat().st_atime_ns, sea.stat().st_mtime_ns
        Image.new("RGB", (2 * SIZE, SIZE), (1, 2, 3)).save(sea / "00.png")
        os.utime(sea, ns=times)  # as on a system that does not touch the folder
    after = load(disk)
    assert len(after) - len(before) == {"added": 1, "removed": -1, "class": 1, "grown": 0}[change]
    assert after.fingerprint != before.fingerprint and len(after.classes) == 3 + (change == "class")


def test_the_held_out_tenth_goes_by_names(disk, tmp_path):
    """The same wherever the folder lies, and whatever the files hold; about a tenth of 4,000 names."""
    moved = disk.rename(tmp_path / "elsewhere")
    (moved / "sea" / "00.png").write_bytes((moved / "sea" / "01.png").read_bytes())
    first = load(moved)
    again = load(moved.rename(disk))
    assert torch.equal(first.held_out, again.held_out) and again.held_out.any()
    files = [(disk / "sea" / "00.png", 0)]
    names = [disk / f"{i}" for i in range(4000)]
    for name in names:
        name.hardlink_to(files[0][0])
    found = folders.Found(disk, ("a",), [(name, 0) for name in names])
    share = index.write_index(disk, found, progress=False).held_out.mean()
    assert abs(share - 0.1) < 0.02  # four standard deviations


def test_an_unreadable_file_is_said_and_one_of_its_class_takes_its_place(disk, capsys):
    (disk / "sea" / "05.png").write_bytes(b"broken")
    photos = load(disk)
    rows = torch.tensor([EACH + 4, EACH + 5, 0])
    (_, first), (label, other), _ = told(photos.pixels(rows))
    assert first == 4 and label == 1 and other != 5
    assert photos.held_out[EACH + other] == photos.held_out[EACH + 5]  # nothing held out is trained on
    assert (
        "05.png is not a picture that can be read" in (said := capsys.readouterr().out) and f"{other:02d}.png" in said
    )
    for path in (disk / "sea").iterdir():
        path.write_bytes(b"broken")
    for workers in (0, 1):
        broken = streaming.stream(photos.index, SIZE, workers)
        with pytest.raises(InputError, match="nor the 8 after it") as error:
            next(broken.batches([rows]))
        assert "\n" not in str(error.value)


def test_a_jpeg_is_decoded_at_a_reduced_size_and_looks_the_same(tmp_path):
    """A smooth picture of 512 x 384: for 64 px at no less than 128 a side, so at half of it, 256 x 192."""
    y, x = np.mgrid[0:384, 0:512] / 512
    waves = np.stack([np.sin(9 * x + 4 * y), np.cos(11 * y), np.sin(30 * x * y)], -1)
    Image.fromarray(np.uint8(127.5 + 120 * waves)).save(tmp_path / "a.jpg", quality=95)
    reduced, full = read_image(tmp_path / "a.jpg", 128), read_image(tmp_path / "a.jpg")
    assert reduced.size == (256, 192) and full.size == (512, 384)
    apart = np.abs(np.asarray(square(reduced, 64), float) - np.asarray(square(full, 64), float))
    assert apart.mean() < 1 and apart.max() < 12 and apart.max() > 0
    assert read_image(tmp_path / "a.jpg", 200).size == (512, 384)  # half would be too small
