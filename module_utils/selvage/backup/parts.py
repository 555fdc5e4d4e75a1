"""What came of several backups as one stream, taken apart and decrypted, as whoever received it.

    python3 -m selvage.backup.parts FOLDER NAME:SIZE:sealed NAME:SIZE:plain … < PRIVATE-KEY

They are then files of their names in that folder. The key is never a file.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from . import frames


def main(arguments: Sequence[str]) -> int:
    """1 with a line on stderr when that cannot be."""
    folder = Path(arguments[0])
    identity = sys.stdin.buffer.read()
    try:
        with (folder / "data").open("rb") as stream:
            for part in arguments[1:]:
                name, size, kind = part.split(":")
                path = folder / name
                with path.open("wb") as file:
                    left = int(size)
                    while piece := stream.read(min(left, frames.PIECE)):
                        left -= file.write(piece)
                if left:
                    raise ValueError(f"{name} did not come whole")
                if kind == "sealed":
                    _opened(path, identity)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        words = error.stderr.decode() if isinstance(error, subprocess.CalledProcessError) else ""
        print(frames.printable(f"{error} {words}"), file=sys.stderr)
        return 1
    return 0


def _opened(path: Path, identity: bytes) -> None:
    sealed = path.rename(path.with_name(f"{path.name}.age"))
    words = ["age", "--decrypt", "--identity", "-", "--output", str(path), str(sealed)]
    subprocess.run(words, input=identity, capture_output=True, check=True)
    sealed.unlink()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
