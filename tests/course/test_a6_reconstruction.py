import re

import nbformat
import pytest
import torch
from students import answer, told
from torch.nn import functional as F

from pyramid.course.a6_reconstruction import ASSIGNMENT
from pyramid.course.assignments import MASTERS


def test_a_stub_is_told_that_nothing_is_there():
    def stub(generated, reference, mask):
        raise NotImplementedError

    assert told(ASSIGNMENT, stub) == {"There is nothing here yet; write the function and run the cell again."}


@pytest.mark.parametrize("seed", range(6))
def test_the_masters_solution_passes(seed):
    assert told(ASSIGNMENT, answer(MASTERS / "a6_reconstruction.ipynb"), seed) == set()


def test_features_have_the_papers_name_throughout():
    cells = nbformat.read(MASTERS / "a6_reconstruction.ipynb", as_version=4).cells
    text = "".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert set(re.findall(r"(\w)_i\(", text)) == {"C"}  # a function of an image
    assert set(re.findall(r"C_i\(([^()]+(?:\([^)]+\))?)\)", text)) == {"x", "G(z, F, M)", r"\hat x"}
    assert not re.search(r"\$[^$]*\bC\b(?!_i)[^$]*\$", text)  # and no other C in a formula


def by_strides(generated, reference, mask):
    """Unusual: the four entries of a window are four strided maps; open windows are selected, sample by sample."""

    def corners(x):
        return torch.stack([x[..., i::2, j::2] for i in (0, 1) for j in (0, 1)])

    if generated.dim() == 4:
        generated, reference = corners(generated).max(0).values, corners(reference).max(0).values
        mask = corners(mask).prod(0)
    total = 0.0
    for x, y, m in zip(generated, reference, mask, strict=True):
        chosen = m.bool().expand_as(x)
        if chosen.any():
            total = total + (x[chosen] - y[chosen]).abs().mean()
    return total / len(generated)


def by_unfolding(generated, reference, mask):
    """Unusual: windows are unfolded into columns, closed ones become nan, and the mean is over what is a number."""
    if generated.dim() == 4:
        batch, channels = generated.shape[:2]
        x, y = (F.unfold(f, 2, stride=2).view(batch, channels, 4, -1).amax(2) for f in (generated, reference))
        m = F.unfold(mask, 2, stride=2).amin(1, keepdim=True)  # (B, 1, windows)
    else:
        x, y, m = generated[:, :, None], reference[:, :, None], mask[:, :, None]
    error = torch.where(m == 1, (x - y).abs(), torch.nan)
    return error.flatten(1).nanmean(1).nan_to_num(0).mean().double()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("unusual", [by_strides, by_unfolding])
def test_unusual_solutions_pass(unusual, seed):
    assert told(ASSIGNMENT, unusual, seed) == set()


def pools(generated, reference, mask):
    if generated.dim() == 4:
        generated, reference = F.max_pool2d(generated, 2), F.max_pool2d(reference, 2)
        mask = -F.max_pool2d(-mask, 2)
    return generated, reference, mask


def per_sample(difference, mask):
    each = (difference * mask).flatten(1).sum(1) / difference.shape[1]
    return each / mask.flatten(1).sum(1).clamp(min=1)


def mask_max_pooled(generated, reference, mask):
    x, y, _ = pools(generated, reference, mask)
    m = F.max_pool2d(mask, 2) if mask.dim() == 4 else mask
    return per_sample((x - y).abs(), m).mean()


def mask_resized(generated, reference, mask):
    x, y, _ = pools(generated, reference, mask)
    m = F.interpolate(mask, scale_factor=0.5, mode="area") if mask.dim() == 4 else mask
    return per_sample((x - y).abs(), m.ceil()).mean()


def mean_of_everything(generated, reference, mask):
    x, y, m = pools(generated, reference, mask)
    return torch.mean(torch.abs(x - y) * m)


def difference_pooled(generated, reference, mask):
    difference = (reference - generated).abs()
    if difference.dim() == 4:
        difference, mask = F.max_pool2d(difference, 2), 1 - F.max_pool2d(1 - mask, 2)
    return per_sample(difference, mask).mean()


def signed_difference_pooled(generated, reference, mask):
    if generated.dim() == 2:
        return per_sample((reference - generated).abs(), mask).mean()
    return per_sample(F.max_pool2d(generated - reference, 2).abs(), 1 - F.max_pool2d(1 - mask, 2)).mean()


def squared(generated, reference, mask):
    x, y, m = pools(generated, reference, mask)
    return per_sample((x - y) ** 2, m).mean()


def squared_over_the_batch(generated, reference, mask):
    x, y, m = pools(generated, reference, mask)
    return ((x - y).pow(2) * m).sum() / (m.sum() * x.shape[1] + 1e-8)


def units_pooled(generated, reference, mask):
    if generated.dim() == 2:
        generated, reference = (F.max_pool1d(f.unsqueeze(1), 2).squeeze(1) for f in (generated, reference))
    x, y, m = pools(generated, reference, mask)
    return per_sample((x - y).abs(), m).mean()


def units_in_pairs(generated, reference, mask):
    if generated.dim() == 2:
        generated, reference = (f.view(len(f), -1, 2).amax(2) for f in (generated, reference))
    return by_strides(generated, reference, mask)


@pytest.mark.parametrize("seed", (0, 5, 91))
@pytest.mark.parametrize(
    "mistaken, beginning",
    [
        (mask_max_pooled, "A window that the mask's boundary cuts counts as open"),
        (mask_resized, "A window that the mask's boundary cuts counts as open"),
        (mean_of_everything, "The mean is over all entries"),
        (difference_pooled, "The difference is max-pooled"),
        (signed_difference_pooled, "The difference is max-pooled"),
        (squared, "The error is squared"),
        (squared_over_the_batch, "The error is squared"),
        (units_pooled, "The units of an fc level are pooled"),
        (units_in_pairs, "The units of an fc level are pooled"),
    ],
)
def test_a_mistake_gets_its_sentence(mistaken, beginning, seed):
    (sentence,) = [s for s in ASSIGNMENT.mistakes if s.startswith(beginning)]
    assert told(ASSIGNMENT, mistaken, seed) == {sentence}


def not_pooled(generated, reference, mask):
    return per_sample((generated - reference).abs(), mask).mean()


def mask_forgotten(generated, reference, mask):
    x, y, m = pools(generated, reference, mask)
    return (x - y).abs().mean()


def sum_not_mean(generated, reference, mask):
    x, y, m = pools(generated, reference, mask)
    return ((x - y).abs() * m).sum()


def mean_pooled(generated, reference, mask):
    if generated.dim() == 4:
        generated, reference = F.avg_pool2d(generated, 2), F.avg_pool2d(reference, 2)
        mask = 1 - F.max_pool2d(1 - mask, 2)
    return per_sample((generated - reference).abs(), mask).mean()


def divided_by_nothing(generated, reference, mask):
    x, y, m = pools(generated, reference, mask)
    return ((x - y).abs().mean(1, keepdim=True) * m).flatten(1).sum(1).div(m.flatten(1).sum(1)).mean()


@pytest.mark.parametrize(
    "other, part",
    [
        (not_pooled, "moves inside its 2x2 window"),
        (mask_forgotten, "Closed entries were changed"),
        (sum_not_mean, "however large the map"),
        (mean_pooled, "two of 4 windows differ"),
        (divided_by_nothing, "what is the sum divided by?"),
        (lambda generated, reference, mask: (generated - reference).abs().flatten(1).mean(1), "One number"),
    ],
)
def test_another_fault_is_not_taken_for_a_typical_mistake(other, part):
    sentences = told(ASSIGNMENT, other)
    assert any(part in sentence for sentence in sentences)
    assert not sentences & set(ASSIGNMENT.mistakes)
