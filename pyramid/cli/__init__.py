"""The command line, `python -m pyramid …`: thin commands over the module, one small file per group.

Here: arguments, messages, files written. Not here: anything that computes a picture or a number.
"""

import argparse
import io
import sys

from pyramid.cli import fetch, grade, measure, pictures, scale, train
from pyramid.errors import InputError


def parser() -> argparse.ArgumentParser:
    """The command line; one sub-command each, its help on one screen."""
    top = argparse.ArgumentParser(prog="pyramid", description="Semantic Pyramid for Image Generation (CVPR 2020)")
    commands = top.add_subparsers(dest="command", required=True)

    def add(function, summary: str) -> argparse.ArgumentParser:
        name = function.__name__.replace("_", "-")
        command = commands.add_parser(name, help=summary, description=summary)
        command.set_defaults(run=function)
        return command

    for group in (pictures, fetch, train, scale, measure, grade):
        group.add_commands(add)
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code: 2 after a sentence on what was given, 130 after Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a console that is not UTF-8 shows every name somehow
    args = parser().parse_args(arguments)
    try:
        args.run(args)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read the output has gone, as `head` does
        return 1
    except OSError as error:
        print(f"{error.filename or 'A file'} could not be used ({error.strerror or error}).", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    return 0
