"""Where the page can be served."""

from __future__ import annotations

import socket

from animate.errors import OptionError


def check_host(host: str) -> None:
    """Raises OptionError where a name or address is none of this machine's: a server would wait for it for ever."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.bind(place)
    except (OSError, UnicodeError):
        raise OptionError(
            f"--host {host} is no address of this machine: give 127.0.0.1, or 0.0.0.0 for every one."
        ) from None
