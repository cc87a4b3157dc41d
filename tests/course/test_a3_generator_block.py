import re

import nbformat
import pytest
import torch
from students import answer, told
from torch.nn import functional as F

from pyramid.course.a3_generator_block import ASSIGNMENT
from pyramid.course.assignments import MASTERS, STUDENTS
from pyramid.masks import soft

SEEDS = pytest.mark.parametrize("seed", (0, 5, 91))
SOLUTION = answer(MASTERS / "a3_generator_block.ipynb")


def test_the_formula_is_written_as_in_notebook_03():
    (notebook,) = STUDENTS.parent.glob("03_*.ipynb")
    for path in (notebook, MASTERS / "a3_generator_block.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        text = "".join(cell.source for cell in cells if cell.cell_type == "markdown")
        bare = re.sub(r"\\[,;]|\\bigl|\\bigr|\s", "", text)  # without spaces and sizes
        assert r"\mathrm{ResBlock}(x)+\mathrm{Conv}(m_i\cdotf_i)" in bare
        assert r"\mathrm{ResBlock}(x)\cdot(1-m_i(1-\kappa))" in bare
        assert "[m_if_i,m_i,(1-m_i)n_i]" in bare and r"\sigma(a)" not in bare


@SEEDS
def test_the_masters_solution_passes(seed):
    assert told(ASSIGNMENT, SOLUTION, seed) == set()


def test_the_assignment_is_the_released_block(tiny_model):
    """The solution, given what a block of the generator is given, makes what the next block receives."""
    generator, caught = tiny_model.generator, {}
    hooks = [
        generator.blocks[name].register_forward_pre_hook(lambda _, args, name=name: caught.update({name: args}))
        for name in ("conv3", "conv2")
    ]
    photo = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    features, masks, z = tiny_model.features(photo), soft(conv3=0.4, fc8=1.0).at(32), tiny_model.noise(1, seed=0)
    with torch.no_grad():
        generator(features, masks, z, torch.tensor([0]))
        shapes = generator.noise
        maps = dict(
            zip(shapes, z[:, generator.global_z :].split([c * h * w for c, h, w in shapes.values()], 1), strict=True)
        )
        x, c = caught["conv3"]
        made = SOLUTION(
            x,
            masks["conv3"],
            features["conv3"],
            maps["conv3"].unflatten(1, shapes["conv3"]),
            generator.keep["conv3"],
            lambda x: generator.blocks["conv3"](x, c),
            generator.inject["conv3"],
        )
    for hook in hooks:
        hook.remove()
    assert "conv3" not in generator.attention
    assert torch.allclose(made, caught["conv2"][0], atol=1e-5)


def filled_channel_by_channel(x, m, f, noise, keep, resblock, conv):
    """Unusual: one tensor that is filled, and the gate as a blend of two blocks."""
    given = torch.empty(len(f), f.shape[1] + 1 + noise.shape[1], *f.shape[2:])
    given[:, : f.shape[1]] = f * m
    given[:, f.shape[1]] = m[:, 0]
    given[:, f.shape[1] + 1 :] = noise - noise * m
    deeper = resblock(x)
    return torch.lerp(deeper, deeper / (1 + torch.exp(-keep)), m) + conv(given)


def by_einsum(x, m, f, noise, keep, resblock, conv):
    """Unusual: masked by einsum, the gate in logarithms, the closed part subtracted."""
    masked = torch.einsum("bchw,bhw->bchw", f, m.squeeze(1))
    chance = torch.where(m >= 1, torch.zeros_like(noise), noise * (1 - m))
    deeper = resblock(x.clone())
    lost = torch.exp(F.logsigmoid(-keep)) * m  # 1 - sigmoid(a) = sigmoid(-a)
    return conv(torch.cat((masked, m, chance), dim=-3)).add(deeper).sub(deeper * lost)


@SEEDS
@pytest.mark.parametrize("unusual", [filled_channel_by_channel, by_einsum])
def test_unusual_solutions_pass(unusual, seed):
    assert told(ASSIGNMENT, unusual, seed) == set()


def gate(m, keep):
    return 1 - m * (1 - keep.sigmoid())


def masked_at_the_end(x, m, f, noise, keep, resblock, conv):
    listened = conv(torch.cat([f, m, noise * (1 - m)], dim=1)) * m
    return resblock(x) * gate(m, keep) + listened


def inverted(x, m, f, noise, keep, resblock, conv):
    closed = 1 - m
    return resblock(x) * gate(m, keep) + conv(torch.cat([closed * f, m, m * noise], dim=1))


def inverted_features(x, m, f, noise, keep, resblock, conv):
    return resblock(x) * gate(m, keep) + conv(torch.cat([f - m * f, m, noise - m * noise], dim=1))


def two_parts(x, m, f, noise, keep, resblock, conv):
    return resblock(x) * gate(m, keep) + conv(torch.cat([m * f, (1 - m) * noise], dim=1))


def noise_inside(x, m, f, noise, keep, resblock, conv):
    return resblock(x) * gate(m, keep) + conv(torch.cat([m * f, m, m * noise], dim=1))


def plain_noise(x, m, f, noise, keep, resblock, conv):
    return resblock(x) * gate(m, keep) + conv(torch.cat([m * f, m, noise], dim=1))


def through_the_block(x, m, f, noise, keep, resblock, conv):
    x = x + conv(torch.cat([m * f, m, (1 - m) * noise], dim=1))
    return gate(m, keep) * resblock(x)


def gated_then_through_the_block(x, m, f, noise, keep, resblock, conv):
    x = x * gate(m, keep)
    x = x + conv(torch.cat([m * f, m, (1 - m) * noise], dim=1))
    return resblock(x)


@SEEDS
@pytest.mark.parametrize(
    "mistaken, beginning",
    [
        (masked_at_the_end, "The mask comes after the convolution"),
        (inverted, "Features pass where the mask is 0"),
        (inverted_features, "Features pass where the mask is 0"),
        (two_parts, "The convolution is not told the mask"),
        (noise_inside, "Noise also enters where the mask is open"),
        (plain_noise, "Noise also enters where the mask is open"),
        (through_the_block, "The features are added before the residual block"),
        (gated_then_through_the_block, "The features are added before the residual block"),
    ],
)
def test_a_mistake_gets_its_sentence(mistaken, beginning, seed):
    (sentence,) = [s for s in ASSIGNMENT.mistakes if s.startswith(beginning)]
    assert told(ASSIGNMENT, mistaken, seed) == {sentence}


def ungated(x, m, f, noise, keep, resblock, conv):
    return resblock(x) + conv(torch.cat([m * f, m, (1 - m) * noise], dim=1))


def gated_everywhere(x, m, f, noise, keep, resblock, conv):
    return resblock(x) * keep.sigmoid() + conv(torch.cat([m * f, m, (1 - m) * noise], dim=1))


@pytest.mark.parametrize(
    "other, parts",
    [
        (ungated, {"The gate is missing"}),
        (gated_everywhere, {"not that of the formula"}),
        (lambda x, **rest: x, {"this is (2, 4, 4, 4)"}),
        (lambda **rest: None, {"this is NoneType"}),
        (lambda x, resblock, **rest: resblock(x), {"other noise changes nothing", "one and the same", "the formula"}),
    ],
)
def test_other_answers_are_told_what_is_wrong(other, parts):
    sentences = told(ASSIGNMENT, other)
    assert all(any(part in sentence for sentence in sentences) for part in parts) and len(sentences) == len(parts)
