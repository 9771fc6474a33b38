"""Lines out of a gzip stream, as slices of bytes and without work on each line."""

from __future__ import annotations

from collections.abc import Iterator

from isal.igzip_lib import DECOMP_GZIP, IgzipDecompressor, IsalError

from aquila_mde.defender.errors import FileUnavailableError

_LONGEST_LINE = 64 << 20
_MAGIC = b"\x1f\x8b"
_PIECE = 128 << 10
"""Decompressed at once: larger pieces take twice the time, as each needs fresh memory."""

Lines = tuple[list[bytes], list[bytes]]
"""Lines that hold a JSON object, and those that do not."""


class LineSplitter:
    """Takes compressed bytes and gives the text in them from line number ``skip`` on.

    The members of a gzip file that has several are read one after the other. Every method raises
    :class:`FileUnavailableError` for what is not a whole gzip file.
    """

    def __init__(self, chunk_bytes: int, *, skip: int = 0) -> None:
        self._skip = skip
        """Lines that are still to be left out."""
        self._chunk_bytes = chunk_bytes
        self._member: IgzipDecompressor | None = None
        self._complete = False
        self._head = b""
        self._text: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that end within ``data``, about ``chunk_bytes`` of them at a time.

        The last one is without its line end.
        """
        for text in self._decompress(data):
            self._text.append(text)
            self._size += len(text)
            if self._size >= self._chunk_bytes:
                lines = self._take()
                if lines is not None:
                    yield lines

    def close(self) -> bytes:
        """What is left at the end of the file."""
        if not self._complete and self._member is None:
            raise FileUnavailableError("The export file is empty")
        if self._member is not None or self._head:
            raise FileUnavailableError("The export file ends too early")
        text = b"".join(self._text)
        return (text and self._wanted(text.removesuffix(b"\n"))) or b""

    def _decompress(self, data: bytes) -> Iterator[bytes]:
        while data or (self._member is not None and not self._member.needs_input):
            if self._member is None:
                data, self._head = self._head + data, b""
                if self._complete:
                    # Padding between and behind the members is allowed.
                    data = data.lstrip(b"\0")
                if len(data) < len(_MAGIC):
                    self._head = data
                    return
                if not data.startswith(_MAGIC):
                    raise FileUnavailableError("The export file is not a gzip file")
                self._member = IgzipDecompressor(flag=DECOMP_GZIP)
            try:
                text = self._member.decompress(data, min(_PIECE, self._chunk_bytes))
            except IsalError:  # type: ignore[misc]  # its stub calls the class a value
                raise FileUnavailableError("The export file is damaged") from None
            data = b""
            if self._member.eof:
                data = self._member.unused_data
                self._member, self._complete = None, True
            if text:
                yield text

    def _take(self) -> bytes | None:
        """The whole lines so far; what is behind the last line end stays for later."""
        for place, piece in reversed(list(enumerate(self._text))):
            end = piece.rfind(b"\n")
            if end >= 0:
                whole = b"".join((*self._text[:place], memoryview(piece)[:end]))
                self._text = [piece[end + 1 :], *self._text[place + 1 :]]
                self._size = sum(map(len, self._text))
                return self._wanted(whole)
        # A line longer than a chunk is joined once in a chunk, not with each piece of it.
        self._text, self._size = [b"".join(self._text)], 0
        if len(self._text[0]) > _LONGEST_LINE:
            raise FileUnavailableError("The export file is not one JSON object a line")
        return None

    def _wanted(self, text: bytes) -> bytes | None:
        """``text`` without the lines that are to be left out."""
        if not self._skip:
            return text
        lines = text.split(b"\n")
        left_out = min(self._skip, len(lines))
        self._skip -= left_out
        return b"\n".join(lines[left_out:]) if left_out < len(lines) else None


def split_lines(text: bytes) -> Lines:
    """The lines of ``text``; empty ones are left out."""
    lines = text.split(b"\n") if text else []
    if not _no_objects(lines):
        return lines, []
    lines = [line for line in (line.strip() for line in lines) if line]
    good = [line for line in lines if line[:1] == b"{" and line[-1:] == b"}"]
    return good, _no_objects(lines)


def _no_objects(lines: list[bytes]) -> list[bytes]:
    return [line for line in lines if line[:1] != b"{" or line[-1:] != b"}"]
