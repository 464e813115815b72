"""The folder of one table, on a local disk or in an object store."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pa_fs
from deltalake.fs import DeltaStorageHandler
from pyarrow.fs import FileType

from lastaisle.lake.whole_file import whole_file

_CHUNK_BYTES = 4 << 20


@dataclass(frozen=True)
class TableFolder:
    """The folder in which a table keeps its files.

    Attributes:
        url: a path, or an s3:// or gs:// URL.
        storage_options: the options by which delta-rs reaches an object store.
    """

    url: str
    storage_options: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def is_local(self) -> bool:
        """Whether the folder lies on a local disk."""
        return "://" not in self.url

    def upload(self, path: Path, name: str) -> None:
        """Copy a local file into an object store, under a name inside the folder."""
        # The store takes only bytes, and a plain NativeFile gives it buffers. A BufferedOutputStream that is
        # larger than every chunk gives it bytes.
        stream = pa.BufferedOutputStream(self._store().open_output_stream(name), 2 * _CHUNK_BYTES)
        with path.open("rb") as source, stream as target:
            while chunk := source.read(_CHUNK_BYTES):
                target.write(chunk)

    def discard(self, names: Iterable[str]) -> None:
        """Remove files that were written for a commit that did not happen."""
        for name in names:
            if self.is_local:
                (Path(self.url) / name).unlink(missing_ok=True)
            else:
                self._store().delete_file(name)

    def files(self) -> dict[str, tuple[int, float]]:
        """Return every file in the folder, the log included: its bytes and its time in seconds, by name."""
        found = self.filesystem().get_file_info(pa_fs.FileSelector("", allow_not_found=True, recursive=True))
        return {
            file.path.lstrip("/"): (int(file.size or 0), file.mtime.timestamp() if file.mtime else 0.0)
            for file in found
            if file.type == FileType.File
        }

    def read(self, name: str) -> bytes:
        """Return the bytes of a file.

        Raises:
            FileNotFoundError: there is no such file (any more).
        """
        with self.filesystem().open_input_file(name) as stream:
            return bytes(stream.read())

    def replace(self, name: str, content: bytes) -> None:
        """Write a file whole, in the place of the file of that name."""
        if self.is_local:
            with whole_file(Path(self.url) / name) as unfinished:
                unfinished.write_bytes(content)
                unfinished.chmod((Path(self.url) / name).stat().st_mode & 0o777)
        else:
            with tempfile.TemporaryDirectory() as scratch:
                path = Path(scratch) / "whole"
                path.write_bytes(content)
                self.upload(path, name)

    def filesystem(self) -> pa_fs.FileSystem:
        """Return the folder as a file system of Arrow, whose root is the folder."""
        if self.is_local:
            return pa_fs.SubTreeFileSystem(self.url, pa_fs.LocalFileSystem())
        return pa_fs.PyFileSystem(self._store())

    def lacking(self, names: Sequence[str]) -> list[str]:
        """Return the files of these names that are not there."""
        if self.is_local:
            return [name for name in names if not (Path(self.url) / name).is_file()]
        found = self._store().get_file_info(list(names))
        return [name for name, file in zip(names, found, strict=True) if file.type != FileType.File]

    def _store(self) -> DeltaStorageHandler:
        return DeltaStorageHandler(self.url, dict(self.storage_options))
