"""By which passwords an account of MySQL's lets in: its own, and the one that it retains. Pure.

There are two places, and no third: who needs one would shut somebody out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Final

from ..fields import Invalid
from . import caching_sha2
from .accounts import Account, Change

_SET: Final = f"IDENTIFIED WITH {caching_sha2.PLUGIN} AS %s"
_PLACES: Final = 2


def in_force(found: str) -> tuple[str, ...]:
    """What the server keeps of the passwords that let an account in, its own one first."""
    try:
        row = json.loads(found)
        kept = [row["text"], (row["more"] or {}).get("additional_password")]
        plugin = row["plugin"]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Invalid(f"mysql.user is not understood: {error!s:.80}") from error
    if plugin != caching_sha2.PLUGIN or not caching_sha2.is_password(str(kept[0])):
        return ()
    return tuple(text for text in kept if text is not None)


def change(account: Account, found: str | None, *, exact: bool) -> Change | None:
    """What makes its passwords these; without `exact` those that it has stay.

    `found` is the account's row as flavours.py asks for it, None where there is none.
    """
    kept = () if found is None else in_force(found)
    known = [_which(account, text) for text in kept]
    others = [text for text, which in zip(kept, known, strict=True) if which is None]
    left = 0 if exact else len(others)
    after = len(account.passwords) + left
    if after > _PLACES:
        raise Invalid(
            f"{account} would have {after} passwords, and MySQL takes {_PLACES}: end the rotation "
            "that has begun before another one"
        )
    steps = [*_steps(account, known, keep=bool(left))]
    if not steps:
        return None
    verb = "CREATE USER IF NOT EXISTS" if found is None else "ALTER USER"
    statements = []
    for words, values in steps:
        statements.append((f"{verb} %s@%s {words}", (account.name, account.host, *values)))
        verb = "ALTER USER"
    new = sum(word not in known for word in account.passwords)
    return Change(account, tuple(statements), len(kept), after, new)


def _which(account: Account, text: str) -> str | None:
    return next((word for word in account.passwords if caching_sha2.lets_in(text, word)), None)


def _steps(
    account: Account, known: Sequence[str | None], *, keep: bool
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """`known` are the passwords of its places, None for strange ones, one of which is to stay."""
    own = known[0] if known else None
    stays = own is not None or (keep and bool(known))
    if len(account.passwords) == 1 and not keep:
        (word,) = account.passwords
        if own != word:
            yield _SET, (caching_sha2.hashed(word),)
        if len(known) == _PLACES:
            yield "DISCARD OLD PASSWORD", ()
        return
    for word in reversed(account.passwords):
        if word not in known:
            # What is in the first place moves to the second one, where it is to stay.
            yield (
                f"{_SET} RETAIN CURRENT PASSWORD" if stays else _SET,
                (caching_sha2.hashed(word),),
            )
            stays = True
