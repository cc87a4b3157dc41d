"""`python -m pyramid …`; the commands live in `cli/`."""

import sys

from pyramid.cli import main

if __name__ == "__main__":
    sys.exit(main())
