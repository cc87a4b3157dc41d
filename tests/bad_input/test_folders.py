"""Folders of pictures as people have them: what is taken, what is passed over, and which folder would work."""

import os

import pytest
from PIL import Image

from pyramid import data
from pyramid.errors import InputError
from pyramid.scenes import load_folder
from pyramid.scenes.folders import find_pictures


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(data, "CACHE", tmp_path_factory.mktemp("cache"))


def fill(root, *names, count: int = 3):
    for name in names:
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            Image.new("RGB", (16, 16), (i, len(name), 99)).save(root / name / f"{i}.png")
    return root


@pytest.mark.parametrize("hidden", [".ipynb_checkpoints", ".git", "__MACOSX", ".Trash-1000", "__pycache__"])
def test_hidden_folders_are_no_class(hidden, tmp_path, capsys):
    fill(tmp_path, "sea", "forest", hidden)
    assert load_folder(tmp_path, 32, progress=False).classes == ("forest", "sea")
    assert f"Passed over: {hidden} (hidden)" in capsys.readouterr().out


def test_what_a_mac_keeps_beside_a_picture_is_no_picture(tmp_path, capsys):
    fill(tmp_path, "sea")
    (tmp_path / "sea" / "._0.png").write_bytes(b"\0\5\26\7")
    assert len(load_folder(tmp_path, 32, progress=False)) == 3 and "unreadable" not in capsys.readouterr().out


def test_a_class_whose_pictures_lie_deeper_is_named(tmp_path, capsys):
    fill(tmp_path, "sea", "forest", "street/2019", "street/2020")
    (tmp_path / "notes").mkdir()
    assert load_folder(tmp_path, 32, progress=False).classes == ("forest", "sea")
    said = capsys.readouterr().out
    assert f"street (its pictures lie deeper, in {os.path.join('street', '2019')})" in said
    assert "notes (it holds no picture)" in said and "6 pictures of 2 classes: forest 3, sea 3" in said


def test_a_class_with_more_below_and_files_of_other_kinds(tmp_path, capsys):
    fill(tmp_path, "sea", "forest", "sea/more")
    for i in range(2):
        (tmp_path / "sea" / f"{i}.HEIC").write_bytes(b"x")
    assert len(load_folder(tmp_path, 32, progress=False)) == 6
    said = capsys.readouterr().out
    assert f"{os.path.join('sea', 'more')} (deeper than a class folder)" in said and "2 .heic files" in said


def test_pictures_beside_class_folders_and_below_a_flat_folder_are_named(tmp_path, capsys):
    fill(tmp_path / "a", "sea", "forest", ".")
    load_folder(tmp_path / "a", 32, progress=False)
    assert "3 pictures beside the class folders (of no class)" in capsys.readouterr().out
    fill(tmp_path / "b", ".", "x/y")
    assert load_folder(tmp_path / "b", 32, progress=False).classes == ("b",)
    assert f"{os.path.join('x', 'y')} (deeper than a class folder)" in capsys.readouterr().out


@pytest.mark.parametrize("chain", ["seg_train/seg_train", "archive", "a b/c/d"])
def test_what_an_archive_unpacks_to_is_found(chain, tmp_path):
    fill(tmp_path / chain, "sea", "forest")
    found = find_pictures(tmp_path)
    assert found.classes == ("forest", "sea") and found.folder == tmp_path / chain


def test_a_parent_of_train_and_test_names_both(tmp_path):
    fill(tmp_path, "train/sea", "train/forest", "test/sea", "test/forest")
    with pytest.raises(InputError) as error:
        load_folder(tmp_path, 32, progress=False)
    assert str(tmp_path / "train") in str(error.value) and str(tmp_path / "test") in str(error.value)


def test_places365_is_known_for_what_it_is(tmp_path):
    names = ("a/airfield", "a/apartment_building/outdoor", "b/beach", "b/bedroom")
    fill(tmp_path, *names)
    photos = load_folder(tmp_path, 32, progress=False)
    assert photos.classes == ("airfield", "apartment_building/outdoor", "beach", "bedroom")
    assert photos.labels.bincount().tolist() == [3] * 4
    lines = ["/b/beach 0", "/a/airfield 1", "/b/bedroom 2", "/a/apartment_building/outdoor 3", "/z/zen_garden 4"]
    (tmp_path / "categories_places365.txt").write_text("\n".join(lines))
    assert find_pictures(tmp_path).classes == ("beach", "airfield", "bedroom", "apartment_building/outdoor")


def test_places365s_validation_pictures_go_by_their_list(tmp_path):
    fill(tmp_path, "val_256", count=4)
    for i in range(4):
        (tmp_path / "val_256" / f"{i}.png").rename(tmp_path / "val_256" / f"Places365_val_0000000{i}.png")
    (tmp_path / "categories_places365.txt").write_text("/a/airfield 0\n/b/beach 1\n/b/bedroom 2\n")
    rows = ["Places365_val_00000000.png 2", "Places365_val_00000001.png 0", "Places365_val_00000002.png 2", "broken"]
    (tmp_path / "places365_val.txt").write_text("\n".join(rows))
    found = find_pictures(tmp_path / "val_256")
    assert found.classes == ("airfield", "bedroom")  # those that are there, in the list's order
    by_name = {path.name[-5]: found.classes[label] for path, label in found.files}
    assert by_name == {"0": "bedroom", "1": "airfield", "2": "bedroom"}
    assert found.passed == {"1 pictures": "not in places365_val.txt"}


def test_a_link_in_a_circle_ends(tmp_path):
    fill(tmp_path, "x/y/sea")
    (tmp_path / "x" / "y" / "again").symlink_to(tmp_path, target_is_directory=True)
    assert find_pictures(tmp_path).classes == ("sea",)


@pytest.mark.parametrize("each", [0, 1, 2, 4])
def test_too_few_pictures_to_train_on_is_one_sentence(each, tmp_path):
    fill(tmp_path, "sea", "forest", count=each)
    with pytest.raises(InputError) as error:
        load_folder(tmp_path, 32, progress=False).check_trainable()
    assert ("holds no picture" if not each else "add pictures") in str(error.value) and "\n" not in str(error.value)


def test_a_class_of_broken_pictures_is_refused(tmp_path):
    fill(tmp_path, "sea", "forest")
    for path in (tmp_path / "sea").iterdir():
        path.write_bytes(b"broken")
    with pytest.raises(InputError, match="No picture of sea can be read"):
        load_folder(tmp_path, 32, progress=False)


def test_images_keep_their_labels_when_one_before_them_is_broken(tmp_path):
    fill(tmp_path, "sea", "forest")
    (tmp_path / "forest" / "0.png").write_bytes(b"broken")
    photos = load_folder(tmp_path, 32, progress=False)
    assert photos.images[:, 1, 0, 0].tolist() == [6, 6, 3, 3, 3] and photos.labels.tolist() == [0, 0, 1, 1, 1]
    assert photos.images[:, 0, 0, 0].tolist() == [1, 2, 0, 1, 2] and photos.images.shape == (5, 3, 32, 32)
