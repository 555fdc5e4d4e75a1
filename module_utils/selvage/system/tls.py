"""TLS as a client of the fabric's own servers."""

from __future__ import annotations

import ssl
from pathlib import Path


def context(ca: Path) -> ssl.SSLContext:
    """TLS that believes this CA and no other; raises OSError when its file is unusable."""
    found = ssl.create_default_context(cafile=ca)
    found.minimum_version = ssl.TLSVersion.TLSv1_2
    return found


def reason(error: Exception) -> str:
    """What went wrong, in the words of whoever found out."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError):
        return error.reason or "no TLS"
    return str(error.strerror or error) if isinstance(error, OSError) else str(error)
