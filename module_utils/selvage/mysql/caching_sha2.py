"""What MySQL keeps of a password (caching_sha2_password). Pure, but for the salt of a new one.

That is `$A$`, the rounds in thousands as three hex digits, `$`, 20 characters of salt, a digest.
Sources: https://www.akkadia.org/drepper/SHA-crypt.txt, MySQL's mysys/crypt_genhash_impl.cc, which
takes a longer salt.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
from typing import Final

PLUGIN: Final = "caching_sha2_password"
# As many as MySQL 9.7 takes by itself; 8.0 and 8.4 read it, too.
_ROUNDS: Final = 10
_KEPT: Final = re.compile(r"\$A\$([0-9A-F]{3})\$(.{20})(.{43})", re.DOTALL)
_ALPHABET: Final = "./" + string.digits + string.ascii_uppercase + string.ascii_lowercase
# In which order the digest's bytes are written, three in four characters.
_ORDER: Final = [
    (step * 21 % 30, (step * 21 + 10) % 30, (step * 21 + 20) % 30) for step in range(10)
]


def hashed(password: str) -> str:
    """What a server may be told in place of a password."""
    salt = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(20))
    return f"$A${_ROUNDS:03X}${salt}{_digest(password.encode(), salt.encode(), _ROUNDS * 1000)}"


def lets_in(kept: str, password: str) -> bool:
    """Whether this password does, by what the server keeps."""
    match = _KEPT.fullmatch(kept)
    if match is None:
        return False
    rounds, salt, digest = match.groups()
    made = _digest(password.encode(), salt.encode(), int(rounds, 16) * 1000)
    return secrets.compare_digest(made.encode(), digest.encode())


def is_password(kept: str) -> bool:
    """Whether it is one at all."""
    return _KEPT.fullmatch(kept) is not None


def _digest(key: bytes, salt: bytes, rounds: int) -> str:
    other = hashlib.sha256(key + salt + key).digest()
    mixed = key + salt + _repeated(other, len(key))
    count = len(key)
    while count:
        mixed += other if count & 1 else key
        count >>= 1
    state = hashlib.sha256(mixed).digest()
    keys = _repeated(hashlib.sha256(key * len(key)).digest(), len(key))
    salts = _repeated(hashlib.sha256(salt * (16 + state[0])).digest(), len(salt))
    for number in range(rounds):
        odd = number % 2
        state = hashlib.sha256(
            (keys if odd else state)
            + (salts if number % 3 else b"")
            + (keys if number % 7 else b"")
            + (state if odd else keys)
        ).digest()
    text = "".join(_written(state[a] << 16 | state[b] << 8 | state[c], 4) for a, b, c in _ORDER)
    return text + _written(state[31] << 8 | state[30], 3)


def _repeated(block: bytes, size: int) -> bytes:
    return (block * (size // len(block) + 1))[:size]


def _written(number: int, size: int) -> str:
    return "".join(_ALPHABET[number >> 6 * place & 63] for place in range(size))
