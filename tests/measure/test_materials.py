"""The reader of materials, with the judge of the 32 px scenes."""

import pytest
import torch

from pyramid.data import from_bytes
from pyramid.measure.materials import MaterialReader, cell_materials
from pyramid.model import open_release
from pyramid.scenes import MATERIALS, render

HELD_OUT = [1_000_000 + i for i in range(40)]


@pytest.fixture(scope="module")
def reader():
    return MaterialReader(open_release("scenes32").network("judge"), 32, range(300))


def pictures(numbers):
    return from_bytes(torch.stack([torch.from_numpy(render(n, 32).image) for n in numbers]).permute(0, 3, 1, 2))


def test_cells_take_the_material_of_their_pixels():
    material = torch.from_numpy(render(HELD_OUT[0], 32).materials).long()
    cells = cell_materials(HELD_OUT[:1], 32, 8)[0]
    for r in range(8):
        for c in range(8):
            counts = material[4 * r : 4 * r + 4, 4 * c : 4 * c + 4].flatten().bincount(minlength=len(MATERIALS))
            assert cells[r, c] == (counts.argmax() if counts.max() >= 12 else -1)  # three quarters of 16 pixels


def test_reads_scenes_it_was_not_fitted_to(reader):
    truth = cell_materials(HELD_OUT, 32, 8)
    right = (reader(pictures(HELD_OUT)) == truth)[truth >= 0].float().mean()
    assert right > 0.8  # one material everywhere, the commonest, would give
    assert (truth[truth >= 0] == truth[truth >= 0].mode().values).float().mean() < 0.6


def test_sees_what_was_pasted(reader):
    """The right half of each scene replaced by that of the next: there it reads as the next one's map."""
    first, second = HELD_OUT[:-1], HELD_OUT[1:]
    mixed = pictures(first)
    mixed[..., 16:] = pictures(second)[..., 16:]
    read, own, others = reader(mixed), cell_materials(first, 32, 8), cell_materials(second, 32, 8)
    tell = (own >= 0) & (others >= 0) & (own != others)
    for columns, truth in ((slice(0, 3), own), (slice(5, 8), others)):
        assert (read == truth)[..., columns][tell[..., columns]].float().mean() > 0.7
