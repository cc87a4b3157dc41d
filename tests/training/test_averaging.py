"""The weights that a release has: the running average of the generator's, with statistics of their own."""

import torch

from conftest import tiny_run
from pyramid.training.averaging import averaged_generator, update_average
from pyramid.training.record import Metrics


def test_average_equals_the_raw_generator_at_step_0():
    run = tiny_run()
    for raw, averaged in zip(run.generator.state_dict().values(), run.ema.module.state_dict().values(), strict=True):
        assert torch.equal(raw, averaged)


def test_average_is_the_exponential_one():
    """With the preset's half-life, once twenty times as many images have been seen."""
    run = tiny_run()
    run.step(Metrics())
    first = run.generator.to_rgb.bias.detach().clone()  # the first update copies
    assert torch.equal(run.ema.module.to_rgb.bias, first)
    run.ema.n_averaged.fill_(10**6)
    decay = 0.5 ** (run.preset.batch / run.preset.ema_half_life)
    run.step(Metrics())
    second = run.generator.to_rgb.bias.detach()
    torch.testing.assert_close(run.ema.module.to_rgb.bias.detach(), decay * first + (1 - decay) * second)


def test_averaged_generator_measures_statistics_anew():
    run = tiny_run()
    for _ in range(3):
        run.step(Metrics())
    fresh = averaged_generator(run, batches=8)
    copied = dict(run.ema.module.named_buffers())
    changed = [not torch.equal(b, copied[n]) for n, b in fresh.named_buffers() if n.endswith("running_mean")]
    assert changed and all(changed)
    for (_, p), (_, q) in zip(fresh.named_parameters(), run.ema.module.named_parameters(), strict=True):
        assert torch.equal(p, q)


def test_the_average_of_a_young_generator_is_a_short_one():
    """After step 4 of batch 8 its half-life is a twentieth of 32 images: a weight halves five times a step."""
    run = tiny_run()
    run.ema.n_averaged.fill_(4)
    run.ema.module.to_rgb.bias.data.fill_(1.0)
    run.generator.to_rgb.bias.data.fill_(0.0)
    update_average(run.ema, run.generator, run.preset)
    assert run.ema.n_averaged == 5
    torch.testing.assert_close(run.ema.module.to_rgb.bias.data, torch.full((3,), 0.5**5))
