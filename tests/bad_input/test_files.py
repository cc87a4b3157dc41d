"""A student's files are safe, and a write is whole or not there: disks that are full, kills, permissions."""

import errno
import json
import multiprocessing
import os
import stat
import time
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

import pyramid
from conftest import CLASSES, tiny_run
from pyramid import checkpoints, data, model
from pyramid.checkpoints import load_state, save_state, write_atomically
from pyramid.cli import main, options
from pyramid.errors import InputError
from pyramid.panels import base
from pyramid.training import train


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def demo(*arguments) -> int:
    return main(["generate", "photo.png", "--samples", "1", "--levels", "conv1", *arguments])


def test_a_picture_is_not_written_under_a_name_of_another_kind(here, capsys):
    Image.new("RGB", (80, 80), "green").save("photo.png")
    assert demo("--out", "out.jpg") == 2 and "ends in .png" in capsys.readouterr().err
    assert not (here / "out.jpg").exists()


def test_a_command_replaces_only_what_a_command_wrote_there(here, capsys):
    Image.new("RGB", (80, 80), "green").save("photo.png")
    (here / "outputs").mkdir()
    mine = here / "outputs" / "photo-photos64.png"
    mine.write_bytes(b"my own picture")
    assert demo() == 0 and mine.read_bytes() == b"my own picture"
    second = here / "outputs" / "photo-photos64-2.png"
    assert second.is_file() and str(second.relative_to(here)) in capsys.readouterr().out
    first = second.read_bytes()
    assert demo("--seed", "1") == 0
    assert second.read_bytes() != first  # its own, and replaced
    assert not (here / "outputs" / "photo-photos64-3.png").exists()
    second.write_bytes(b"written over by hand")
    assert demo() == 0 and second.read_bytes() == b"written over by hand"
    assert demo("--out", "outputs/photo-photos64.png") == 0  # asked for
    assert mine.read_bytes() != b"my own picture"


def test_the_reference_is_never_written_over(here):
    """A student who keeps the photograph in outputs/, under the very name of the result."""
    (here / "outputs").mkdir()
    photo = here / "outputs" / "demo.png"
    Image.new("RGB", (80, 80), "green").save(photo)
    before = photo.read_bytes()
    assert main(["demo"]) == 0 and photo.read_bytes() == before


def test_measurements_leave_a_table_of_the_same_name_alone(here):
    (here / "outputs").mkdir()
    notes = here / "outputs" / "m-applications.md"
    notes.write_text("my notes")
    for _ in range(2):
        arguments = type("A", (), {"out": None, "model": "m"})
        options.save_measured(arguments, "applications", {"a": 1}, "| a |")
    assert notes.read_text() == "my notes" and (here / "outputs" / "m-applications-2.md").read_text() == "| a |\n"
    names = {path.name for path in (here / "outputs").iterdir()}
    assert names == {"m-applications.md", "m-applications-2.md", "m-applications-2.json", ".made.json"}
    notes = here / "result.md"
    notes.write_text("my notes")
    options.save_measured(type("A", (), {"out": "result.json", "model": "m"}), "applications", {"a": 1}, "| a |")
    assert notes.read_text() == "my notes" and (here / "result-2.md").is_file() and (here / "result.json").is_file()


@pytest.mark.parametrize("seven", [True, False])
def test_an_upload_never_touches_the_disk(here, tiny_model, seven):
    Image.new("RGB", (64, 64), "red").save("a.png")
    content = (here / "a.png").read_bytes()
    (here / "outputs").mkdir()
    (here / "outputs" / "mix.png").write_bytes(b"saved")
    chooser = base.Chooser(tiny_model, print, lambda: None, [here / "a.png"])
    before = {path: path.stat().st_mtime_ns for path in here.rglob("*")}
    for name in ("mix.png", "../../a.png", "a.png"):
        chooser._uploaded({name: {"content": content}} if seven else ({"name": name, "content": memoryview(content)},))
        assert chooser.photo[0, 0].min() == 1
    assert {path: path.stat().st_mtime_ns for path in here.rglob("*")} == before


@pytest.mark.parametrize("rater", ["../../x", "a/b", "", ".hidden", "x" * 99, "new\nline"])
def test_a_rater_s_name_stays_inside_the_folder(rater, tiny_model, here):
    from pyramid.panels import study_panel

    with pytest.raises(InputError, match="rater"):
        study_panel(tiny_model, rater)


@contextmanager
def full_from(after: int):
    """From the write of that number on, from 0, the disk is full; fsync is where a file system says so."""
    plain, count = os.fsync, iter(range(10**6))

    def fsync(handle):
        if next(count) >= after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        plain(handle)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        yield


def whole(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


def save_model(tiny_model, folder, shade: float) -> None:
    """A model whose generator paints one shade."""
    generator = tiny_model.generator
    generator.to_rgb.bias.data.fill_(shade)
    card = {"preset": tiny_model.preset.asdict(), "classes": CLASSES, "familiar_above": 0.5}
    parts = {"classifier": tiny_model.classifier, "judge": tiny_model.judge, "generator": generator}
    model.save(folder, card, **parts)


def test_a_model_saved_on_a_full_disk_leaves_the_older_one(tiny_model, here):
    save_model(tiny_model, here / "m", 0.0)
    before = whole(here / "m")
    for after in range(4):  # classifier, judge, generator, card: whichever is the first not to fit
        with full_from(after), pytest.raises(InputError, match="could not be written .No space left"):
            save_model(tiny_model, here / "m", 1.0)
        assert whole(here / "m") == before and pyramid.load(here / "m", "cpu")
        assert [path.name for path in (here / "m").iterdir() if path.name.startswith(".")] == []
    save_model(tiny_model, here / "m", 1.0)
    assert pyramid.load(here / "m", "cpu").generator.to_rgb.bias.min() == 1


def test_a_kill_between_two_renames_is_made_good_by_whoever_comes_next(tiny_model, here, monkeypatch):
    save_model(tiny_model, here / "m", 0.0)
    old = whole(here / "m")
    plain = os.replace
    for moves in range(4):
        count = iter(range(100))

        def killed(source, target, count=count, moves=moves):
            if os.path.basename(os.path.dirname(source)) == ".next" and next(count) == moves:
                raise KeyboardInterrupt
            plain(source, target)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(os, "replace", killed)
            save_model(tiny_model, here / "m", moves + 1.0)
        loaded = pyramid.load(here / "m", "cpu")  # neither unloadable nor half of each
        assert loaded.generator.to_rgb.bias.min() == moves + 1.0
        assert set(whole(here / "m")) == set(old) and not (here / "m" / ".next").exists()


@pytest.mark.parametrize("name", ["checkpoint.pt", "metrics.jsonl", "samples-0000016.png"])
def test_a_run_on_a_full_disk_stops_with_a_sentence_and_goes_on_later(name, here, monkeypatch):
    train(tiny_run(), here / "run", steps=1, progress=False)
    monkeypatch.setattr("pyramid.training.loop.REPORT_EVERY", 1)
    plain = checkpoints.os.fsync

    def fsync(handle):
        if name.split(".")[0] in os.readlink(f"/proc/self/fd/{handle}"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        plain(handle)

    if not os.path.exists("/proc/self/fd"):
        pytest.skip("no /proc to see which file it is")
    with monkeypatch.context() as patch, pytest.raises(InputError, match=f"{name}.* could not be written"):
        patch.setattr(os, "fsync", fsync)
        train(tiny_run(), here / "run", steps=2, progress=False)
    assert load_state(here / "run" / "checkpoint.pt")["step"] >= 1
    assert train(tiny_run(), here / "run", steps=3, progress=False).step_count == 3
    assert not list((here / "run").glob(".*.tmp"))


def test_what_killed_writes_left_behind_is_swept(here):
    old, fresh = here / ".checkpoint.pt.123-4.tmp", here / ".checkpoint.pt.5-6.tmp"
    other = here / ".another.pt.7-8.tmp"
    for path in (old, fresh, other):
        path.write_bytes(b"half")
    long_ago = time.time() - 3600
    for path in (old, other):
        os.utime(path, (long_ago, long_ago))
    save_state(here / "checkpoint.pt", {"step": 1})
    assert not old.exists() and fresh.exists() and other.exists()  # of this file, and of no write that may be alive


def test_files_get_the_permissions_of_the_umask(tiny_model, here):
    before = os.umask(0o027)
    try:
        save_model(tiny_model, here / "m", 0.0)
        save_state(here / "c.pt", {"step": 1})
        options.write(here / "x.png", {".png": b"x"}, asked=False)
    finally:
        os.umask(before)
    for path in [*(here / "m").iterdir(), here / "c.pt", here / "x.png"]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o640, path.name
    assert stat.S_IMODE((here / "m").stat().st_mode) == 0o750


@pytest.mark.parametrize("arguments", [["demo"], ["models"], ["demo", "--out", "made/demo.png"]])
def test_a_folder_that_cannot_be_written_is_one_sentence(arguments, here, monkeypatch, capsys):
    """Permissions do not bind root, so the refusal comes from the call itself."""
    plain = checkpoints.Path.mkdir

    def mkdir(self, *args, **kwargs):
        if self.name in ("outputs", "made"):
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return plain(self, *args, **kwargs)

    monkeypatch.setattr(checkpoints.Path, "mkdir", mkdir)
    code = main(arguments)
    said = capsys.readouterr().err.strip()
    if arguments == ["models"]:
        assert code == 0  # it writes nothing
    else:
        assert code == 2 and "demo.png could not be written (Permission denied)" in said and "\n" not in said


def test_a_place_that_is_a_file_and_a_name_too_long(here, capsys):
    (here / "outputs").write_text("a file of this name")
    assert main(["demo"]) == 2 and "outputs" in capsys.readouterr().err
    with pytest.raises(InputError, match="File name too long"):
        write_atomically(here / ("x" * 300), b"")
    assert main(["demo", "--model", "x" * 5000]) == 2 and "There is no model" in capsys.readouterr().err


def hold(folder, ready, done) -> None:
    with checkpoints.locked(folder):
        ready.set()
        done.wait(60)


def test_a_folder_has_one_run_at_a_time(here):
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    other = context.Process(target=hold, args=(here / "run", ready, done))
    other.start()
    assert ready.wait(120)
    with pytest.raises(InputError, match="Another run is at work in .*--out"):
        train(tiny_run(), here / "run", steps=1, progress=False)
    assert not (here / "run" / "checkpoint.pt").exists()
    other.kill()
    other.join()
    assert train(tiny_run(), here / "run", steps=1, progress=False).step_count == 1  # a kill lets go


def test_a_saved_model_takes_away_only_what_the_one_before_it_named(tiny_model, here):
    (here / "m").mkdir()
    mine = here / "m" / "vgg16.safetensors"
    mine.write_bytes(b"my own weights")
    save_model(tiny_model, here / "m", 0.0)
    (here / "m" / ".next").mkdir()  # left behind, with what a file manager put there
    (here / "m" / ".next" / ".DS_Store").write_bytes(b"x")
    card = {"preset": tiny_model.preset.asdict(), "classes": ("caf\udce9", "b", "c"), "familiar_above": 0.5}
    model.save(here / "m", card, classifier=tiny_model.classifier, judge=tiny_model.judge)
    assert mine.read_bytes() == b"my own weights" and not (here / "m" / "generator.safetensors").exists()
    assert model.open_release(here / "m").classes[0] == "caf\udce9"  # a name that is not UTF-8


def test_a_log_that_is_not_a_run_s_is_left_alone(here):
    (here / "run").mkdir()
    log = here / "run" / "metrics.jsonl"
    for text in ('{"epoch": 3, "loss": 0.5}\n', '{"step": 90000, "images": 2880000}\n', '{"step": null}\n'):
        log.write_text(text)
        with pytest.raises(InputError, match="log of something else"):
            train(tiny_run(), here / "run", steps=1, progress=False)
        assert log.read_text() == text


def test_a_run_killed_before_its_first_checkpoint_is_begun_anew(here):
    """However many steps a fast card had made by then."""
    (here / "run").mkdir()
    log = here / "run" / "metrics.jsonl"
    log.write_text('{"step": 9000, "images": 144000, "discriminator": {}, "generator": {}}\n{"step": 90')
    assert train(tiny_run(), here / "run", steps=1, progress=False).step_count == 1
    assert "9000" not in log.read_text()


def test_links_are_followed_and_devices_stay(here, capsys):
    (here / "large").mkdir()
    (here / "large" / "c.pt").write_bytes(b"old")
    (here / "c.pt").symlink_to(here / "large" / "c.pt")
    write_atomically(here / "c.pt", b"new")
    assert (here / "c.pt").is_symlink() and (here / "large" / "c.pt").read_bytes() == b"new"
    os.mkfifo(here / "pipe")
    with pytest.raises(InputError, match="no file that can be replaced"):
        write_atomically(here / "pipe", b"x")
    assert stat.S_ISFIFO((here / "pipe").stat().st_mode)


@pytest.mark.parametrize("broken", [b"", b"PK", b"PK\3\4" + b"\0" * 60])
def test_a_damaged_cache_is_made_anew(broken, here, monkeypatch):
    monkeypatch.setattr("pyramid.data.CACHE", here / "cache")
    make = lambda: {"a": np.arange(3)}  # noqa: E731
    data.cached("x" * 300, make)
    (path,) = (here / "cache").iterdir()
    path.write_bytes(broken)
    assert data.cached("x" * 300, make)["a"].tolist() == [0, 1, 2]
    monkeypatch.setattr("pyramid.data.CACHE", path)  # a file where the folder should be
    assert data.cached("y", make)["a"].tolist() == [0, 1, 2]


def test_a_panel_saves_nothing_before_anything_is_drawn(here):
    panel = base.Panel("p", lambda: 1 / 0)
    panel.redraw()
    panel.save()
    assert "Nothing is drawn" in panel.status.value and not (here / "outputs").exists()


def test_the_card_says_what_it_needs(tiny_model, here):
    save_model(tiny_model, here / "m", 0.0)
    card = json.loads((here / "m" / "card.json").read_text())
    for broken in ({}, [], card | {"classes": []}, card | {"classes": [1, 2, 3]}, card | {"sha256": 1},
                   card | {"preset": None}, card | {"familiar_above": "x"}):  # fmt: skip
        (here / "m" / "card.json").write_text(json.dumps(broken))
        with pytest.raises(InputError):
            pyramid.load(here / "m", "cpu")
    later = card["preset"] | {"colour_of_the_future": 3}
    (here / "m" / "card.json").write_text(json.dumps(card | {"preset": later}))
    with pytest.raises(InputError, match="another version"):
        pyramid.load(here / "m", "cpu")


def test_a_panel_saves_beside_what_is_there(here):
    (here / "outputs").mkdir()
    (here / "outputs" / "p.png").write_bytes(b"mine")
    panel = base.Panel("p", lambda: b"png")
    panel.redraw()
    panel.save()
    panel.save()
    saved = {path.name: path.read_bytes() for path in (here / "outputs").iterdir()}
    assert saved == {"p.png": b"mine", "p-1.png": b"png", "p-2.png": b"png"}
