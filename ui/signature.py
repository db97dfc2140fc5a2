"""Who signs an output: the user's certificate, a test one, or nobody."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from animate.errors import OptionError

if TYPE_CHECKING:
    from animate.signing import Credential

CERTIFICATE, KEY = "MIEN_SIGN_CERT", "MIEN_SIGN_KEY"


def find_credential(output: Path, sign: bool | None, sign_with: tuple[Path, Path] | None) -> Credential | None:
    """What signs an output; None leaves it unsigned.

    sign: None signs where the extra `provenance` is installed and the format has a place for it. sign_with: certificate
    and key; None takes those of MIEN_SIGN_CERT and MIEN_SIGN_KEY, else a test certificate.

    Raises OptionError, before any work, where what was asked for cannot be done.
    """
    from animate.signing import SIGNABLE, Credential, available

    if sign is False:
        if sign_with is not None:
            raise OptionError("--sign-with and --no-sign contradict each other: leave one out.")
        return None
    wanted = sign or sign_with is not None
    suffix = output.suffix.lower()
    if suffix and suffix not in SIGNABLE:
        if wanted:
            raise OptionError(f"{output} cannot be signed: C2PA has no place in {suffix} files; use .mp4 or .mov.")
        return None
    sign_with = sign_with or _from_environment()
    if sign_with is not None:
        return Credential.load(*sign_with)
    if not available() and not wanted:
        return None
    return Credential.test_one()


def _from_environment() -> tuple[Path, Path] | None:
    certificate, key = os.environ.get(CERTIFICATE), os.environ.get(KEY)
    if bool(certificate) != bool(key):
        raise OptionError(f"{CERTIFICATE} and {KEY} belong together: set both or none.")
    return (Path(certificate), Path(key)) if certificate and key else None
