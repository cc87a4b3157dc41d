"""The estimator against numbers from elsewhere: torchvision's VGG-16, convolutions by hand, memory that a step took."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from pyramid.classifier import Classifier
from pyramid.cli import main
from pyramid.device import _constant, autocast_dtype, constant, in_precision
from pyramid.errors import InputError
from pyramid.measure import plan, scale
from pyramid.measure.scale import Estimate, Memory
from pyramid.presets import PRESETS

ROOT = Path(__file__).resolve().parents[2]
STEPS = """
import torch
from dataclasses import replace
from pyramid.classifier import Classifier
from pyramid.data import Photos
from pyramid.device import in_precision
from pyramid.presets import PRESETS
from pyramid.training import Run, objective
from pyramid.training.step import economise
from tests.memory import peak
torch.set_num_threads(1)
none = (0.0,) * 7
preset = replace(PRESETS["tiny32"], batch={batch}, retrieval=none, other_label=0.0, other_layout=0.0)
images = torch.zeros(12, 3, 32, 32, dtype=torch.uint8)
photos = Photos(images, torch.arange(12) % 3, torch.zeros(12, dtype=torch.bool), tuple("abc"))
run = Run(preset, photos, Classifier(3, **preset.classifier), 0)
for recompute in (True, False):
    economise(run, recompute=recompute)
    with in_precision(None):
        for step in range(2):
            run.learn(run.sampler.draw(step), objective.full_weights(preset))
    print(peak() // 1024)
"""
RETURNED = {"MALLOC_MMAP_THRESHOLD_": "65536"}  # glibc then gives back what is freed at once


def test_vgg16_has_the_operations_and_parameters_that_torchvision_publishes():
    """15.47 billion multiplications of an image of 224 px, 138,357,544 parameters."""
    with torch.device("meta"):
        network = Classifier(1000).eval()
        assert scale.count_pass(network, torch.zeros(1, 3, 224, 224)) == pytest.approx(2 * 15.47e9, rel=1e-3)
    assert sum(p.numel() for p in network.parameters()) == 138_357_544


def test_a_convolution_by_hand():
    """2 x 5x5 x 3 x 7 operations at each of 2 x 8x8 places; images, kernel, bias and maps read or written once."""
    layer, images = nn.Conv2d(3, 7, 5, padding=2), torch.zeros(2, 3, 8, 8)
    with torch.no_grad(), scale.Counter() as counter:
        kept = layer(images)
        again = layer(images).view(2, -1)[:, :3]  # views: nothing computed, the map they look at stays
        before = counter.now
        del again
    work, size = 2 * 25 * 3 * 7 * 2 * 64, 4 * (2 * 3 * 64 + 7 * 3 * 25 + 7 + 2 * 7 * 64)
    assert counter.kernels == [(work, size), (work, size)]
    assert (before, counter.now, counter.peak) == (2 * kept.nbytes, kept.nbytes, 2 * kept.nbytes)


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are measured as Linux and glibc count them")
def test_the_memory_of_a_step_is_what_a_process_took():
    """What 256 further images cost of resident memory, in float32: within 15 %. Libraries take a constant beside it."""
    none, few, many = (0.0,) * 7, 64, 320
    preset = replace(PRESETS["tiny32"], retrieval=none, other_label=0.0, other_layout=0.0)
    taken = [
        subprocess.check_output([sys.executable, "-c", STEPS.format(batch=batch)], cwd=ROOT, env=os.environ | RETURNED)
        for batch in (few, many)
    ]
    for recompute, less, more in zip((True, False), *(map(int, out.split()) for out in taken), strict=True):
        low, high = (scale.count_step(preset, 3, n, None, recompute=recompute).peak for n in (few, many))
        assert 1024 * (more - less) == pytest.approx(high - low, rel=0.15), recompute


def test_less_is_kept_in_half_precision_in_parts_and_recomputed():
    preset = replace(PRESETS["tiny32"], retrieval=(0.0,) * 7)
    whole, single = (scale.count_step(preset, 3, 64, p) for p in (torch.bfloat16, None))
    assert single.peak > 1.25 * whole.peak and single.flops == whole.flops
    thrifty, cut = scale.count_step(preset, 3, 64, recompute=True), scale.count_step(preset, 3, 64, parts=4)
    assert thrifty.peak < whole.peak and cut.peak < whole.peak / 2
    assert whole.flops < thrifty.flops < 1.5 * whole.flops and whole.flops < cut.flops < 2 * whole.flops


def test_a_dry_run_leaves_nothing_behind():
    """A constant that was first asked for in it has content afterwards; the precision is the device's own again."""
    _constant.cache_clear()
    scale.count_step(PRESETS["tiny32"], 3, 8)
    assert constant((0.485, 0.456, 0.406), torch.device("cpu")).tolist() == pytest.approx([0.485, 0.456, 0.406])
    own = autocast_dtype(torch.device("cpu"))
    with in_precision(torch.float16):
        assert autocast_dtype(torch.device("cpu")) == torch.float16
    assert autocast_dtype(torch.device("cpu")) == own


def known(**changes) -> Estimate:
    parameters = {"generator": 6, "discriminator": 4, "classifier": 1}
    e = Estimate(PRESETS["paper256"], 365, parameters, 1, 1, 1, 1, Memory(1e9, 0.2e9), Memory(1e9, 0.1e9), 2)
    return replace(e, **changes)


def test_what_fits_by_hand():
    """36 GB usable of 40: 1 + 0.2 x 175 images as it is, 350 recomputed; 14.4 of a T4: 67, and 134."""
    t4, a100 = plan.CARDS[0], plan.CARDS[1]
    assert [plan.largest(known(), a100, how) for how in (False, True)] == [128, 256]
    assert [plan.largest(known(), t4, how) for how in (False, True)] == [64, 128]
    assert str(plan.fits(known(), a100, 128)) == "whole" and str(plan.fits(known(), a100, 256)) == "`--recompute`"
    assert str(plan.fits(known(), t4, 256)) == "`--parts 2 --recompute`"
    assert plan.fits(known(thrifty=Memory(50e9, 1)), t4, 256) is None and plan.largest(known(), t4, False) % 4 == 0
    assert plan.fits(known(), a100, 2) is None  # no pair with two z each


def test_exchange_and_checkpoint_by_hand():
    """40 bytes of gradients go 14/8 times over a link; 2 norms have 4 sums each. 4 x (4 x 6 + 3 x 4) bytes of state."""
    card = replace(plan.CARDS[0], inside=10.0, outside=1.0)
    assert plan.exchange(known(), card, 1) == 0
    assert plan.exchange(known(), card, 8) == pytest.approx(40 * 14 / 8 / 10 + 8 * plan.LATENCY[True])
    assert plan.exchange(known(), card, 64) == pytest.approx(40 * 126 / 64 / 1 + 8 * plan.LATENCY[False])
    assert plan.checkpoint_bytes(known()) == 4 * (24 + 12)


def test_the_pace_by_hand(monkeypatch):
    """A step of two kernels, one bound by its operations and one by its bytes; R1 doubles it in one step of sixteen."""
    card = replace(plan.CARDS[3], peak=1e6 / plan.PEAK_SHARE, bandwidth=1e3 / plan.BANDWIDTH_SHARE)
    for function in (plan.modelled, plan.operations, plan.beyond_model, plan.measured_share):
        function.cache_clear()
    monkeypatch.setattr(plan, "kernels", lambda preset, batch, way, r1: ((2e6, 1.0), (1.0, 3e3)) * (1 + r1))
    monkeypatch.setattr(plan, "beyond_model", lambda: 2.0)
    monkeypatch.setattr(plan, "measured_share", lambda: 0.1 * plan.PEAK_SHARE)
    found = plan.pace(known(), card, 1)
    assert found.by_kernel == pytest.approx(256 / (2 * (2 + 3) * 17 / 16), rel=1e-5)
    assert found.by_work == pytest.approx(256 / (2e6 * 17 / 16 / 1e5), rel=1e-5)
    assert found.days == pytest.approx(36e6 / found.by_kernel / 86_400)
    assert found.energy == pytest.approx(found.days * 24 * 0.7)
    small = known(preset=PRESETS["photos32"])  # batches of 128: sixteen to each of eight cards, none to others of 64
    assert plan.pace(small, card, 8).each == 16 and plan.pace(small, card, 64) is None
    for function in (plan.modelled, plan.operations):
        function.cache_clear()


def rows(text: str, name: str) -> list[str]:
    block = re.search(rf"<!-- scale: {name} -->(.*?)<!-- end -->", text, re.DOTALL)[1]
    return [line for line in block.splitlines() if line.startswith("|")]


@pytest.fixture(scope="module")
def document() -> str:
    return (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")


def test_the_documents_rows_of_a_preset_are_what_is_counted(document):
    e = scale.estimate(PRESETS["photos128"])
    for name, table in (("networks", plan._networks), ("memory", plan._memory), ("fits", plan._fits)):
        head, found = table([e])
        expected = plan.markdown(head, found).splitlines()
        there = rows(document, name)
        assert there[0] == expected[0] and set(expected[2:]) <= set(there), name


def test_the_documents_plan_is_what_is_counted(document):
    """The rows of eight cards, from the networks' sizes in the document's own tables, and the speed counted anew."""
    memory = {way: re.split(r" *\| *", row) for row in rows(document, "memory") for way in ("as it is", "recompute")
              if "paper256" in row and way in row}  # fmt: skip
    whole, thrifty = (Memory(1e9 * float(r[7]) - 256e6 * float(r[8]), 1e6 * float(r[8])) for r in memory.values())
    cells = re.split(r" *\| *", next(row for row in rows(document, "networks") if "paper256" in row))
    sizes = {
        name: int(1e6 * float(cell)) for name, cell in zip(("generator", "discriminator"), cells[4:6], strict=True)
    }
    e = known(parameters=sizes, whole=whole, thrifty=thrifty, average_norms=17)
    for card in plan.CARDS:
        found = plan.pace(e, card, 8)
        row = re.split(r" *\| *", next(row for row in rows(document, "plan") if f"8 x {card.name}" in row))
        assert (row[2], row[3]) == (str(found.each), str(found.way))
        for cell, value in zip(row[4:9], (found.by_work, found.by_kernel, 36e6 / found.by_work / 86_400, found.days, found.energy), strict=True):  # fmt: skip  # noqa: E501
            assert float(cell.replace(",", "")) == pytest.approx(value, rel=0.03)


def test_tables_go_between_the_marks_of_a_file(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("pyramid.cli.scale.estimate", lambda preset: known(preset=preset))
    monkeypatch.setattr(plan, "tables", lambda estimates: {"networks": "| new |", "plan": "unused"})
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- scale: networks -->\nold\n<!-- end -->\nafter\n", encoding="utf-8")
    for _ in range(2):
        assert main(["scale", "tiny32", "--into", str(page)]) == 0
    expected = "before\n<!-- scale: networks -->\n\n| new |\n\n<!-- end -->\nafter\n"
    assert page.read_text(encoding="utf-8") == expected
    page.write_text("nothing", encoding="utf-8")
    assert main(["scale", "tiny32", "--into", str(page)]) == 2
    assert "needs marks" in capsys.readouterr().err and page.read_text(encoding="utf-8") == "nothing"
    with pytest.raises(InputError, match="NAME one of networks, plan"):
        plan.fill("<!-- scale: other -->\n<!-- end -->", {"networks": "", "plan": ""})
    assert main(["scale", "paper512"]) == 2 and "paper256" in capsys.readouterr().err
