#!/usr/bin/python3
"""Keys for TLS session tickets: hosts that once had the same seed derive the same for each day.

The seed is replaced by its own hash every day, so whoever takes it today cannot make yesterday's
keys. Nothing has to be sent for that, and nobody has to be there.

  ticket_keys.py FOLDER turn     derive the keys of this day; exit 0, and say so if they are others
  ticket_keys.py FOLDER names    the keys' names, which stand in each ticket for everybody to read
  ticket_keys.py FOLDER seed     the seed, for another host
  ticket_keys.py FOLDER adopt    take over a seed from standard input
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import sys
import time
from dataclasses import dataclass
from pathlib import Path

DAY_S = 86_400
# Nginx encrypts with the first one. The others open what yesterday has encrypted, and what a host
# has whose clock is ahead.
FILES = ("today.key", "yesterday.key", "tomorrow.key")
# A name of 16 bytes, then 32 each for the signature and for AES-256.
KEY_BYTES = 80
SEED_BYTES = 32


@dataclass(frozen=True)
class Seed:
    """From which the keys of a day, counted since 1970, and of all later ones follow."""

    day: int
    secret: bytes

    def at(self, day: int) -> Seed:
        """The seed of a later day, from which there is no way back."""
        secret = self.secret
        for _ in range(day - self.day):
            secret = hmac.digest(secret, b"next day", hashlib.sha256)
        return Seed(max(day, self.day), secret)

    def key(self) -> bytes:
        """The day's key, which tells nothing of the seed."""
        parts = (hmac.digest(self.secret, b"ticket %d" % n, hashlib.sha256) for n in range(3))
        return b"".join(parts)[:KEY_BYTES]


def parse(text: str) -> Seed:
    """A seed from its text; raises ValueError."""
    document = json.loads(text)
    seed = Seed(int(document["day"]), bytes.fromhex(document["secret"]))
    if len(seed.secret) != SEED_BYTES or seed.day < 1:
        raise ValueError("this is no seed")
    return seed


def show(seed: Seed) -> str:
    """Its text."""
    return json.dumps({"day": seed.day, "secret": seed.secret.hex()})


def keys(seed: Seed, day: int) -> dict[str, bytes]:
    """The keys of a day by file; `seed` is the day before's, or newer where the clock went back."""
    before = seed.at(day - 1)
    today = before.at(before.day + 1)
    tomorrow = before.at(before.day + 2)
    return dict(zip(FILES, (today.key(), before.key(), tomorrow.key()), strict=True))


def write(path: Path, data: bytes) -> bool:
    """Replace the file whole, readable for root alone; whether it was another one."""
    if path.exists() and path.read_bytes() == data:
        return False
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
    return True


def turn(folder: Path, seed: Seed | None, day: int) -> bool:
    """Keep the seed of the day before, and today's keys; whether the keys are others now."""
    seed = (seed or Seed(day - 1, secrets.token_bytes(SEED_BYTES))).at(day - 1)
    write(folder / "seed", show(seed).encode())
    written = [write(folder / name, key) for name, key in keys(seed, day).items()]
    return True in written


def names(folder: Path) -> list[str]:
    """Those of the keys that are there."""
    found = [(folder / name).read_bytes()[:16].hex() for name in FILES]
    return sorted(found)


def main(place: str, word: str) -> None:
    """Do what the word says."""
    folder = Path(place)
    path = folder / "seed"
    seed = parse(path.read_text()) if path.exists() else None
    day = int(time.time() // DAY_S)
    if word == "turn":
        print("turned" if turn(folder, seed, day) else "")
    elif word == "adopt":
        other = parse(sys.stdin.read())
        if other.day > day:
            sys.exit("the other host's clock is a day ahead: correct the one that is wrong")
        print("turned" if turn(folder, other, day) else "")
    elif word == "names":
        print("\n".join(names(folder)))
    elif word == "seed":
        print(path.read_text())
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:])
