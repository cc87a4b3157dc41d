"""The command that says beforehand what training takes: scale."""

import argparse
from pathlib import Path

from tqdm.auto import tqdm

from pyramid.checkpoints import write_atomically
from pyramid.measure import plan
from pyramid.measure.scale import estimate
from pyramid.presets import PRESETS, get_preset

USUAL = ("photos32", "photos64", "photos128", "paper256")


def scale(args: argparse.Namespace) -> None:
    presets = [get_preset(name) for name in args.presets]
    text = Path(args.into).read_text(encoding="utf-8") if args.into else ""
    made = plan.tables([estimate(preset) for preset in tqdm(presets, desc="counting", unit="preset")])
    if args.into:
        write_atomically(Path(args.into), plan.fill(text, made).encode())
        print(f"Wrote the tables into {args.into}")
    else:
        print("\n\n".join(made.values()))


def add_commands(add) -> None:
    """Register this group. add: function and summary -> its parser."""
    c = add(scale, "what training takes: operations, memory, days, energy; nothing is trained (two minutes)")
    c.add_argument("presets", nargs="*", default=USUAL, help=f"of {', '.join(PRESETS)} (default: {', '.join(USUAL)})")
    c.add_argument("--into", help="write the tables between the marks of this file (docs/scale.md)")
