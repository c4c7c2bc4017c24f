"""Artefacts: what was saved is what is loaded, and damage of every kind is told."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy import judged

from router_plugin.errors import TrainingError
from router_plugin.learn import Predictor, fit
from router_plugin.learn.serving.artefact import pack, seal, unpack

PROMPTS = ["Solve 3 * 4.", "Write about a dragon.", "?"]


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return fit(judged(60))


@pytest.fixture
def folder(predictor: Predictor, tmp_path: Path) -> Path:
    predictor.save(tmp_path / "art")
    return tmp_path / "art"


def weights(folder: Path) -> Path:
    (path,) = folder.glob("weights-*.npz")
    return path


def reseal(folder: Path, raw: bytes, **facts: Any) -> None:
    """Other weights under a manifest that fits them, as somebody hostile would."""
    weights(folder).unlink()
    digest = hashlib.sha256(raw).hexdigest()
    name = f"weights-{digest[:16]}.npz"
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] = {name: {"bytes": len(raw), "sha256": digest}}
    (folder / name).write_bytes(raw)
    manifest |= facts
    manifest.pop("sha256", None)
    (folder / "manifest.json").write_text(json.dumps(manifest | {"sha256": seal(manifest)}))


def changed(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    arrays = unpack(weights(folder).read_bytes(), "test")
    change(arrays)
    reseal(folder, pack(arrays))


def test_what_is_saved_is_what_is_loaded(predictor: Predictor, folder: Path) -> None:
    loaded = Predictor.load(folder)
    for name in ("quality", "quality_std", "output_tokens"):
        assert np.array_equal(getattr(loaded.predict(PROMPTS), name), getattr(predictor.predict(PROMPTS), name))
    assert loaded.models == predictor.models
    assert loaded.about == predictor.about
    assert stat.S_IMODE(weights(folder).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_saving_again_replaces_the_old_and_leaves_nothing_else(folder: Path) -> None:
    other = fit(judged(50, seed=9))
    other.save(folder)
    assert sorted(path.suffix for path in folder.iterdir()) == [".json", ".npz"]
    assert np.array_equal(Predictor.load(folder).predict(PROMPTS).quality, other.predict(PROMPTS).quality)


def test_a_writer_killed_before_the_manifest_leaves_the_old_artefact(
    predictor: Predictor, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from router_plugin.learn.serving import artefact

    real = artefact.os.replace

    def dies(source: Any, target: Any) -> None:
        if str(target).endswith("manifest.json"):
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(artefact.os, "replace", dies)
    with pytest.raises(KeyboardInterrupt):
        fit(judged(50, seed=9)).save(folder)
    assert np.array_equal(Predictor.load(folder).predict(PROMPTS).quality, predictor.predict(PROMPTS).quality)


def test_every_flipped_bit_is_noticed(folder: Path) -> None:
    path = weights(folder)
    raw = path.read_bytes()
    for at in range(0, len(raw), max(1, len(raw) // 25)):
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 4]) + raw[at + 1 :])
        with pytest.raises(TrainingError, match="is damaged"):
            Predictor.load(folder)


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.99])
def test_a_truncated_file_is_noticed(folder: Path, keep: float) -> None:
    raw = weights(folder).read_bytes()
    weights(folder).write_bytes(raw[: int(len(raw) * keep)])
    with pytest.raises(TrainingError, match="the manifest says"):
        Predictor.load(folder)
    reseal(folder, raw[: int(len(raw) * keep)])
    with pytest.raises(TrainingError, match="not a readable npz"):
        Predictor.load(folder)


@pytest.mark.parametrize("name", ["manifest.json", "weights"])
def test_a_missing_file_is_told(folder: Path, name: str) -> None:
    (weights(folder) if name == "weights" else folder / name).unlink()
    with pytest.raises(TrainingError, match="cannot be read"):
        Predictor.load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a["quality_weights"].__setitem__((0, 0), np.nan), "NaN"),
        (lambda a: a["quality_mean"].__setitem__(0, np.inf), "NaN or infinite"),
        (lambda a: a.__setitem__("quality_mean", a["quality_mean"][:-1]), "quality_mean is"),
        (lambda a: a.__setitem__("quality_weights", a["quality_weights"].T.copy()), "quality_weights is"),
        (lambda a: a.__setitem__("buckets", a["buckets"][::-1].copy()), "must rise"),
        (lambda a: a.__setitem__("centre", a["centre"][:3]), "is float32 of shape|figures of the surface"),
        (lambda a: a.__setitem__("quality_seen", a["quality_seen"].astype(float)), "quality_seen is"),
        (lambda a: a.__setitem__("quality_noise", -a["quality_noise"] - 1), "negative"),
        (lambda a: a.pop("quality_basis"), "quality_basis is missing"),
    ],
)
def test_wrong_numbers_are_told(folder: Path, change: Any, message: str) -> None:
    changed(folder, change)
    with pytest.raises(TrainingError, match=message):
        Predictor.load(folder)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"schema": 1}, "schema 1"),
        ({"schema": "2"}, "schema '2'"),
        ({"features": 99}, "features 99"),
        ({"kind": "other"}, "is 'other'"),
        ({"models": ["a"]}, "quality_basis is"),
        ({"models": ["a", "a", "b"]}, "different models"),
        ({"models": [1, 2, 3]}, "is no text"),
        ({"models": "abc"}, "different models"),
        ({"encoder": "bert"}, "fitted with the encoder 'bert'"),
        ({"about": 3}, "about"),
        ({"files": {"../../weights-0123456789abcdef.npz": {"bytes": 1, "sha256": ""}}}, "does not describe"),
        ({"files": []}, "does not describe"),
    ],
)
def test_a_wrong_manifest_is_told(folder: Path, facts: dict[str, Any], message: str) -> None:
    reseal(folder, weights(folder).read_bytes(), **facts)
    with pytest.raises(TrainingError, match=message):
        Predictor.load(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "\x00", "[" * 100_000, "x" * (2 << 20)])
def test_a_manifest_that_is_none_is_told(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_text(text)
    with pytest.raises(TrainingError, match="manifest"):
        Predictor.load(folder)


class Hostile:
    ran = False

    def __reduce__(self) -> Any:
        return (setattr, (Hostile, "ran", True))


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, raw in members.items():
            file.writestr(f"{name}.npy", raw)
    return out.getvalue()


def test_a_pickle_inside_is_never_read(folder: Path) -> None:
    stream = io.BytesIO()
    np.save(stream, np.array([Hostile()], dtype=object), allow_pickle=True)
    for raw in (zipped(buckets=stream.getvalue()), zipped(buckets=pickle.dumps(Hostile())), pickle.dumps(Hostile())):
        reseal(folder, raw)
        with pytest.raises(TrainingError, match=r"never read|not a readable npz"):
            Predictor.load(folder)
    assert not Hostile.ran


def test_a_zip_bomb_is_not_unpacked(folder: Path) -> None:
    reseal(folder, zipped(buckets=b"\0" * (80 << 20)))
    with pytest.raises(TrainingError, match="unpacks to more than"):
        Predictor.load(folder)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (1 << 40,)})
    reseal(folder, zipped(buckets=header.getvalue()))
    with pytest.raises(TrainingError, match="does not hold the shape"):
        Predictor.load(folder)


def test_a_place_that_cannot_be_written_is_told(predictor: Predictor, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TrainingError, match="cannot be written"):
        predictor.save(tmp_path / "file")


def test_every_flipped_bit_of_the_manifest_is_noticed(folder: Path) -> None:
    file = folder / "manifest.json"
    good = file.read_bytes()
    parsed = json.loads(good)
    for at in range(len(good)):
        bad = bytearray(good)
        bad[at] ^= 1
        file.write_bytes(bytes(bad))
        try:
            same = json.loads(bytes(bad)) == parsed
        except ValueError:
            same = False
        if not same:
            with pytest.raises(TrainingError):
                Predictor.load(folder)
    file.write_bytes(good)
    assert Predictor.load(folder)


def test_what_is_no_file_is_not_read(folder: Path) -> None:
    file = folder / "manifest.json"
    file.rename(folder / "elsewhere.json")
    file.symlink_to(folder / "elsewhere.json")
    with pytest.raises(TrainingError):
        Predictor.load(folder)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(TrainingError):
        Predictor.load(folder)
