"""The study: balanced plans, answers that survive, and statistics checked against independent values."""

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from pyramid.cli import main
from pyramid.errors import InputError
from pyramid.levels import LEVELS
from pyramid.measure import study


def test_plan_balances_levels_tests_and_sides():
    trials = [t for t in study.plan_trials(20, each=4, seed=3) if t.kind == "test"]
    counts = Counter((t.test, t.level, t.fake_left) for t in trials)
    assert len(counts) == 2 * len(LEVELS) * 2 and set(counts.values()) == {2}


def test_plan_pairs_only_where_it_says_so():
    trials = study.plan_trials(5, each=6, seed=1)
    assert all((t.photo == t.source) == (t.test == "paired") for t in trials)
    assert [t.number for t in trials] == list(range(len(trials)))
    assert [t.kind for t in trials[: study.TRAINING]] == ["training"] * study.TRAINING
    assert sum(t.kind == "attention" for t in trials) == 2 * len(LEVELS) * 6 // 10


def test_two_raters_see_different_orders():
    first, second = (study.plan_trials(20, 2, seed) for seed in (0, 1))
    assert first != second and first == study.plan_trials(20, 2, 0)


def test_one_photograph_is_not_a_study():
    with pytest.raises(InputError, match="two photographs"):
        study.plan_trials(1, 2, 0)


@pytest.mark.parametrize(
    ("fake_left", "chose_left", "fooled"), [(True, True, True), (True, False, False), (False, False, True)]
)
def test_fooled_is_who_takes_the_generated_image_for_the_photograph(fake_left, chose_left, fooled):
    trial = study.Trial(0, "test", "paired", "conv1", 0, 0, fake_left)
    assert study.answer(trial, "a", chose_left).fooled is fooled


def test_a_killed_study_loses_no_answer(tmp_path):
    path = tmp_path / "rater.jsonl"
    script = (
        "import os, signal; from pathlib import Path; from pyramid.measure import study\n"
        "for t in study.plan_trials(9, 2, 0)[:7]:\n"
        f"    study.append_answer(Path({str(path)!r}), study.answer(t, 'a', True))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(study.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": str(root)})
    assert done.returncode == -9
    assert [given.trial for given in study.read_answers([path])] == list(range(7))


def test_a_half_written_line_costs_only_itself(tmp_path):
    path = tmp_path / "rater.jsonl"
    trials = study.plan_trials(9, 2, 0)
    study.append_answer(path, study.answer(trials[0], "a", True))
    with path.open("a") as file:
        file.write('{"rater": "a", "tri')
    study.append_answer(path, study.answer(trials[1], "a", True))
    assert [given.trial for given in study.read_answers([path])] == [0, 1]


def test_files_merge_and_a_rater_answers_once(tmp_path):
    trials = study.plan_trials(9, 2, 0)
    for name, rater, count in (("a", "a", 3), ("b", "b", 4), ("copy", "a", 3)):
        for trial in trials[:count]:
            study.append_answer(tmp_path / f"{name}.jsonl", study.answer(trial, rater, name != "copy"))
    merged = study.read_answers(sorted(tmp_path.glob("*.jsonl")))
    assert Counter(given.rater for given in merged) == {"a": 3, "b": 4}
    assert [given.fooled for given in merged if given.rater == "a"] == [t.fake_left for t in trials[:3]]


def test_report_counts_tests_only_and_drops_the_inattentive():
    def given(rater, trial, kind, fooled):
        return study.Answer(rater, trial, kind, "paired", "conv3", fooled)

    good = [given("good", i, "test", i < 3) for i in range(10)] + [
        given("good", 10 + i, "attention", False) for i in range(5)
    ]
    bad = [given("bad", i, "test", True) for i in range(10)] + [
        given("bad", 10 + i, "attention", i < 2) for i in range(5)
    ]
    result = study.report([*good, *bad, given("good", 99, "training", True)])
    row = result["rows"]["paired"]["conv3"]
    assert result["excluded"] == ["bad"] and (row["rate"], row["trials"]) == (0.3, 10)
    # Wilson 1927 for 3 of 10, as tabulated (for example Newcombe 1998's method 3)
    assert (row["low"], row["high"]) == pytest.approx((0.1078, 0.6032), abs=1e-4)


def test_answers_needed_is_the_textbook_sample_size():
    # ((1.959964 * 0.5 + 0.841621 * sqrt(0.24)) / 0.1)^2 = 193.8
    assert study.answers_needed(0.4) == 194
    assert study.answers_needed(0.4, each=11, icc=0.1) == 388  # twice 193.85, rounded up


def test_answers_needed_gives_the_power_it_promises():
    """Exact binomial power at that n; the exact test, whose counts are whole, is a little more cautious."""
    from math import comb

    n = study.answers_needed(0.4)
    tail, k = 0.0, 0
    while tail + comb(n, k) / 2**n <= 0.025:
        tail += comb(n, k) / 2**n
        k += 1
    power = sum(comb(n, i) * 0.4**i * 0.6 ** (n - i) for i in range(k))
    assert 0.75 < power <= 0.8


def test_simulated_raters_are_recovered_within_their_interval():
    rates = {level: 0.5 - 0.06 * i for i, level in enumerate(LEVELS)}
    answers = [
        given
        for rater in range(60)
        for given in study.simulate(study.plan_trials(30, 5, rater), rates, f"r{rater}", seed=1000 + rater)
    ]
    result = study.report(answers)
    assert result["simulated"]
    rows = [(rates[level], row) for table in result["rows"].values() for level, row in table.items()]
    assert len(rows) == 14
    inside = sum(row["low"] <= rate <= row["high"] for rate, row in rows)
    assert inside >= 11  # of 14 intervals of 95 %: fewer than 11 have a chance of 1 in 250


def answered(rater, exposure, fooled, of):
    """So many answers of a rater to paired trials of conv3, so many of them fooled."""
    return [study.Answer(rater, i, "test", "paired", "conv3", fooled=i < fooled, exposure=exposure) for i in range(of)]


def test_the_longer_exposure_is_reported_apart():
    result = study.report([*answered("ann", "standard", 3, 10), *answered("ben", "longer", 1, 10)])
    short, long = result["rows"]["paired"]["conv3"], result["longer"]["paired"]["conv3"]
    assert (short["rate"], short["trials"], long["rate"], long["trials"]) == (0.3, 10, 0.1, 10)
    # Wilson by hand for 1 of 10, z = 1.959964: (0.1 + 0.192073 -/+ 1.959964 sqrt(0.009 + 0.0096036)) / 1.3841459
    assert (long["low"], long["high"]) == pytest.approx((0.0179, 0.4042), abs=1e-4)
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in study.markdown_report(result).splitlines()]
    assert ["1 s", "paired", "`conv3`", "30.0%", "10.8% to 60.3%", "10"] in lines
    assert ["10 s", "paired", "`conv3`", "10.0%", "1.8% to 40.4%", "10"] in lines
    assert study.report(answered("ann", "standard", 3, 10))["longer"] == {}


def test_answers_that_do_not_say_are_of_the_standard_exposure(tmp_path):
    path = tmp_path / "old.jsonl"
    old = asdict(answered("ann", "standard", 1, 1)[0])
    del old["exposure"]
    odd = [{**old, "trial": 1, "exposure": "endless"}, {**old, "trial": 2, "exposure": ["longer"]}]
    path.write_text("".join(json.dumps(line) + "\n" for line in [old, *odd, {**old, "trial": 3, "exposure": "longer"}]))
    given = study.read_answers([path])
    assert [(each.trial, each.exposure) for each in given] == [(0, "standard"), (3, "longer")]


def test_report_command_says_when_raters_are_simulated(tmp_path, capsys):
    path = tmp_path / "r.jsonl"
    for given in study.simulate(study.plan_trials(9, 2, 0), dict.fromkeys(LEVELS, 0.3), "r", seed=0):
        study.append_answer(path, given)
    assert main(["study-report", str(path)]) == 0
    assert "SIMULATED" in capsys.readouterr().out
    path.write_text(
        "".join(line.replace('"simulated": true', '"simulated": false') for line in path.read_text().splitlines(True))
    )
    assert main(["study-report", str(path)]) == 0
    assert "SIMULATED" not in capsys.readouterr().out


def test_report_command_names_a_file_without_answers(tmp_path, capsys):
    (tmp_path / "x.jsonl").write_text("nothing\n")
    assert main(["study-report", str(tmp_path / "x.jsonl")]) == 2
    assert "x.jsonl" in capsys.readouterr().err
    assert main(["study-report", str(tmp_path / "none.jsonl")]) == 2


def test_answers_are_plain_lines(tmp_path):
    given = study.answer(study.plan_trials(9, 2, 0)[0], "a", True, 0.81234)
    study.append_answer(tmp_path / "a.jsonl", given)
    assert json.loads((tmp_path / "a.jsonl").read_text()) == {**asdict(given), "seconds": 0.812}


def test_images_of_a_trial(tiny_model):
    photos = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    paired = study.Trial(5, "test", "paired", "conv2", 1, 1, fake_left=False)
    left, right = study.trial_images(tiny_model, photos, paired, seed=0)
    assert torch.equal(left, photos[1]) and not torch.equal(right, photos[1])
    unpaired = study.Trial(5, "test", "unpaired", "conv2", 2, 1, fake_left=True)
    swapped = study.trial_images(tiny_model, photos, unpaired, seed=0)
    assert torch.equal(swapped[0], right) and torch.equal(swapped[1], photos[2])
