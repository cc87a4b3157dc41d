import numpy as np
import pytest
import torch
from PIL import Image

from pyramid import data
from pyramid.errors import InputError
from pyramid.scenes import load_folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(data, "CACHE", tmp_path_factory.mktemp("cache"))


def two_tone(width=40, height=40) -> Image.Image:
    """Red on the left, blue on the right."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2, 0] = 255
    pixels[:, width // 2 :, 2] = 255
    return Image.fromarray(pixels)


def test_bytes_and_floats_are_inverse():
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    images = data.from_bytes(pixels)
    assert images.min() == -1 and images.max() == 1
    assert torch.equal(data.to_bytes(images), pixels)


def test_exif_rotation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 270 degrees to see it upright
    two_tone().save(tmp_path / "a.jpg", exif=exif, quality=95)
    image = data.read_image(tmp_path / "a.jpg")
    top, bottom = image.getpixel((20, 3)), image.getpixel((20, 36))
    assert top[0] > 200 and bottom[2] > 200  # red came from the left to the top


@pytest.mark.parametrize("mode", ["CMYK", "L", "1", "P", "LA", "RGBA", "I;16"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    if mode == "I;16":
        ramp = np.linspace(0, 65535, 1600).reshape(40, 40).astype(np.uint16)
        Image.fromarray(ramp).save(tmp_path / "x.png")
    else:
        suffix = "tif" if mode == "CMYK" else "png"
        two_tone().convert(mode).save(tmp_path / f"x.{suffix}")
    path = next(tmp_path.iterdir())
    image = data.open_image(path, 32)
    assert image.shape == (1, 3, 32, 32) and image.abs().max() <= 1
    if mode == "I;16":
        assert image[0, 0, 0, 0] < -0.9 and image[0, 0, -1, -1] > 0.9  # the full range, not clipped
        assert abs(float(image.mean())) < 0.05
    if mode == "CMYK":
        assert image[0, 0, 16, 4] > 0.9 and image[0, 2, 16, 28] > 0.9


def test_transparency_is_laid_over_white(tmp_path):
    image = two_tone().convert("RGBA")
    image.putalpha(0)
    image.save(tmp_path / "a.png")
    assert data.open_image(tmp_path / "a.png", 32).min() == 1
    palette = two_tone().convert("P")
    palette.save(tmp_path / "p.png", transparency=palette.getpixel((3, 3)))
    opened = data.open_image(tmp_path / "p.png", 32)
    assert opened[0, :, 16, 2].min() > 0.9  # the red half was the transparent colour


def test_first_frame_of_an_animation(tmp_path):
    Image.new("RGB", (20, 20), "red").save(
        tmp_path / "a.gif", save_all=True, append_images=[Image.new("RGB", (20, 20), "blue")]
    )
    assert data.open_image(tmp_path / "a.gif", 32)[0, 0].min() > 0.9


def bad_files(folder):
    (folder / "text.jpg").write_text("this is not a picture")
    two_tone(400, 400).save(folder / "whole.jpg")
    (folder / "short.jpg").write_bytes((folder / "whole.jpg").read_bytes()[:900])
    Image.new("RGB", (1, 1)).save(folder / "dot.png")
    header = b"P6 20000 20000 255\n"
    (folder / "huge.ppm").write_bytes(header + b"\0" * 64)
    (folder / "huge.bmp").write_bytes((folder / "huge.ppm").read_bytes())
    (folder / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic" + b"\0" * 32)
    return ["text.jpg", "short.jpg", "dot.png", "huge.bmp", "photo.heic", "absent.png"]


def test_bad_files_get_one_sentence_that_names_them(tmp_path):
    for name in bad_files(tmp_path):
        with pytest.raises(InputError) as error:
            data.open_image(tmp_path / name, 32)
        message = str(error.value)
        assert name in message and message.endswith(".") and "\n" not in message


def test_folder_of_classes(tmp_path, capsys):
    folder = tmp_path / "photos"
    for label, colour in (("sea", "blue"), ("forest", "green")):
        (folder / label).mkdir(parents=True)
        for i in range(30):
            Image.new("RGB", (20 + i, 20), colour).save(folder / label / f"{i}.png")
    (folder / "sea" / "broken.png").write_text("no picture")
    photos = load_folder(folder, 32, progress=False)
    assert "1 unreadable" in (printed := capsys.readouterr().out) and "broken.png" in printed
    assert "60 pictures of 2 classes: forest 30, sea 30" in printed
    assert photos.classes == ("forest", "sea") and len(photos) == 60
    green, blue = photos.images[photos.labels == 0], photos.images[photos.labels == 1]
    assert green[:, 1].min() > 100 and blue[:, 2].min() > 200
    held_out = photos.part(held_out=True)
    assert 0 < len(held_out) < 20 and len(held_out) + len(photos.part(held_out=False)) == 60
    again = load_folder(folder, 32, progress=False)  # from the cache
    assert torch.equal(again.images, photos.images) and torch.equal(again.held_out, photos.held_out)


def test_held_out_follows_content_not_name(tmp_path):
    folder = tmp_path / "a"
    (folder / "x").mkdir(parents=True)
    for i in range(40):
        Image.new("RGB", (16, 16), (i, 2 * i, 3 * i)).save(folder / "x" / f"{i:02d}.png")
    before = load_folder(folder, 32, progress=False)
    for i in range(40):
        (folder / "x" / f"{i:02d}.png").rename(folder / "x" / f"z{39 - i:02d}.png")  # the order is reversed
    after = load_folder(folder, 32, progress=False)
    assert torch.equal(before.held_out, after.held_out.flip(0)) and before.held_out.any()


def test_flat_folder_is_one_class(tmp_path):
    two_tone().save(tmp_path / "a.png")
    photos = load_folder(tmp_path, 32, progress=False)
    assert photos.classes == (tmp_path.name,) and photos.labels.tolist() == [0]


@pytest.mark.parametrize("make", [lambda p: p / "absent", lambda p: p])
def test_missing_and_empty_folders_are_refused(tmp_path, make):
    with pytest.raises(InputError, match="folder"):
        load_folder(make(tmp_path), 32, progress=False)


def test_full_disk_costs_the_cache_not_the_run(tmp_path, monkeypatch, capsys):
    two_tone().save(tmp_path / "a.png")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    assert len(load_folder(tmp_path, 32, progress=False)) == 1
    assert "No space left" in capsys.readouterr().out


def test_shift_moves_each_image_by_its_own_amount_and_reflects():
    row = torch.arange(6.0).view(1, 1, 1, 6).expand(2, 1, 6, 6)
    moved = data.shift(row, torch.tensor([0, 0]), torch.tensor([2, -1]))
    assert moved[0, 0, 0].tolist() == [2, 1, 0, 1, 2, 3]  # to the right, reflected without repeating the edge
    assert moved[1, 0, 0].tolist() == [1, 2, 3, 4, 5, 4]


def test_flip_only_the_chosen():
    row = torch.arange(4.0).view(1, 1, 1, 4).expand(2, 1, 1, 4)
    assert data.flip(row, torch.tensor([True, False]))[:, 0, 0].tolist() == [[3, 2, 1, 0], [0, 1, 2, 3]]


def test_sample_photographs_are_there():
    paths = data.sample_photographs()
    assert len(paths) == len(data.sample_photographs("objects")) == 100
    assert not set(paths) & set(data.sample_photographs("objects"))
    assert data.open_image(paths[0], 64).shape == (1, 3, 64, 64)


def test_parts_keep_each_image_with_its_attributes():
    numbers = torch.arange(10)
    images = numbers.view(-1, 1, 1, 1).expand(-1, 3, 8, 8).to(torch.uint8)
    whole = data.Photos(images, numbers, numbers % 3 == 0, ("a",), numbers[:, None].float())
    for part in (whole.part(True), whole.part(False).to(torch.device("cpu"))):
        assert torch.equal(part.attributes[:, 0].long(), part.labels)
        assert torch.equal(part.images[:, 0, 0, 0].long(), part.labels)
    assert len(whole.part(True)) == 4
