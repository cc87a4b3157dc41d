"""The one exception a user is meant to see."""


class InputError(ValueError):
    """Something the user gave cannot be used; the message names it and the way out, in one sentence.

    The commands print it and exit with code 2; the panels show it under the picture.
    """
