"""A file on its way: `<name>.part` beside its later place, with a note of which remote file the bytes are of."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from kidney_lab.files import write_text


@dataclass(frozen=True)
class Identity:
    """What tells one version of a remote file from another.

    Args:
        etag: as the server gave it, or None.
        size: bytes, or None where the server did not say.
    """

    etag: str | None
    size: int | None


@dataclass(frozen=True)
class Part:
    """The bytes of `target` that are here.

    Args:
        target: the finished file.
    """

    target: Path

    @property
    def path(self) -> Path:
        """Where the bytes are."""
        return self.target.with_name(f"{self.target.name}.part")

    @property
    def _note(self) -> Path:
        return self.target.with_name(f"{self.target.name}.part.json")

    @property
    def size(self) -> int:
        """Bytes that are here."""
        return self.path.stat().st_size if self.path.is_file() else 0

    @property
    def identity(self) -> Identity | None:
        """Which remote file they are of, or None where that is not known."""
        try:
            return Identity(**json.loads(self._note.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def note(self, identity: Identity) -> None:
        """Remembers which remote file the bytes to come are of."""
        write_text(self._note, json.dumps(asdict(identity)))

    def discard(self) -> None:
        """Removes what is here."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def finish(self) -> None:
        """Gives the bytes their name."""
        self.path.replace(self.target)
        self._note.unlink(missing_ok=True)
