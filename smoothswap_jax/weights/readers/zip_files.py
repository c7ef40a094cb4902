"""The directory of a zip archive, and its members as byte ranges of the file.

Python's zipfile trusts the archive: it reads as large a directory as is claimed, inflates without a limit, and lets
members overlap. Weight files need only a small part of zip, and that is read strictly.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from smoothswap_jax.weights.readers.byte_range import CHUNK, ByteRange
from smoothswap_jax.weights.readers.errors import Malformed, shown

MAX_MEMBERS = 100_000
MAX_DIRECTORY_BYTES = 32 << 20
MAX_TAIL_BYTES = 22 + 65535  # the end record and the comment after it
STORED, DEFLATED = 0, 8
MAX_RATIO = 1032  # deflate cannot do better


@dataclass(frozen=True)
class Member:
    """A file in the archive; `packed` bytes from `header` + its local header's length on, `size` unpacked."""

    name: str
    raw_name: bytes
    method: int
    crc: int
    packed: int
    size: int
    header: int


def members(archive: ByteRange) -> dict[str, Member]:
    """The archive's files by name, in its order. Refuses encrypted, repeated, overlapping or overlong ones."""
    count, size, start = _end_record(archive)
    if count > MAX_MEMBERS or size > MAX_DIRECTORY_BYTES:
        raise Malformed(f"a zip directory of {count:,} files in {size:,} bytes", f"at most {MAX_MEMBERS:,} files")
    directory = archive.part(start, size)
    found: dict[str, Member] = {}
    for _ in range(count):
        member = _directory_entry(directory)
        if member.name in found:
            raise Malformed(f"two files named {shown(member.name)} in the zip archive", "one")
        found[member.name] = member
    end = 0
    for member in sorted(found.values(), key=lambda member: member.header):
        if member.header < end or member.packed > start - member.header:
            raise Malformed(
                f"the zip member {shown(member.name)}, which overlaps another or the directory",
                "members that do not overlap",
            )
        end = member.header + member.packed
    return found


def _end_record(archive: ByteRange) -> tuple[int, int, int]:
    """Number of members, and size and start of the directory, from the record at the end of the archive."""
    tail_size = min(archive.size, MAX_TAIL_BYTES)
    tail = archive.part(archive.size - tail_size, tail_size).read(tail_size)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < 22:
        raise Malformed("a zip archive without its end record", "a whole file: the download may have stopped early")
    disk, first_disk, here, count, size, start, comment = struct.unpack("<HHHHIIH", tail[at + 4 : at + 22])
    if len(tail) - at - 22 != comment or disk not in (0, 0xFFFF) or first_disk not in (0, 0xFFFF):
        raise Malformed("a zip archive in parts, or with bytes after its end", "one whole archive")
    position = archive.size - tail_size + at
    if 0xFFFF in (here, count) or 0xFFFFFFFF in (size, start):
        locator = archive.part(position - 20, 20).read(20) if position >= 20 else b""
        if locator[:4] == b"PK\x06\x07":
            record = archive.part(struct.unpack("<Q", locator[8:16])[0], 56).read(56)
            if record[:4] != b"PK\x06\x06":
                raise Malformed("a zip archive whose 64-bit end record is not where it should be", "an undamaged file")
            count, size, start = struct.unpack("<QQQ", record[32:56])
    return count, size, start


def _directory_entry(directory: ByteRange) -> Member:
    fixed = directory.read(46)
    if fixed[:4] != b"PK\x01\x02":
        raise Malformed("a zip directory with a broken entry", "an undamaged file")
    _, _, flags, method, _, _, crc, packed, size, *lengths, _disk, _, _, header = struct.unpack(
        "<HHHHHHIIIHHHHHII", fixed[4:]
    )
    raw_name, extra, _ = (directory.read(length) for length in lengths)
    if flags & 1:
        raise Malformed("an encrypted zip archive", "one without encryption")
    wide = _wide_fields(extra)
    values = []
    for value in (size, packed, header):  # those beyond 32 bits are in the extra field, in this order
        if value == 0xFFFFFFFF:
            if len(wide) < 8:
                raise Malformed("a zip entry without its 64-bit sizes", "an undamaged file")
            value, wide = int.from_bytes(wide[:8], "little"), wide[8:]
        values.append(value)
    name = raw_name.decode("utf-8", "backslashreplace")
    return Member(name, raw_name, method, crc, values[1], values[0], values[2])


def _wide_fields(extra: bytes) -> bytes:
    """The 64-bit fields (header id 1) of an entry's extra data."""
    while len(extra) >= 4:
        kind, size = struct.unpack("<HH", extra[:4])
        if kind == 1:
            return extra[4 : 4 + size]
        extra = extra[4 + size :]
    return b""


def packed_bytes(archive: ByteRange, member: Member) -> ByteRange:
    """The member's bytes as they are in the archive. Its local header must agree with the directory."""
    header = archive.part(member.header, 30).read(30)
    signature, _, flags, method, _, _, _, _, _, name_size, extra_size = struct.unpack("<4sHHHHHIIIHH", header)
    raw_name = archive.part(member.header + 30, name_size).read(name_size)
    if signature != b"PK\x03\x04" or raw_name != member.raw_name or method != member.method or flags & 1:
        raise Malformed("a zip member whose own header differs from the directory", "an undamaged file")
    return archive.part(member.header + 30 + name_size + extra_size, member.packed)


def stored_bytes(archive: ByteRange, member: Member) -> ByteRange:
    """The bytes of a member that is stored uncompressed, after comparing their checksum."""
    if member.method != STORED or member.packed != member.size:
        raise Malformed("a compressed zip member", "uncompressed ones, as torch.save writes them")
    source = packed_bytes(archive, member)
    if member.crc == 0:  # torch writes 0 where it is configured to leave checksums out
        return source
    crc = 0
    for chunk in source.chunks():
        crc = zlib.crc32(chunk, crc)
    if crc != member.crc:
        raise Malformed("bytes that do not have the zip archive's checksum", "an undamaged file")
    return packed_bytes(archive, member)


def unpacked(archive: ByteRange, member: Member) -> np.ndarray:
    """The member's contents as uint8, inflated if need be, after comparing length and checksum."""
    if member.method not in (STORED, DEFLATED):
        raise Malformed(f"zip compression method {member.method}", "stored or deflated")
    if member.size > MAX_RATIO * member.packed + 64:
        raise Malformed(
            f"a claim that {member.packed:,} bytes inflate to {member.size:,}", f"a factor of at most {MAX_RATIO}"
        )
    source = packed_bytes(archive, member)
    archive.budget.take(member.size)
    made, end = np.empty(member.size, np.uint8), 0
    for piece in source.chunks() if member.method == STORED else _inflated(source):
        if len(piece) > member.size - end:
            raise Malformed(f"a zip member longer than the {member.size:,} bytes it claims", "an undamaged file")
        made[end : end + len(piece)] = np.frombuffer(piece, np.uint8)
        end += len(piece)
    if end != member.size or zlib.crc32(made) != member.crc:
        raise Malformed("bytes that do not have the zip archive's length and checksum", "an undamaged file")
    return made


def _inflated(source: ByteRange) -> Iterator[bytes]:
    """What the deflated bytes of `source` inflate to, at most `CHUNK` bytes at a time."""
    inflate = zlib.decompressobj(-15)
    for chunk in source.chunks():
        full = True
        while (
            chunk or full
        ) and not inflate.eof:  # after a full piece zlib may have more output, though it has taken all input
            try:
                piece = inflate.decompress(chunk, CHUNK)
            except zlib.error as error:
                raise Malformed(f"broken deflate data ({error})", "an undamaged file") from None
            chunk, full = inflate.unconsumed_tail, len(piece) == CHUNK
            yield piece
