"""Images from data: tars by Python's tarfile, by hand where tarfile would not, and layouts around them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"

KINDS = {
    "file": tarfile.REGTYPE,
    "dir": tarfile.DIRTYPE,
    "link": tarfile.LNKTYPE,
    "symlink": tarfile.SYMTYPE,
    "char": tarfile.CHRTYPE,
    "block": tarfile.BLKTYPE,
    "fifo": tarfile.FIFOTYPE,
}


@dataclass(frozen=True)
class Item:
    """One tar entry; `content` is a file's bytes."""

    name: str
    kind: str = "file"
    content: bytes = b""
    target: str = ""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: int = 1_000_000_000
    device: tuple[int, int] = (0, 0)
    pax: Mapping[str, str] = field(default_factory=dict)


def tar(*items: Item, form: int = tarfile.PAX_FORMAT) -> bytes:
    """A whole tar archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for item in items:
            info = tarfile.TarInfo(item.name)
            info.type = KINDS[item.kind]
            info.mode, info.uid, info.gid, info.mtime = item.mode, item.uid, item.gid, item.mtime
            info.linkname = item.target
            info.devmajor, info.devminor = item.device
            info.size = len(item.content)
            info.pax_headers = dict(item.pax)
            archive.addfile(info, io.BytesIO(item.content))
    return out.getvalue()


def tree(**files: str) -> bytes:
    return tar(*(Item(name, content=text.encode()) for name, text in files.items()))


def header(
    name: bytes = b"x",
    *,
    size: bytes = b"00000000000\0",
    typeflag: bytes = b"0",
    linkname: bytes = b"",
    magic: bytes = b"ustar\x0000",
    uid: bytes = b"0000000\0",
    mtime: bytes = b"00000000000\0",
    tail: bytes = b"",
    checksum: bytes | None = None,
) -> bytes:
    """One header block by hand. `tail` are the bytes from 345 on."""
    block = bytearray(512)
    block[0 : len(name)] = name
    block[100:108] = b"0000644\0"
    block[108:116] = uid
    block[116:124] = b"0000000\0"
    block[124:136] = size
    block[136:148] = mtime
    block[156:157] = typeflag
    block[157 : 157 + len(linkname)] = linkname
    block[257 : 257 + len(magic)] = magic
    block[345 : 345 + len(tail)] = tail
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block) if checksum is None else checksum
    return bytes(block)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def pax(*records: tuple[str, bytes], typeflag: bytes = b"x") -> bytes:
    """A PAX header with its records."""
    body = b""
    for key, value in records:
        rest = b" " + key.encode() + b"=" + value + b"\n"
        length = len(rest) + 1
        while len(str(length)) + len(rest) != length:
            length = len(str(length)) + len(rest)
        body += str(length).encode() + rest
    return header(b"pax", size=b"%011o\0" % len(body), typeflag=typeflag) + padded(body)


END = bytes(1024)


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def dump(document: Any) -> bytes:
    return json.dumps(document).encode()


class LayoutMaker:
    """An OCI layout in a directory, written piece by piece."""

    def __init__(self, top: Path) -> None:
        self.top = top
        (top / "blobs" / "sha256").mkdir(parents=True)
        (top / "oci-layout").write_bytes(b'{"imageLayoutVersion":"1.0.0"}')
        self.manifests: list[dict[str, Any]] = []

    def blob(self, data: bytes, media_type: str) -> dict[str, Any]:
        name = digest(data)
        (self.top / "blobs" / "sha256" / name[7:]).write_bytes(data)
        return {"mediaType": media_type, "digest": name, "size": len(data)}

    def image(
        self,
        layers: Sequence[bytes],
        *,
        tag: str = "",
        config: Mapping[str, Any] | None = None,
        platform: Mapping[str, str] | None = None,
        compress: bool = False,
        diff_ids: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """Writes an image of tars and names it in the index."""
        described = []
        for data in layers:
            packed = gzip.compress(data, 1, mtime=0) if compress else data
            described.append(self.blob(packed, OCI_LAYER + ("+gzip" if compress else "")))
        base = {"os": "linux", "architecture": "amd64", **(platform or {}), **(config or {})}
        base["rootfs"] = {"type": "layers", "diff_ids": diff_ids or [digest(data) for data in layers]}
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": self.blob(dump(base), OCI_CONFIG),
            "layers": described,
        }
        entry = self.blob(dump(manifest), OCI_MANIFEST)
        if tag:
            entry["annotations"] = {"org.opencontainers.image.ref.name": tag}
        if platform:
            entry["platform"] = dict(platform)
        self.manifests.append(entry)
        self.finish()
        return entry

    def finish(self) -> None:
        (self.top / "index.json").write_bytes(dump({"schemaVersion": 2, "manifests": self.manifests}))


def layout(top: Path, *layers: bytes, **options: Any) -> str:
    """The reference of a new layout with one image."""
    LayoutMaker(top).image(layers, **options)
    return f"oci:{top}"
