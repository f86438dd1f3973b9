"""Refusals: one line that says what it should."""

import pytest

from vgbdm.errors import InputError


def refused(make, *words):
    """The message of the `InputError` that ``make()`` ends in: one line with these words."""
    with pytest.raises(InputError) as caught:
        make()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message
    return message
