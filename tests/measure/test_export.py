"""FID itself: the same images as files and in memory, pytorch-fid's own command beside ours, statistics from a file."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_fid import inception as fid
from torch.nn import functional as F

from conftest import CLASSES, Pixels, tiny_photos
from pyramid.cli import main
from pyramid.data import Photos
from pyramid.errors import InputError
from pyramid.measure import export, extractors, levels, metrics
from pyramid.scenes import load_folder

ROOT = Path(__file__).resolve().parents[2]
ROWS = ("conv2", "closed")


class Shallow(extractors.Inception):
    """The first block of pytorch-fid's Inception, which its own command takes with --dims 64."""

    features = 64

    def __init__(self, weights: Path):
        super().__init__(weights)
        self.network = fid.InceptionV3([0]).eval().requires_grad_(False)

    def __call__(self, images):
        return F.adaptive_avg_pool2d(self.network((images + 1) / 2)[0], 1).flatten(1)


@pytest.fixture
def small(monkeypatch, tmp_path):
    monkeypatch.setattr(levels, "Extractor", Pixels)
    monkeypatch.setattr(levels, "ROWS", ROWS)
    monkeypatch.setattr("pyramid.data.CACHE", tmp_path / "cache")
    return tmp_path


def colourful(count: int) -> Photos:
    """Photographs that differ from each other in more than noise, for covariances of full rank."""
    random = torch.Generator().manual_seed(1)
    coarse = torch.rand(count, 3, 6, 6, generator=random)
    images = (255 * F.interpolate(coarse, 32, mode="bicubic").clamp(0, 1)).to(torch.uint8)
    return Photos(images, torch.arange(count) % 3, torch.zeros(count, dtype=torch.bool), CLASSES)


def test_our_fid_is_that_of_pytorch_fids_command(stand_in, tiny_model, small, monkeypatch):
    """Of the exported folders and of statistics that we wrote, to 1e-3; read back, they give the same number again."""
    monkeypatch.setenv("TORCH_HOME", str(small))
    official = Path(fid.FID_WEIGHTS_URL).name
    monkeypatch.setattr(fid, "FID_WEIGHTS_URL", f"http://127.0.0.1:9/{stand_in.name}")
    monkeypatch.setattr(levels, "ROWS", ("conv2",))
    photos, statistics, count = colourful(72), small / "real.npz", 70
    network = Shallow(stand_in)
    arguments = {"inception": network, "statistics": statistics, "progress": False}
    ours = levels.evaluate(tiny_model, photos, photos, count, **arguments)
    with np.load(statistics, allow_pickle=False) as stored:
        assert {key: value.shape for key, value in stored.items()} == {"mu": (64,), "sigma": (64, 64)}
    again = levels.evaluate(tiny_model, photos, photos, count, **arguments)
    assert again["rows"]["conv2"]["fid"] == ours["rows"]["conv2"]["fid"]
    assert "FID against the statistics in real.npz" in levels.markdown_table(again)
    folders = export.export(tiny_model, photos, count, ["conv2"], small / "out", progress=False)
    (small / "hub" / "checkpoints" / official).write_bytes(stand_in.read_bytes())  # where their command looks for it
    for real in (folders[0], statistics):
        command = [sys.executable, "-W", "ignore", "-m", "pytorch_fid", str(real), str(folders[1]), "--dims", "64"]
        printed = subprocess.check_output([*command, "--num-workers", "0"], text=True, cwd=ROOT, env=os.environ.copy())
        theirs = float(printed.split("FID:")[1])
        assert ours["rows"]["conv2"]["fid"] == pytest.approx(theirs, rel=1e-3)


def test_exported_images_are_those_that_are_measured(tiny_model, small):
    """PSNR of the files, each beside its reference, is the column of `evaluate`."""
    photos = tiny_photos(20)
    result = levels.evaluate(tiny_model, photos, photos, 20, seed=3, progress=False)
    folders = export.export(tiny_model, photos, 20, list(ROWS), small / "out", seed=3, progress=False)
    assert [folder.name for folder in folders] == ["real", *ROWS]
    real, *made = (
        torch.stack([torch.from_numpy(np.asarray(Image.open(path)).copy()) for path in sorted(folder.iterdir())])
        for folder in folders
    )
    order = torch.randperm(20, generator=torch.Generator().manual_seed(3))
    assert torch.equal(real.permute(0, 3, 1, 2), photos.images[order])
    for name, images in zip(ROWS, made, strict=True):
        error = ((images.double() - real.double()) / 255).square().mean((1, 2, 3))
        assert float((-10 * error.log10()).mean()) == pytest.approx(result["rows"][name]["psnr"], abs=1e-3)
    with pytest.raises(InputError, match="real is not empty; give another folder"):
        export.export(tiny_model, photos, 4, ["conv2"], small / "out", progress=False)
    with pytest.raises(InputError, match="no row 'conv9'"):
        export.export(tiny_model, photos, 4, ["conv9"], small / "new", progress=False)
    with pytest.raises(InputError, match="fewer than the 21"):
        export.export(tiny_model, photos, 21, ["conv2"], small / "new", progress=False)


def test_photographs_on_a_disk_are_measured_as_those_in_memory(tiny_model, small, monkeypatch):
    """The same PNGs, read as they are needed: the same table, exactly."""
    random = torch.Generator().manual_seed(0)
    for i in range(24):
        place = small / "photos" / CLASSES[i % 3]
        place.mkdir(parents=True, exist_ok=True)
        pixels = torch.randint(0, 256, (32, 32, 3), dtype=torch.uint8, generator=random)
        Image.fromarray(pixels.numpy()).save(place / f"{i:02d}.png")
    in_memory = load_folder(small / "photos", 32, progress=False)
    monkeypatch.setattr("pyramid.scenes.streaming.IN_MEMORY", 0)
    streamed = load_folder(small / "photos", 32, progress=False, streamed=True)
    assert isinstance(in_memory, Photos) and not isinstance(streamed, Photos)
    tables = [levels.evaluate(tiny_model, p, p, 20, progress=False) for p in (in_memory, replace(streamed, workers=0))]
    assert tables[0] == tables[1]


def test_statistics_of_another_kind_are_refused(small):
    path = small / "s.npz"
    pickled = np.empty(1, dtype=object)
    pickled[0] = print
    for mu, sigma in ((np.zeros(3), np.eye(3)), (np.full(2, np.nan), np.eye(2)), (pickled, np.eye(2))):
        np.savez(path, mu=mu, sigma=sigma)
        with pytest.raises(InputError, match="s.npz holds no statistics of 2 features"):
            metrics.read_statistics(path, 2)
    for content in (b"", b"nothing of the kind"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="holds no statistics"):
            metrics.read_statistics(path, 2)
    metrics.write_statistics(path, metrics.Gaussian(torch.ones(2).double(), torch.eye(2).double()))
    assert metrics.read_statistics(path, 2).mean.tolist() == [1, 1]


def test_a_batch_is_encoded_once_for_all_levels(tiny_model, small, monkeypatch):
    """20 references in batches of 8: three passes; the images that were made are encoded again at every level."""
    passes, plain = [], type(tiny_model.classifier).pyramid
    monkeypatch.setattr(
        type(tiny_model.classifier), "pyramid", lambda self, x, *a: passes.append(x.clone()) or plain(self, x, *a)
    )
    photos = tiny_photos(20)
    levels.evaluate(tiny_model, photos, photos, 20, progress=False)
    real = photos.images.float() / 127.5 - 1
    of_references = [len(x) for x in passes if any(torch.equal(x[0], r) for r in real)]
    assert of_references == [8, 8, 4]


def test_large_maps_are_averaged_for_the_galleries():
    """conv1 of 256 px, 64 x 128 x 128, down to 64 x 32 x 32; of 64 px, as it is; means stay."""
    large, usual = torch.rand(1, 64, 128, 128), torch.rand(1, 64, 32, 32)
    assert levels._reduced(large).shape == (1, 64, 32, 32) and torch.equal(levels._reduced(usual), usual)
    torch.testing.assert_close(levels._reduced(large)[0, 5, 0, 1], large[0, 5, :4, 4:8].mean())
    assert levels._reduced(torch.rand(1, 100_000)).shape == (1, 100_000)


def test_the_commands_of_fid(small, capsys):
    assert main(["evaluate", "photos64", "--data", "x", "--statistics", "real.npz"]) == 2
    assert "give --fid too" in capsys.readouterr().err
