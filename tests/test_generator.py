from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.parametrize import is_parametrized

from conftest import CLASSES
from pyramid.device import seeded
from pyramid.discriminator import Discriminator, with_difference
from pyramid.generator import Generator
from pyramid.levels import CONV_LEVELS, LEVELS
from pyramid.presets import PRESETS

PRESET = PRESETS["tiny32"]
with seeded(3):
    GENERATOR = Generator(PRESET, len(CLASSES)).eval()


def inputs(seed: int):
    g = torch.Generator().manual_seed(seed)
    table = PRESET.shapes(len(CLASSES))
    features = {name: torch.randn(2, *shape, generator=g) for name, shape in table.items()}
    z = torch.randn(2, GENERATOR.z_size, generator=g)
    return features, z, torch.randint(0, len(CLASSES), (2,), generator=g)


@given(st.sets(st.sampled_from(LEVELS)), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_only_open_levels_reach_the_image(opened, seed):
    features, z, labels = inputs(seed)
    g = torch.Generator().manual_seed(seed + 1)
    masks = {}
    for name, f in features.items():
        shape = (2, 1, *f.shape[2:])
        part = (torch.rand(shape, generator=g) > 0.3).float()
        part.view(2, -1)[:, 0] = 1.0
        masks[name] = part if name in opened else torch.zeros(shape)
    for f in features.values():
        f.requires_grad_()
    image = GENERATOR(features, masks, z, labels)
    (image * torch.randn(image.shape, generator=g)).sum().backward()
    for name, f in features.items():
        reached = f.grad.abs().amax(1, keepdim=True)
        assert torch.all(reached[masks[name] == 0] == 0), f"{name}: a closed entry received gradient"
        if name in opened:
            assert torch.any(reached[masks[name] > 0] > 0), f"{name}: open, yet without gradient"
    changed = {
        name: (f + torch.randn(f.shape, generator=g) * (1 - masks[name])).detach() for name, f in features.items()
    }
    with torch.no_grad():
        assert torch.equal(GENERATOR(changed, masks, z, labels), image)  # closed entries do not matter
        for name in opened:
            other = {**changed, name: changed[name] + masks[name]}
            assert not torch.equal(GENERATOR(other, masks, z, labels), image)


def test_image_is_in_range_and_depends_on_z_and_label():
    features, z, labels = inputs(0)
    masks = {name: torch.zeros(2, 1, *f.shape[2:]) for name, f in features.items()}
    with torch.no_grad():
        image = GENERATOR(features, masks, z, labels)
        assert image.shape == (2, 3, 32, 32) and image.abs().max() <= 1
        assert not torch.equal(image, GENERATOR(features, masks, z + 1, labels))
        assert not torch.equal(image, GENERATOR(features, masks, z, (labels + 1) % len(CLASSES)))


def test_noise_enters_only_where_the_mask_is_closed():
    features, z, labels = inputs(1)
    masks = {name: torch.ones(2, 1, *f.shape[2:]) for name, f in features.items()}
    noisy = z.clone()
    noisy[:, PRESET.global_z :] += 1  # the noise maps
    with torch.no_grad():
        assert torch.equal(GENERATOR(features, masks, z, labels), GENERATOR(features, masks, noisy, labels))
        for name in ("conv4", "conv3", "conv2", "conv1"):
            closed = {**masks, name: torch.zeros_like(masks[name])}
            first, second = (GENERATOR(features, closed, v, labels) for v in (z, noisy))
            assert not torch.equal(first, second), name


def test_the_discriminator_alone_is_spectrally_normalised():
    """Its kernels, as matrices, have a largest singular value of 1; the generator's are plain and free to grow."""
    with seeded(4):
        network = Discriminator(PRESET, len(CLASSES)).train()
    images, labels = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.zeros(4).long()
    with torch.no_grad():
        for _ in range(30):  # a power iteration at each pass
            network.pixels(images, labels)
    layers = [m for m in network.pixels.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    largest = torch.stack([torch.linalg.svdvals(m.weight.flatten(1))[0] for m in layers])
    assert len(layers) > 10 and (largest - 1).abs().max() < 0.1
    assert not any(is_parametrized(m) for m in GENERATOR.modules())


def test_a_gate_lets_through_what_its_level_keeps():
    """With keep at -inf and conv2 open everywhere, nothing deeper reaches the image; at +inf or closed, it does."""
    features, z, labels = inputs(2)
    generator = deepcopy(GENERATOR)
    masks = {name: torch.zeros(2, 1, *f.shape[2:]) for name, f in features.items()} | {
        "conv2": torch.ones(2, 1, *features["conv2"].shape[2:])
    }

    def reached(keep: float, masks) -> bool:
        """Whether a change of what conv4's block is given comes through."""
        generator.keep["conv2"].data.fill_(keep)
        with torch.no_grad():
            before = generator(features, masks, z, labels)
            hook = generator.blocks["conv4"].register_forward_hook(lambda *_: _[-1] + 1)
            after = generator(features, masks, z, labels)
            hook.remove()
        return not torch.equal(before, after)

    closed = masks | {"conv2": torch.zeros_like(masks["conv2"])}
    assert not reached(-float("inf"), masks) and reached(float("inf"), masks) and reached(-float("inf"), closed)


def test_every_block_is_told_which_levels_are_open():
    """Of a single block: another amount of a finer level changes what fc8's, the first one, makes."""
    features, z, labels = inputs(3)
    masks = {name: torch.zeros(2, 1, *f.shape[2:]) for name, f in features.items()}
    generator, made = deepcopy(GENERATOR), []
    for norm in (generator.blocks["fc8"].norm1, generator.blocks["fc8"].norm2):
        torch.nn.init.normal_(norm.bias.weight, generator=torch.Generator().manual_seed(0))
    generator.blocks["fc8"].register_forward_hook(lambda _, __, out: made.append(out))
    with torch.no_grad():
        for amount in (0.0, 0.5):
            generator(features, masks | {"conv1": torch.full_like(masks["conv1"], amount)}, z, labels)
    assert not torch.equal(*made)


@pytest.mark.parametrize("told", ["paired", "summed"])
def test_told_the_level_the_discriminator_has_an_opinion_for_each(told):
    """Nine for each label: seven levels, all closed, several; other sizes stay. Summed, a label weighs alike in all."""
    k = len(CLASSES)
    with seeded(4):
        network = Discriminator(replace(PRESET, told_level=told), k).eval()
    rows = [m.num_embeddings for m in network.modules() if isinstance(m, torch.nn.Embedding)]
    assert rows == ([9 * k] * 5 if told == "paired" else [k, 9] * 5)  # patches, the whole, three heads
    others = [p for name, p in network.named_parameters() if "of_level" not in name]
    for ours, theirs in zip(others, Discriminator(PRESET, k).parameters(), strict=True):
        assert ours.shape[1:] == theirs.shape[1:]
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        every = [network.pixels(images, torch.full((2,), i))[0][:, 0] for i in range(9 * k)]
    scores = torch.stack(every).view(9, k, 2)  # level, label, image
    assert len(scores[..., 0].unique()) == 9 * k
    mixed = scores[1:, 1:] - scores[:1, 1:] - scores[1:, :1] + scores[:1, :1]  # of both beyond the sum of each
    if told == "summed":
        assert mixed.abs().max() < 1e-4 * scores.std()
    else:
        assert mixed.abs().mean() > 0.1 * scores.std()


def test_projection_discriminator_scores_depend_on_the_class():
    with seeded(4):
        network = Discriminator(PRESET, len(CLASSES)).eval()
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        first = network.pixels(images, torch.zeros(4, dtype=torch.long))
        second = network.pixels(images, torch.ones(4, dtype=torch.long))
    assert first[0].shape == (4, 1) and first[1].shape == (4, 64)
    assert not torch.equal(first[0], second[0]) and not torch.equal(first[1], second[1])


def test_difference_channel_by_hand():
    x = torch.tensor([[1.0, 2.0], [4.0, 0.0], [5.0, 5.0], [5.0, 5.0]]).view(4, 2, 1, 1)
    assert with_difference(x)[:, 2].flatten().tolist() == [2.5, 2.5, 0.0, 0.0]


def test_levels_enter_from_deep_to_fine():
    assert list(GENERATOR.blocks) == ["fc8", "fc7", *reversed(CONV_LEVELS)]


def test_fc8_enters_as_what_sets_it_apart_from_its_label_as_far_as_it_speaks_for_it():
    """Surer of the label than its mean: as it is; half as sure: a quarter; of another label: nothing.

    By hand, with a mean of which the label has three quarters of the softmax (logits ln 3 and 0).
    """
    with seeded(5):
        generator = Generator(PRESET, 2)
    generator.class_mean.copy_(torch.tensor([[1.0986123, 0.0], [0.0, 1.0986123]]))
    generator.class_std.copy_(torch.tensor([[0.5, 0.1], [0.1, 0.1]]))
    fc8 = torch.tensor([[2.0986123, 0.0], [0.0, 0.5108256], [20.0, 0.0]])  # the second: label 0 has 3 / 8
    surer, half, other = generator.within_class(fc8, torch.tensor([0, 0, 1]))
    torch.testing.assert_close(surer, torch.tensor([2.0, 0.0]))
    torch.testing.assert_close(half, torch.tensor([-1.0986123 / 0.5, 0.5108256 / 0.1]) / 4)
    torch.testing.assert_close(other, torch.zeros(2), rtol=0, atol=1e-6)


def test_a_label_of_few_photographs_makes_fc8_no_larger_than_eight_standard_deviations():
    """Two photographs of label 0 at -1 and -1.2, so a standard deviation of 0.1 sqrt 2: 100 / 0.1414 is cut to 8."""
    with seeded(5):
        generator = Generator(PRESET, 2)
    generator.measure_labels(torch.tensor([[9.0, -1.0], [9.0, -1.2]]), torch.tensor([0, 0]))
    fc8 = torch.tensor([[9.0, -101.1], [9.0, -1.0], [200.0, 98.9]])
    far, near, above = generator.within_class(fc8, torch.tensor([0, 0, 0]))
    torch.testing.assert_close(far, torch.tensor([0.0, -8.0]))
    torch.testing.assert_close(near, torch.tensor([0.0, 0.1 / (0.1 * 2**0.5)]), rtol=1e-4, atol=0)
    torch.testing.assert_close(above, torch.tensor([8.0, 8.0]))


def test_the_condition_ends_with_the_levels_amounts_from_fine_to_deep():
    """Amounts of a tenth at conv1 to seven tenths at fc8; conv4 in a quarter of its cells alone."""
    features, z, labels = inputs(4)
    masks = {name: torch.full((2, 1, *f.shape[2:]), (i + 1) / 10) for i, (name, f) in enumerate(features.items())}
    masks["conv4"] = torch.tensor([[0.4, 0.0], [0.0, 0.0]]).expand(2, 1, 2, 2)
    generator, given = deepcopy(GENERATOR), []
    for block in generator.blocks.values():
        block.register_forward_pre_hook(lambda _, args: given.append(args[1]))
    with torch.no_grad():
        generator(features, masks, z, labels)
    assert len(given) == len(LEVELS)
    for condition in given:
        torch.testing.assert_close(condition[:, -7:], torch.tensor([[0.1, 0.2, 0.3, 0.1, 0.5, 0.6, 0.7]] * 2))
