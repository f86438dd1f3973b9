"""The one exception for bad input."""


class InputError(ValueError):
    """Bad input from outside: a file, a value, a config.

    The message is one line that names the file, the value and the remedy; launchers print it.
    """
