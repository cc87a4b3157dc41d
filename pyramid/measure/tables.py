"""Markdown tables of measurements."""

from collections.abc import Iterable, Sequence


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]], *notes: str) -> str:
    """A table as Markdown, each of the notes behind it as a paragraph."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, *rows)]
    lines.insert(1, "|---" * len(head) + "|")
    return "\n".join([*lines, *(f"\n{note}" for note in notes)])
