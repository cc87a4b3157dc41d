"""Bugs planted one at a time in a copy of the project, each to be caught by the test named with it.

    python -m tests.planted_bugs              the same tests on the sound code, then all bugs
    python -m tests.planted_bugs --only NAME  one bug

Prints a table, and ends with exit status 1 where a bug was not caught, or where a test fails on the sound code.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pyramid.measure.tables import markdown

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Bug:
    """A text of one file, there exactly once, what takes its place, and the test that has to fail then."""

    name: str
    file: str
    old: str
    new: str
    test: str


BUGS = (
    # from a reading of the code
    Bug(
        "mask_max_pooled",
        "pyramid/losses.py",
        "F.max_pool2d(y, 2), -F.max_pool2d(-m, 2)",
        "F.max_pool2d(y, 2), F.max_pool2d(m, 2)",
        "tests/test_losses.py::test_a_window_that_the_masks_edge_cuts_is_closed",
    ),
    Bug(
        "labels_in_another_order",
        "pyramid/model.py",
        "labels.to(self.device).repeat_interleave(samples)",
        "labels.to(self.device).repeat(samples)",
        "tests/test_model.py::test_every_sample_has_its_own_references_features_mask_and_label",
    ),
    Bug(
        "learning_rates_swapped",
        "pyramid/training/loop.py",
        "{self.generator: preset.learning_rate, self.discriminator: preset.discriminator_rate}",
        "{self.discriminator: preset.learning_rate, self.generator: preset.discriminator_rate}",
        "tests/training/test_objective.py::test_each_network_learns_at_its_own_rate",
    ),
    Bug(
        "grey_map_reversed",
        "pyramid/figures/grids.py",
        'cmap="gray"',
        'cmap="gray_r"',
        "tests/figures/test_mask_figures.py::test_white_passes_and_black_blocks",
    ),
    Bug(
        "other_label_never_used",
        "pyramid/training/extras.py",
        "split_z(made.batch.labels)",
        "split_z(made.batch.both_z(made.batch.real_labels))",
        "tests/training/test_extras.py::test_another_label_is_asked_for_by_its_own_name",
    ),
    Bug(
        "fakes_not_shifted",
        "pyramid/training/objective.py",
        "moved = shift(fake, batch.both_z(down), batch.both_z(right))",
        "moved = fake",
        "tests/training/test_objective.py::test_reconstruction_compares_what_has_moved_alike",
    ),
    Bug(
        "generator_target_0",
        "pyramid/losses.py",
        "return 0.5 * (fake.float() - 1).square().mean()",
        "return 0.5 * fake.float().square().mean()",
        "tests/test_losses.py::test_adversarial_losses_by_hand",
    ),
    Bug(
        "average_skipped",
        "pyramid/training/loop.py",
        "        update_average(self.ema, self.generator, self.preset)\n",
        "",
        "tests/training/test_averaging.py::test_average_is_the_exponential_one",
    ),
    Bug(
        "discriminator_without_detach",
        "pyramid/training/step.py",
        "batch, images.seen.detach(), weight)",
        "batch, images.seen, weight)",
        "tests/training/test_objective.py::test_the_discriminator_sends_nothing_back_to_the_generator",
    ),
    Bug(
        "noise_where_a_mask_is_open",
        "pyramid/generator.py",
        "(1 - m) * noise)",
        "m * noise)",
        "tests/test_generator.py::test_noise_enters_only_where_the_mask_is_closed",
    ),
    Bug(
        "normalisation_wrong",
        "pyramid/classifier.py",
        "((images + 1) / 2 - mean) / std",
        "(images - mean) / std",
        "tests/test_classifier.py::test_fc8_through_our_normalisation",
    ),
    Bug(
        "factor_2_lost",
        "pyramid/measure/metrics.py",
        "traces - 2 * cross",
        "traces - cross",
        "tests/measure/test_metrics.py::test_frechet_distance_is_the_closed_form_on_gaussians",
    ),
    # chosen by somebody who had not read the tests
    Bug(
        "fc7_before_relu",
        "pyramid/classifier.py",
        'self.classifier[:5](x)  # fc6, ReLU, dropout, fc7, ReLU\n        features["fc7"] = fc7\n'
        '        features["fc8"] = self.classifier[5:](fc7)',
        'self.classifier[:4](x)\n        features["fc7"] = fc7\n        features["fc8"] = self.classifier[4:](fc7)',
        "tests/test_classifier.py::test_fc7_is_what_the_second_relu_lets_through",
    ),
    Bug(
        "attention_scrambled",
        "pyramid/layers.py",
        "attended.transpose(1, 2).unflatten(2, x.shape[2:])",
        "attended.reshape(len(x), -1, *x.shape[2:])",
        "tests/test_layers.py::test_self_attention_position_by_position",
    ),
    Bug(
        "mask_closed_at_the_border",
        "pyramid/masks.py",
        'F.avg_pool2d(F.pad(mask, [1] * 4, mode="replicate"), 3, 1)',
        "F.avg_pool2d(mask, 3, 1, 1)",
        "tests/test_masks.py::test_region_opens_fine_levels_outside_only",
    ),
    Bug(
        "soft_amounts_cancelled",
        "pyramid/losses.py",
        "open_entries = (m > 0).flatten(1)",
        "open_entries = m.flatten(1)",
        "tests/test_losses.py::test_a_level_open_by_a_tenth_is_asked_a_tenth_of_the_difference",
    ),
    Bug(
        "half_life_in_steps",
        "pyramid/training/averaging.py",
        "1 - 0.5 ** (preset.batch / half_life)",
        "1 - 0.5 ** (1 / half_life)",
        "tests/training/test_averaging.py::test_the_average_of_a_young_generator_is_a_short_one",
    ),
    Bug(
        "second_region_ignored",
        "pyramid/editing.py",
        "if depth(other) > depth(name)]",
        "if depth(other) >= depth(name)]",
        "tests/test_editing.py::test_two_regions_close_each_what_is_finer_than_its_level",
    ),
    Bug(
        "eigenvalues_of_an_asymmetric_product",
        "pyramid/measure/metrics.py",
        "eigvalsh(first.root @ second.covariance @ first.root)",
        "eigvalsh(first.covariance @ second.covariance)",
        "tests/measure/test_metrics.py::test_frechet_distance_with_covariances_that_do_not_commute",
    ),
    Bug(
        "held_out_by_path",
        "pyramid/scenes/folders.py",
        "hashlib.sha256(path.read_bytes())",
        "hashlib.sha256(str(path).encode())",
        "tests/test_data.py::test_held_out_follows_content_not_name",
    ),
    # of the same kinds
    Bug(
        "real_and_fake_swapped",
        "pyramid/training/objective.py",
        "map(loss, scores.real, scores.fake)",
        "map(loss, scores.fake, scores.real)",
        "tests/training/test_objective.py::test_references_are_real_and_generated_images_are_not",
    ),
    Bug(
        "weights_of_the_levels_from_deep_to_fine",
        "pyramid/training/sampling.py",
        "torch.tensor(shares.levels, dtype",
        "torch.tensor(shares.levels[::-1], dtype",
        "tests/training/test_sampling.py::test_levels_are_drawn_by_their_weights",
    ),
    Bug(
        "other_label_never_drawn",
        "pyramid/training/sampling.py",
        "(real_labels + other) % classes",
        "real_labels",
        "tests/training/test_sampling.py::test_another_label_is_any_label_but_the_references_own",
    ),
    Bug(
        "amounts_from_deep_to_fine",
        "pyramid/generator.py",
        "keepdim=True) for name in LEVELS]",
        "keepdim=True) for name in reversed(LEVELS)]",
        "tests/test_generator.py::test_the_condition_ends_with_the_levels_amounts_from_fine_to_deep",
    ),
    Bug(
        "guess_of_divided_logits",
        "pyramid/model.py",
        'features["fc8"] * self.classifier.level_std[-1]',
        'features["fc8"]',
        "tests/test_model.py::test_a_guess_is_the_softmax_of_the_classifiers_logits",
    ),
)


def plant(bug: Bug, root: Path) -> str:
    """Write a bug into its file under `root`; returns the sound text. Ends where the text is not there just once."""
    path = root / bug.file
    sound = path.read_text(encoding="utf-8")
    if sound.count(bug.old) != 1:
        sys.exit(f"{bug.name}: its text stands {sound.count(bug.old)} times in {bug.file}; name another text.")
    path.write_text(sound.replace(bug.old, bug.new), encoding="utf-8")
    return sound


def copy_project(root: Path) -> None:
    """The project under `root`, its models by a link; ends where Python would import another."""
    for name in ("pyramid", "tests"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    (root / "data").mkdir()
    (root / "data" / "models").symlink_to(ROOT / "data" / "models", target_is_directory=True)
    imported = python(root, "-c", "import pyramid; print(pyramid.__file__)").stdout.strip()
    if Path(imported).resolve() != (root / "pyramid" / "__init__.py").resolve():
        sys.exit(f"The copy in {root} is not what Python imports there: {imported}.")


def python(root: Path, *arguments: str) -> subprocess.CompletedProcess:
    """A Python process that imports what lies in `root`, and never an older state of it."""
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, *arguments], cwd=root, env=environment, capture_output=True, text=True)


def is_caught(bug: Bug, root: Path) -> bool:
    """Whether its test runs and fails (pytest's exit status 1) with the bug in the copy, which is sound again after."""
    sound = plant(bug, root)
    done = python(root, "-m", "pytest", "-x", bug.test)
    (root / bug.file).write_text(sound, encoding="utf-8")
    if done.returncode != 1:
        print(done.stdout, done.stderr, sep="\n")
    return done.returncode == 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=[bug.name for bug in BUGS], metavar="NAME", help="plant this one alone")
    only = parser.parse_args().only
    bugs = [bug for bug in BUGS if only in (None, bug.name)]
    with tempfile.TemporaryDirectory() as place:
        root = Path(place).resolve()
        copy_project(root)
        on_sound_code = python(root, "-m", "pytest", *sorted({bug.test for bug in bugs}))
        print(f"The same tests on the sound code: {on_sound_code.stdout.strip().splitlines()[-1]}", flush=True)
        if on_sound_code.returncode:
            print(on_sound_code.stdout, on_sound_code.stderr, sep="\n")
        caught = {}
        for bug in bugs:
            caught[bug.name] = is_caught(bug, root)
            print(f"{bug.name}: {'caught' if caught[bug.name] else 'NOT CAUGHT'}", file=sys.stderr, flush=True)
    rows = [(bug.name, f"`{bug.file}`", f"`{bug.test}`", "yes" if caught[bug.name] else "no") for bug in bugs]
    print(markdown(["bug", "file", "has to be caught by", "caught"], rows))
    print(f"{sum(caught.values())} of {len(bugs)}")
    return int(on_sound_code.returncode != 0 or not all(caught.values()))


if __name__ == "__main__":
    sys.exit(main())
