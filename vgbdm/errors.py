"""What ends a run: bad input, a request to stop, a failure."""


class InputError(ValueError):
    """Bad input from outside: a file, a value, a config.

    The message is one line that names the file, the value and the remedy; launchers print it.
    """


class StoppedError(Exception):
    """A run was asked to stop, and has saved; the message says by what and where it goes on."""


class RunError(Exception):
    """A run that had begun has failed on this rank, for its ``__cause__``; the message is one line.

    Args:
        line: what happened and what is left.
        speaks: whether this rank is the first of all to fail, whose line is to be shown.
    """

    def __init__(self, line: str, speaks: bool) -> None:
        super().__init__(line)
        self.speaks = speaks
