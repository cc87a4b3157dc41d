import pytest
import torch
from students import answer, told
from torch.nn import functional as F

from pyramid.course.a4_the_game import ASSIGNMENT
from pyramid.course.assignments import MASTERS

SEEDS = pytest.mark.parametrize("seed", (0, 5, 91))
RIGHT = answer(MASTERS / "a4_the_game.ipynb")


@SEEDS
def test_the_masters_solution_passes(seed):
    assert told(ASSIGNMENT, RIGHT, seed) == set()


def in_one_pass(discriminator, generator, optimiser, real, z):
    """Unusual: one batch of both, signs by label, gradients taken by hand; the loss as a float."""
    with torch.no_grad():
        points = torch.cat([real, generator(z)])
    sign = torch.cat([torch.ones(len(real)), -torch.ones(len(z))])
    lost = torch.clamp(1 - sign * discriminator(points).squeeze(1), min=0)
    loss = lost[: len(real)].mean() + lost[len(real) :].mean()
    parameters = list(discriminator.parameters())
    for parameter, slope in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.grad = slope
    optimiser.step()
    return float(loss)


def with_the_generator_frozen(discriminator, generator, optimiser, real, z):
    """Unusual: no detach, the generator asks for no gradient; two backward passes; the loss as a tensor."""
    discriminator.zero_grad()
    generator.requires_grad_(False)
    first = torch.where(discriminator(real) < 1, 1 - discriminator(real), 0.0).mean()
    second = torch.where(discriminator(generator(z)) > -1, 1 + discriminator(generator(z)), 0.0).mean()
    first.backward()
    second.backward()
    generator.requires_grad_(True)
    optimiser.step()
    return first.detach() + second.detach()


def lifted(discriminator, generator, z):
    scores = discriminator(generator(z))
    return torch.neg(scores).sum() / len(scores)


@SEEDS
@pytest.mark.parametrize("unusual", [(in_one_pass, RIGHT[1]), (with_the_generator_frozen, lifted)])
def test_unusual_solutions_pass(unusual, seed):
    assert told(ASSIGNMENT, unusual, seed) == set()


def step_with(loss, cut=True):
    def step(discriminator, generator, optimiser, real, z):
        optimiser.zero_grad()
        fake = generator(z)
        if cut:
            fake = fake.detach()
        value = loss(discriminator(real), discriminator(fake))
        value.backward()
        optimiser.step()
        return value

    return step


def hinge(real, fake):
    return (F.relu(1 - real) + F.relu(1 + fake)).mean()


def swapped(real, fake):
    return torch.relu(1 + real).mean() + torch.relu(1 - fake).mean()


def wasserstein(real, fake):
    return torch.mean(fake) - torch.mean(real)


def perceptron(real, fake):
    return torch.clamp(-real, min=0).mean() + torch.clamp(fake, min=0).mean()


def summed(real, fake):
    return torch.sum(F.relu(1.0 - real)) + torch.sum(F.relu(1.0 + fake))


def summed_scores(discriminator, generator, z):
    return -torch.sum(discriminator(generator(z)))


def lowered(discriminator, generator, z):
    return torch.mean(discriminator(generator(z)))


def hinged_the_wrong_way(discriminator, generator, z):
    return torch.relu(1 + discriminator(generator(z))).mean()


@SEEDS
@pytest.mark.parametrize(
    "mistaken, beginning",
    [
        ((step_with(hinge, cut=False), lifted), "The discriminator's loss runs back into the generator"),
        ((step_with(swapped), lifted), "Real and generated have changed places"),
        ((step_with(wasserstein), lifted), "There is no margin"),
        ((step_with(perceptron), lifted), "There is no margin"),
        ((step_with(summed), summed_scores), "The losses are summed"),
        ((step_with(summed), lifted), "The losses are summed"),
        ((step_with(hinge), summed_scores), "The losses are summed"),
        ((step_with(hinge), lowered), "The generator's loss has the wrong sign"),
        ((step_with(hinge), hinged_the_wrong_way), "The generator's loss has the wrong sign"),
    ],
)
def test_a_mistake_gets_its_sentence(mistaken, beginning, seed):
    (sentence,) = [s for s in ASSIGNMENT.mistakes if s.startswith(beginning)]
    assert told(ASSIGNMENT, mistaken, seed) == {sentence}


def without_a_step(discriminator, generator, optimiser, real, z):
    loss = hinge(discriminator(real), discriminator(generator(z).detach()))
    loss.backward()
    return loss


def without_forgetting(discriminator, generator, optimiser, real, z):
    loss = without_a_step(discriminator, generator, optimiser, real, z)
    optimiser.step()
    return loss


def moves_the_generator(discriminator, generator, optimiser, real, z):
    loss = step_with(hinge)(discriminator, generator, optimiser, real, z)
    with torch.no_grad():
        generator[0].weight.mul_(0.9)
    return loss


@pytest.mark.parametrize(
    "other, part",
    [
        ((without_a_step, lifted), "the step itself is missing"),
        ((without_forgetting, lifted), "What did p.grad hold before?"),
        ((moves_the_generator, lifted), "has moved the generator"),
        ((lambda *arguments: None, lifted), "discriminator_step should return its loss, one number"),
        ((step_with(hinge), lambda *arguments: torch.zeros(3)), "generator_loss should return its loss, one number"),
        ((step_with(hinge), lambda *arguments: lifted(*arguments).detach()), "No gradient reaches the generator"),
        ((step_with(hinge), lambda *arguments: 3 * lifted(*arguments)), "the generator's loss should be"),
    ],
)
def test_other_answers_are_told_what_is_wrong(other, part):
    assert any(part in sentence for sentence in told(ASSIGNMENT, other))
