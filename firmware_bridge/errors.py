"""The one exception that a user is meant to read."""


class EcgEdgeError(Exception):
    """Something from outside (a file, a port, an option) cannot be used.

    The message is one line that says what is wrong and what mends it. The command line prints it and exits
    with status 1; it never shows a traceback for it.
    """
