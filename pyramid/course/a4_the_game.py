"""A4, after notebook 05: discriminator_step and generator_loss, the two sides of the game with the hinge loss.

discriminator_step(discriminator, generator, optimiser, real, z) -> the discriminator's loss at `real` (B, d) and at
generator(z), one number; the optimiser, which holds the discriminator's parameters, has made one step.
generator_loss(discriminator, generator, z) -> the generator's loss, one number with its gradient.
discriminator: (B, d) -> scores (B, 1); generator: z (B, n) -> (B, d).
"""

import copy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyramid.course.engine import Assignment, Function, Trace, Wrong, same
from pyramid.device import seeded

RATE = 0.05  # of the optimisers here, plain gradient descent
torch.optim.SGD([nn.Parameter(torch.zeros(1))], RATE)  # a session's first takes seconds, which a check does not have


class Game:
    """Two small networks with points and noise for them: `real` (B, 2), z (B, 3)."""

    def __init__(self, rng: np.random.Generator, scale: float = 1.0):
        with seeded(int(rng.integers(2**31))):
            self.discriminator = nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 1)).double()
            self.generator = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).double()
        self.real, self.z = (torch.from_numpy(rng.normal(size=(8, size))) for size in (2, 3))
        with torch.no_grad():
            self.discriminator[2].weight.mul_(scale)  # scores on both sides of the margin

    def step(self, function: Function) -> float:
        """The student's step on this game; returns the loss."""
        optimiser = torch.optim.SGD(self.discriminator.parameters(), RATE)
        loss = function[0](self.discriminator, self.generator, optimiser, self.real, self.z)
        return _number(loss, "discriminator_step").item()

    def generator_loss(self, function: Function) -> Tensor:
        """The student's loss of the generator on this game: 0-dimensional."""
        return _number(function[1](self.discriminator, self.generator, self.z), "generator_loss")


def _number(loss: object, name: str) -> Tensor:
    if not isinstance(loss, Tensor | float | int) or torch.as_tensor(loss).numel() != 1:
        raise Wrong(f"{name} should return its loss, one number.")
    return torch.as_tensor(loss).reshape(())


def parameters(network: nn.Module) -> np.ndarray:
    return np.concatenate([p.detach().numpy().ravel() for p in network.parameters()])


def gradients(network: nn.Module) -> np.ndarray:
    """What lies in the parameters' `grad`, 0 where nothing does."""
    return np.concatenate([(torch.zeros_like(p) if p.grad is None else p.grad).ravel() for p in network.parameters()])


def at_chance(function: Function, rng: np.random.Generator) -> None:
    game = Game(rng, scale=0.0)
    nn.init.zeros_(game.discriminator[2].bias)  # every score is 0
    loss = game.step(function)
    if not same(loss, 2.0):
        raise Wrong(f"Where every score is 0 the discriminator's loss should be 2, 1 from each side; it is {loss:g}.")


def beyond_the_margin(function: Function, rng: np.random.Generator) -> None:
    game, weight = Game(rng), rng.uniform(1.2, 3)
    game.discriminator, game.generator = nn.Linear(2, 1).double(), nn.Linear(3, 2).double()
    for network, slope, bias in ((game.discriminator, weight, 0.0), (game.generator, 0.0, -1.0)):
        nn.init.constant_(network.weight, slope)
        nn.init.constant_(network.bias, bias)
    game.real = 0.5 + torch.from_numpy(rng.random((8, 2)))
    before = parameters(game.discriminator)
    loss = game.step(function)
    if not same(loss, 0.0, 1e-9) or not same(parameters(game.discriminator), before, 1e-9):
        raise Wrong(
            "Every real score lies above 1 and every generated one below -1: the loss should be 0 and the "
            f"discriminator stay as it is; the loss is {loss:g}."
        )


def doubled_batch(function: Function, rng: np.random.Generator) -> None:
    game = Game(rng, scale=4.0)
    twice = copy.deepcopy(game)
    twice.real, twice.z = game.real.repeat(2, 1), game.z.repeat(2, 1)
    for name, losses in (
        ("generator_loss", [g.generator_loss(function).item() for g in (game, twice)]),
        ("discriminator_step", [g.step(function) for g in (game, twice)]),
    ):
        if not same(*losses):
            raise Wrong(f"The same batch twice over is the same loss; {name} says {losses[0]:.3f} and {losses[1]:.3f}.")


def nothing_for_the_generator(function: Function, rng: np.random.Generator) -> None:
    game = Game(rng, scale=4.0)
    before = parameters(game.generator)
    game.step(function)
    if not same(parameters(game.generator), before):
        raise Wrong("The discriminator's step has moved the generator.")
    if gradients(game.generator).any():
        raise Wrong("The discriminator's step has left gradients in the generator: its next step would follow them.")


def along_the_gradient(function: Function, rng: np.random.Generator) -> None:
    game = Game(rng, scale=4.0)
    by_hand = copy.deepcopy(game.discriminator)
    real, fake = by_hand(game.real), by_hand(game.generator(game.z).detach())
    loss = (torch.clamp(1 - real, min=0).sum() + torch.clamp(1 + fake, min=0).sum()) / len(real)
    slopes = torch.autograd.grad(loss, list(by_hand.parameters()))
    wanted = parameters(by_hand) - RATE * np.concatenate([slope.ravel() for slope in slopes])
    for p in game.discriminator.parameters():
        p.grad = torch.ones_like(p)  # of an earlier step
    made = game.step(function)
    if not same(made, loss):
        raise Wrong(f"By hand the hinge loss of this batch is {loss:.4f}; discriminator_step says {made:.4f}.")
    after = parameters(game.discriminator)
    if same(after, parameters(by_hand), 1e-9):
        raise Wrong("The loss is right, and the discriminator has not moved: the step itself is missing.")
    if not same(after, wanted):
        raise Wrong("The discriminator has not moved along this loss's gradient alone. What did p.grad hold before?")


def scores_rise(function: Function, rng: np.random.Generator) -> None:
    game = Game(rng)
    before = game.discriminator(game.generator(game.z)).mean().item()
    loss = game.generator_loss(function)
    if not loss.requires_grad:
        raise Wrong("No gradient reaches the generator from its own loss.")
    optimiser = torch.optim.SGD(game.generator.parameters(), RATE)
    loss.backward()
    optimiser.step()
    after = game.discriminator(game.generator(game.z)).mean().item()
    if not after > before:
        raise Wrong(f"A step of the generator should raise its mean score; it went from {before:.4f} to {after:.4f}.")
    if not same(loss, -before):
        raise Wrong(f"At a mean score of {before:.3f} the generator's loss should be {-before:.3f}, not {loss:.3f}.")


def trace(function: Function, rng: np.random.Generator) -> Trace:
    game = Game(rng, scale=4.0)
    loss = game.generator_loss(function)
    (slope,) = torch.autograd.grad(loss, [game.generator[2].bias])
    value = game.step(function)
    left, after = gradients(game.generator), parameters(game.discriminator)
    return [np.array(value), after, left, np.array(loss.item()), slope.numpy()]


def hinge(real: Tensor, fake: Tensor) -> Tensor:
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def _step(loss=hinge, detach: bool = True):
    """A discriminator's step with a loss of (real scores, fake scores)."""

    def step(discriminator, generator, optimiser, real, z):
        fake = generator(z).detach() if detach else generator(z)
        optimiser.zero_grad()
        value = loss(discriminator(real), discriminator(fake))
        value.backward()
        optimiser.step()
        return value.detach()

    return step


def _generator(loss=lambda fake: -fake.mean()):
    return lambda discriminator, generator, z: loss(discriminator(generator(z)))


def _summed(real: Tensor, fake: Tensor) -> Tensor:
    return F.relu(1 - real).sum() + F.relu(1 + fake).sum()


ASSIGNMENT = Assignment(
    name="a4_the_game",
    questions={
        "At chance the loss is 2": at_chance,
        "Beyond the margin there is no gradient": beyond_the_margin,
        "A doubled batch gives the same loss": doubled_batch,
        "No gradient is left in the generator": nothing_for_the_generator,
        "The discriminator moves along its gradient": along_the_gradient,
        "A step of the generator raises its scores": scores_rise,
    },
    mistakes={
        "The discriminator's loss runs back into the generator and leaves its gradient there. What has to be cut off "
        "from the generated points before they are scored?": (_step(detach=False), _generator()),
        "Real and generated have changed places: the discriminator learns to score the generated points above the "
        "real ones. Which of the two belongs above the margin?": (
            _step(lambda real, fake: hinge(fake, real)),
            _generator(),
        ),
        "There is no margin at 1 and -1. How far apart should the two kinds of scores be before the discriminator is "
        "content, and what does it lose at a score of 0?": [
            (_step(lambda real, fake: fake.mean() - real.mean()), _generator()),
            (_step(lambda real, fake: F.relu(-real).mean() + F.relu(fake).mean()), _generator()),
        ],
        "The losses are summed over the batch, so a larger batch is a larger step. What stands for the expectation "
        "of the formula?": [
            (_step(_summed), _generator(lambda fake: -fake.sum())),
            (_step(_summed), _generator()),
            (_step(), _generator(lambda fake: -fake.sum())),
        ],
        "The generator's loss has the wrong sign: it falls where the scores fall. Which way do the generated points "
        "have to move?": [
            (_step(), _generator(lambda fake: fake.mean())),
            (_step(), _generator(lambda fake: F.relu(1 + fake).mean())),
        ],
    },
    trace=trace,
)
