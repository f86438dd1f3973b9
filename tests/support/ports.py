"""Ports of this machine that nobody else takes before they are used."""

from __future__ import annotations

import socket

PORTS = range(12000, 32000)
"""Below those that the system gives to whoever asks for any."""

_claims: list[socket.socket] = []


def free_port() -> int:
    """One that nobody listens on, and that no other test of this machine is given meanwhile.

    A name without a file claims it: it is free again however this process ends.
    """
    for port in PORTS:
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0port {port} of a test")
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            claim.close()
            continue
        _claims.append(claim)
        return port
    raise AssertionError("no port is free")
