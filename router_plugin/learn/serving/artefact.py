"""A predictor on disk: a folder with ``manifest.json`` and ``weights-<hash>.npz``; never pickle.

Rule: the manifest names the schema, the features' version, the models, and of every file its size and SHA-256. Reading
checks, in this order, the manifest's size and shape, the file's size, its hash, the sizes that the zip and every
array's header promise (before anything is unpacked), types, shapes, and that every number is finite. What is wrong
becomes a TrainingError that says so. Every file is written under a temporary name, flushed to disk and renamed; the
manifest last, so that a reader meets the old artefact or the new one, whole, wherever a writer was killed. The zip has
fixed times and order: the same predictor gives the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import stat
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import TrainingError
from ..prompts.features import FEATURES

SCHEMA = 3
MANIFEST = "manifest.json"
_WEIGHTS = re.compile(r"weights-[0-9a-f]{16}\.npz")
_MOST_FILE, _MOST_MANIFEST = 64 << 20, 1 << 20
Arrays = Mapping[str, np.ndarray[Any, Any]]


def pack(arrays: Arrays) -> bytes:
    """Arrays as an npz with fixed times and order."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as file:
        for name in sorted(arrays):
            raw = io.BytesIO()
            np.lib.format.write_array(raw, np.ascontiguousarray(arrays[name]), version=(1, 0), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type, info.external_attr, info.create_system = zipfile.ZIP_DEFLATED, 0o600 << 16, 3
            file.writestr(info, raw.getvalue())
    return out.getvalue()


def unpack(raw: bytes, what: str) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of an npz, after checking what its headers promise.

    Raises: TrainingError.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as file:
            infos = file.infolist()
            if len(infos) > 64 or sum(info.file_size for info in infos) > _MOST_FILE:
                raise TrainingError(f"{what}: unpacks to more than {_MOST_FILE >> 20} MB or 64 arrays; not read")
            return {info.filename.removesuffix(".npy"): _array(file, info, what) for info in infos}
    except TrainingError:
        raise
    except Exception as error:  # zipfile and numpy raise a dozen kinds on damaged bytes
        raise TrainingError(f"{what}: not a readable npz ({type(error).__name__})") from None


def _array(file: zipfile.ZipFile, info: zipfile.ZipInfo, what: str) -> np.ndarray[Any, Any]:
    with file.open(info) as raw:
        data = raw.read(info.file_size + 1)
    if len(data) != info.file_size:
        raise TrainingError(f"{what}: {info.filename} is not of the size that its header says")
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise TrainingError(f"{what}: {info.filename} is of npy version {version}, not (1, 0)")
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.hasobject or dtype.kind not in "fiu":
        raise TrainingError(f"{what}: {info.filename} holds {dtype}, not numbers (pickled objects are never read)")
    if int(np.prod([int(n) for n in shape], dtype=object)) * dtype.itemsize != len(data) - stream.tell():
        raise TrainingError(f"{what}: {info.filename} does not hold the shape {shape} that it promises")
    stream.seek(0)
    array: np.ndarray[Any, Any] = np.lib.format.read_array(stream, allow_pickle=False)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise TrainingError(f"{what}: {info.filename} holds NaN or infinite numbers")
    return array


def write_folder(path: Path, arrays: Arrays, **facts: Any) -> None:
    """An artefact of these arrays; ``facts`` go into the manifest.

    Raises: TrainingError where the files cannot be written.
    """
    raw = pack(arrays)
    digest = hashlib.sha256(raw).hexdigest()
    name = f"weights-{digest[:16]}.npz"
    whole = {"schema": SCHEMA, "features": FEATURES, "files": {name: {"bytes": len(raw), "sha256": digest}}, **facts}
    whole["sha256"] = seal(whole)
    manifest = (json.dumps(whole, sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode()
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(path / name, raw)
        _write(path / MANIFEST, manifest)
        for old in path.iterdir():
            if _WEIGHTS.fullmatch(old.name) and old.name != name:
                old.unlink(missing_ok=True)
    except OSError as error:
        raise TrainingError(f"artefact {str(path)!r} cannot be written: {error.strerror or error}") from error


def _write(path: Path, raw: bytes) -> None:
    number, fresh = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600
    try:
        with open(number, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except BaseException:
        Path(fresh).unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def _flush_folder(path: Path) -> None:
    try:
        number = os.open(path, os.O_RDONLY)
    except OSError:  # not on Windows
        return
    try:
        os.fsync(number)
    finally:
        os.close(number)


def read_folder(path: Path, kind: str) -> tuple[dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
    """A folder's manifest and arrays, checked against each other.

    Raises: TrainingError.
    """
    what = f"artefact {str(path)!r}"
    facts = _manifest(path, what)
    schema = facts.get("schema")
    if type(schema) is not int or schema != SCHEMA or facts.get("features") != FEATURES or facts.get("kind") != kind:
        raise TrainingError(
            f"{what}: is {facts.get('kind')!r} of schema {schema!r} with features {facts.get('features')!r}; this "
            f"version reads {kind!r} of schema {SCHEMA} with features {FEATURES}"
        )
    files = facts.get("files")
    name, entry = next(iter(files.items())) if isinstance(files, dict) and len(files) == 1 else ("", None)
    if not _WEIGHTS.fullmatch(name) or not isinstance(entry, dict):  # no path that a manifest names leads elsewhere
        raise TrainingError(f"{what}: the manifest does not describe its weights")
    raw = _read(path / name, _MOST_FILE, what)
    if len(raw) != entry.get("bytes"):
        raise TrainingError(f"{what}: {name} has {len(raw)} bytes, the manifest says {entry.get('bytes')!r}")
    if hashlib.sha256(raw).hexdigest() != entry.get("sha256"):
        raise TrainingError(f"{what}: {name} is damaged (its SHA-256 is not the manifest's)")
    return facts, unpack(raw, what)


def _manifest(path: Path, what: str) -> dict[str, Any]:
    try:
        facts = json.loads(_read(path / MANIFEST, _MOST_MANIFEST, what))
    except (ValueError, RecursionError):
        raise TrainingError(f"{what}: {MANIFEST} is not JSON") from None
    if not isinstance(facts, dict):
        raise TrainingError(f"{what}: {MANIFEST} must hold an object")
    if type(facts.get("schema")) is int and facts["schema"] > SCHEMA:
        return facts  # a newer one is said to be newer
    if facts.pop("sha256", None) != seal(facts):
        raise TrainingError(f"{what}: {MANIFEST} is damaged (its SHA-256 is not what it says)")
    return facts


def seal(facts: dict[str, Any]) -> str:
    """SHA-256 of a manifest without its own."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def _read(path: Path, most: int, what: str) -> bytes:
    try:
        number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0))
        with open(number, "rb") as file:
            if not stat.S_ISREG(os.fstat(number).st_mode):
                raise TrainingError(f"{what}: {path.name} is no file")
            raw = file.read(most + 1)
    except OSError as error:
        raise TrainingError(f"{what}: {path.name} cannot be read: {error.strerror or error}") from None
    if len(raw) > most:
        raise TrainingError(f"{what}: {path.name} has more than {most >> 20} MB; not read")
    return raw
