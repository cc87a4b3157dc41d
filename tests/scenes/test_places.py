"""Places365 as torchvision lays it out, and its fetching, with small stand-ins from a server on this machine."""

import hashlib
import io
import tarfile

import pytest
import torch
from PIL import Image
from test_fetching import Server
from torchvision.datasets import Places365

from pyramid import cli, data
from pyramid.errors import InputError
from pyramid.scenes import fetching, folders, load_photos, places

LABELS = ["/a/airfield 0", "/a/apartment_building/outdoor 1", "/b/beach 2", "/b/bedroom 3"]
EACH = 12  # training pictures of each class
VALIDATION = [2, 0, 3, 1, 1, 0]  # labels of the validation pictures, in no order


def jpeg(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), (shade, 0, 255 - shade)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def stand_ins() -> dict[str, bytes]:
    """The archives of Places365, with four labels; a picture's red is ten times its label."""
    names = [line.split()[0] for line in LABELS]
    training = [(f"{name}/{i:08d}.jpg", label) for label, name in enumerate(names) for i in range(EACH)]
    validation = [(f"Places365_val_{i:08d}.jpg", label) for i, label in enumerate(VALIDATION)]
    lists = {
        "categories_places365.txt": LABELS,
        "places365_train_standard.txt": [f"{name} {label}" for name, label in training],
        "places365_val.txt": [f"{name} {label}" for name, label in validation],
        "places365_test.txt": ["Places365_test_00000001.jpg"],
    }
    return {
        "filelist_places365-standard.tar": tarred({k: "\n".join(v).encode() for k, v in lists.items()}),
        "val_256.tar": tarred({f"val_256/{name}": jpeg(10 * label) for name, label in validation}),
        "train_256_places365standard.tar": tarred({f"data_256{name}": jpeg(10 * label) for name, label in training}),
        "vgg16_places365.caffemodel": b"weights",
    }


@pytest.fixture
def server(tmp_path, monkeypatch):
    """The stand-ins, at the addresses and under the hashes that the project and torchvision go by."""
    files = stand_ins()
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in files.items()}
    with tarfile.open(fileobj=io.BytesIO(files["filelist_places365-standard.tar"])) as tar:
        md5 |= {m.name: hashlib.md5(tar.extractfile(m).read()).hexdigest() for m in tar}
    with Server(files) as server:
        for name, part in places.PARTS.items():
            file = part.address.rsplit("/", 1)[1]
            mine = places.Part(server.address(file), part.md5 and md5[file], part.about, part.holds)
            monkeypatch.setitem(places.PARTS, name, mine)
        monkeypatch.setattr(
            Places365, "_CATEGORIES_META", ("categories_places365.txt", md5["categories_places365.txt"])
        )
        meta = {k: (name, md5.get(name)) for k, (name, _) in Places365._FILE_LIST_META.items()}
        monkeypatch.setattr(Places365, "_FILE_LIST_META", meta)
        monkeypatch.setattr(data, "CACHE", tmp_path / "cache")
        monkeypatch.setattr(fetching, "WAIT", 0.0)
        yield server


def red(photos) -> list[int]:
    """The label that each picture's own red says."""
    return (photos.images[:, 0, 16, 16].float() / 10).round().long().tolist()


def test_addresses_and_hashes_are_torchvisions():
    ours = {part.address: part.md5 for name, part in places.PARTS.items() if name != "vgg"}
    metas = [Places365._DEVKIT_META["standard"], *(Places365._IMAGES_META[s, True] for s in ("val", "train-standard"))]
    assert ours == {Places365._BASE_URL + name: md5 for name, md5 in metas}


def test_fetched_and_loaded_by_name(server, capsys):
    assert cli.main(["fetch", "places365", "--parts", "labels", "val", "train", "vgg"]) == 0
    said = capsys.readouterr().out
    home = data.CACHE / "places365"
    assert "--data places365" in said and f"convert-vgg --archive {home / 'vgg16_places365.caffemodel'}" in said
    assert not list(home.glob("*.tar*")) and (home / "vgg16_places365.caffemodel").read_bytes() == b"weights"
    training = load_photos("places365", 32, progress=False)
    assert training.classes == ("airfield", "apartment_building/outdoor", "beach", "bedroom")
    assert training.labels.bincount().tolist() == [EACH] * 4 and red(training) == training.labels.tolist()
    validation = load_photos("places365-test", 32, progress=False)
    assert validation.classes == training.classes and red(validation) == validation.labels.tolist() == VALIDATION
    requests = len(server.asked)
    assert cli.main(["fetch", "places365"]) == 0 and len(server.asked) == requests  # it is there


def test_one_dataset_by_the_lists_and_as_a_plain_folder(server, tmp_path):
    root = tmp_path / "mine"
    assert cli.main(["fetch", "places365", "--out", str(root)]) == 0
    by_lists = load_photos(root, 32, progress=False)
    plain = load_photos(root / "data_256_standard", 32, progress=False)
    assert plain.classes == by_lists.classes and plain.fingerprint == by_lists.fingerprint
    assert torch.equal(plain.held_out, by_lists.held_out) and len(plain) == 4 * EACH
    assert torch.equal(load_photos(root / "val_256", 32, progress=False).labels.bincount(), torch.tensor([2, 2, 1, 1]))


def test_a_python_that_cannot_unpack_is_told_before_anything_is_fetched(server, tmp_path, monkeypatch):
    monkeypatch.delattr(tarfile, "data_filter")
    with pytest.raises(InputError, match="3.10.12 or 3.11.4 can"):
        places.fetch_part("val", tmp_path, progress=False)
    assert not server.asked


def test_a_tar_that_broke_off_while_it_was_unpacked_is_unpacked_anew(server, tmp_path, monkeypatch):
    once = tarfile.TarFile.extract
    monkeypatch.setattr(tarfile.TarFile, "extract", lambda self, member, *_, **__: 1 / (member.name[-5] != "5"))
    with pytest.raises(ZeroDivisionError):
        places.fetch_part("val", tmp_path, progress=False)
    assert not (tmp_path / "val_256").exists() and (tmp_path / "val_256.tar").is_file()
    monkeypatch.setattr(tarfile.TarFile, "extract", once)
    places.fetch_part("val", tmp_path, progress=False)
    assert len(list((tmp_path / "val_256").iterdir())) == len(VALIDATION) and len(server.asked) == 1
    assert not list(tmp_path.glob(".*unpacking")) and not (tmp_path / "val_256.tar").exists()


def test_altered_lists_and_missing_data_are_one_sentence(server, tmp_path):
    with pytest.raises(InputError, match="run `python -m pyramid fetch places365`"):
        load_photos("places365", 32, progress=False)
    for name in ("labels", "train"):
        places.fetch_part(name, tmp_path / "mine", progress=False)
    (tmp_path / "mine" / "categories_places365.txt").write_text("/z/zoo 0")
    with pytest.raises(InputError, match="lists are not in .*, or were altered") as error:
        load_photos(tmp_path / "mine", 32, progress=False)
    assert "\n" not in str(error.value)


def test_the_plain_layout_needs_no_list(server, tmp_path):
    places.fetch_part("train", tmp_path, progress=False)
    found = folders.find_pictures(tmp_path / "data_256_standard")
    assert found.classes == ("airfield", "apartment_building/outdoor", "beach", "bedroom")
