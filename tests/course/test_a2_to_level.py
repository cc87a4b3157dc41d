import numpy as np
import pytest
import torch
from scipy.ndimage import minimum_filter
from students import answer, told
from torch.nn import functional as F

from pyramid.course.a2_to_level import ASSIGNMENT, LEVELS
from pyramid.course.assignments import MASTERS
from pyramid.levels import RECEPTIVE_FIELDS

SEEDS = pytest.mark.parametrize("seed", (0, 5, 91))


def test_the_levels_are_those_of_the_paper_s_network():
    assert list(LEVELS) == [RECEPTIVE_FIELDS[name] for name in ("conv1", "conv2", "conv3")]


@SEEDS
def test_the_masters_solution_passes(seed):
    assert told(ASSIGNMENT, answer(MASTERS / "a2_to_level.ipynb"), seed) == set()


def test_the_question_at_the_end_has_one_answer():
    """A square of 122 pixels in a corner: there the least of a field lies in the picture, 212 less (212 - 32) / 2."""
    field, stride = RECEPTIVE_FIELDS["conv5"]
    to_level = answer(MASTERS / "a2_to_level.ipynb")
    inside = [len({*range(256)} & {*range(q * stride - 90, q * stride - 90 + field)}) for q in range(256 // stride)]
    assert min(inside) == inside[0] == inside[-1] == 122 and sorted(inside)[2] > 122
    for side, cells in ((122, 1), (121, 0)):
        region = torch.zeros(1, 1, 256, 256)
        region[..., :side, -side:] = 1
        assert to_level(region, field, stride).sum() == cells


def cell_by_cell(region, field, stride):
    """Unusual: numpy, a loop over the cells, windows cut at the border."""
    pixels, side, margin = region.numpy(), region.shape[-1], (field - stride) // 2
    mask = np.empty((len(pixels), 1, side // stride, side // stride), dtype=np.float32)
    for row in range(side // stride):
        for column in range(side // stride):
            top, left = row * stride - margin, column * stride - margin
            window = pixels[:, :, max(top, 0) : top + field, max(left, 0) : left + field]
            mask[:, :, row, column] = window.min((2, 3))
    return mask


def filtered(region, field, stride):
    """Unusual: scipy's filter at every pixel, of which one a cell is kept; float64."""
    everywhere = minimum_filter(region.double().numpy(), size=(1, 1, field, field), mode="constant", cval=1.0)
    return torch.tensor(everywhere[:, :, stride // 2 :: stride, stride // 2 :: stride])


@SEEDS
@pytest.mark.parametrize("unusual", [cell_by_cell, filtered])
def test_unusual_solutions_pass(unusual, seed):
    assert told(ASSIGNMENT, unusual, seed) == set()


def most_open(region, field, stride):
    pad = (field - stride) // 2
    return F.pad(region, [pad] * 4).unfold(2, field, stride).unfold(3, field, stride).amax((-1, -2))


def average(region, field, stride):
    return F.avg_pool2d(region, kernel_size=field, stride=stride, padding=(field - stride) // 2)


def average_of_own_cells(region, field, stride):
    return F.interpolate(region, size=region.shape[-1] // stride, mode="area")


def own_square(region, field, stride):
    b, _, s, _ = region.shape
    return region.view(b, 1, s // stride, stride, s // stride, stride).amin((3, 5))


def zeros_around(region, field, stride):
    pad = (field - stride) // 2
    return F.pad(region, [pad] * 4).unfold(2, field, stride).unfold(3, field, stride).amin((-1, -2))


def how_closed(region, field, stride):
    return 1 - torch.from_numpy(cell_by_cell(region, field, stride))


def ones_are_closed(region, field, stride):
    return torch.from_numpy(cell_by_cell(1 - region, field, stride))


@SEEDS
@pytest.mark.parametrize(
    "mistaken, beginning",
    [
        (most_open, "That is the maximum"),
        (average, "That is a mean"),
        (average_of_own_cells, "That is a mean"),
        (own_square, "Each cell looks at its own square"),
        (zeros_around, "Beyond the border counts as closed"),
        (how_closed, "Open and closed have changed places"),
        (ones_are_closed, "Open and closed have changed places"),
    ],
)
def test_a_mistake_gets_its_sentence(mistaken, beginning, seed):
    (sentence,) = [s for s in ASSIGNMENT.mistakes if s.startswith(beginning)]
    assert told(ASSIGNMENT, mistaken, seed) == {sentence}


@pytest.mark.parametrize(
    "other, question, part",
    [
        (lambda region, field, stride: region, 0, "this is (2, 1, 64, 64)"),
        (lambda region, field, stride: torch.from_numpy(cell_by_cell(region, field, stride)) ** 2, 0, "it passes"),
        (
            lambda region, field, stride: torch.zeros(len(region), 1, 64 // stride, 64 // stride),
            1,
            "no cell passes less",
        ),
        (lambda region, field, stride: own_square(region, field, stride) * 0.9, 2, "0.90"),
        (lambda region, field, stride: own_square(region, field, stride) ** 0.5, 3, "masked features changed"),
    ],
)
def test_other_answers_are_told_what_is_wrong(other, question, part):
    from pyramid.course.engine import Wrong, check

    with pytest.raises(Wrong) as told_so:
        check(ASSIGNMENT, list(ASSIGNMENT.questions)[question], other)
    assert part in str(told_so.value)
