"""A predictor's parts as arrays and back; every shape is checked against every other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import TrainingError
from ..fitting.heads import Head
from ..prompts.features import BITS, NAMES
from ..prompts.space import MEASURES, Space
from .artefact import read_folder, write_folder

KIND = "predictor"
_MOST_MODELS = 4_096
Arrays = dict[str, np.ndarray[Any, Any]]
Parts = tuple[tuple[str, ...], Space, Head, "Head | None", "str | None", dict[str, Any]]


def space_arrays(space: Space) -> Arrays:
    """A space's arrays."""
    return {
        "buckets": space.buckets.astype(np.int32),
        "word_weights": space.weights.astype(np.float32),
        "unknown": np.array([space.unknown]),
        "centre": space.centre.astype(np.float32),
        "scale": space.scale.astype(np.float32),
        "limit": space.limit.astype(np.float32),
        "kinds": space.kinds.astype(np.float16),
        "kind_shares": space.shares.astype(np.float32),
    }


def head_arrays(name: str, head: Head) -> Arrays:
    """A head's arrays, the weights in half precision by column."""
    top = np.maximum(np.abs(head.weights).max(axis=0, initial=0.0), 1e-30).astype(np.float32)
    return {
        f"{name}_top": top,
        f"{name}_weights": (head.weights / top).astype(np.float16),
        f"{name}_mean": head.mean,
        f"{name}_basis": head.basis,
        f"{name}_signal": head.signal,
        f"{name}_noise": head.noise,
        f"{name}_seen": head.seen.astype(np.int64),
        f"{name}_novelty": head.novelty,
        f"{name}_margin": np.array([head.margin]),
        f"{name}_lead": np.array([head.lead]),
    } | ({} if head.curve is None else {f"{name}_curve": head.curve})


def write_parts(
    path: Path,
    models: Sequence[str],
    space: Space,
    quality: Head,
    length: Head | None,
    encoder: str | None,
    about: Mapping[str, Any],
) -> None:
    """Write a predictor's artefact."""
    arrays = space_arrays(space) | head_arrays("quality", quality)
    if length is not None:
        arrays |= head_arrays("length", length)
    write_folder(path, arrays, kind=KIND, models=list(models), encoder=encoder, about=dict(about))


def read_parts(path: Path) -> Parts:
    """Read a predictor's artefact.

    Raises: TrainingError where it is damaged, newer or foreign.
    """
    facts, arrays = read_folder(path, KIND)
    what = f"artefact {str(path)!r}"
    models, encoder, about = facts.get("models"), facts.get("encoder"), facts.get("about")
    if not isinstance(models, list) or not 0 < len(models) <= _MOST_MODELS or len(set(map(str, models))) != len(models):
        raise TrainingError(f"{what}: the manifest names no list of different models")
    if not all(isinstance(model, str) and model for model in models):
        raise TrainingError(f"{what}: a model's name in the manifest is no text")
    if not isinstance(about, dict) or not (encoder is None or isinstance(encoder, str)):
        raise TrainingError(f"{what}: 'about' or 'encoder' in the manifest is not what it should be")
    space = read_space(arrays, what)
    if encoder is None and len(space.centre) != len(NAMES):
        raise TrainingError(f"{what}: has {len(space.centre)} figures of the surface, not {len(NAMES)}")
    features = len(space.buckets) + len(space.centre)
    quality = read_head("quality", arrays, len(models), features, what)
    length = read_head("length", arrays, len(models), features, what) if "length_mean" in arrays else None
    return tuple(models), space, quality, length, encoder, about


def take(arrays: Arrays, name: str, shape: tuple[int, ...], kind: str, what: str) -> np.ndarray[Any, Any]:
    """An array of this shape (−1: any) and kind ("f", "i").

    Raises: TrainingError.
    """
    array = arrays.get(name)
    if array is None:
        raise TrainingError(f"{what}: {name} is missing")
    fits = array.ndim == len(shape) and all(s in (-1, n) for s, n in zip(shape, array.shape, strict=True))
    if not fits or array.dtype.kind != kind:
        raise TrainingError(f"{what}: {name} is {array.dtype} of shape {array.shape}, not {kind} of {shape}")
    return array


def read_space(arrays: Arrays, what: str) -> Space:
    """The space in these arrays, checked."""
    buckets = take(arrays, "buckets", (-1,), "i", what).astype(np.int64)
    if len(buckets) and not (buckets[0] >= 0 and buckets[-1] < 1 << BITS and (np.diff(buckets) > 0).all()):
        raise TrainingError(f"{what}: buckets must rise within 0..{(1 << BITS) - 1}")
    weights = take(arrays, "word_weights", (len(buckets),), "f", what)
    centre = take(arrays, "centre", (-1,), "f", what)
    scale, limit = (take(arrays, name, (len(centre),), "f", what) for name in ("scale", "limit"))
    space = Space.make(buckets, weights, float(take(arrays, "unknown", (1,), "f", what)[0]), centre, scale, limit)
    space.kinds = take(arrays, "kinds", (len(buckets) + len(centre), -1), "f", what).astype(np.float32)
    space.shares = take(arrays, "kind_shares", (space.kinds.shape[1],), "f", what)
    return space


def read_head(name: str, arrays: Arrays, models: int, features: int, what: str) -> Head:
    """The head of that name in these arrays, checked."""
    basis = take(arrays, f"{name}_basis", (models, -1), "f", what)
    rank = basis.shape[1]
    top = take(arrays, f"{name}_top", (rank,), "f", what)
    weights = take(arrays, f"{name}_weights", (features, rank), "f", what).astype(np.float32) * top
    mean, noise = (take(arrays, f"{name}_{part}", (models,), "f", what) for part in ("mean", "noise"))
    signal = take(arrays, f"{name}_signal", (rank,), "f", what)
    seen = take(arrays, f"{name}_seen", (models,), "i", what)
    if (noise < 0).any() or (signal < 0).any() or (seen < 0).any():
        raise TrainingError(f"{what}: {name} has a negative variance or count")
    novelty = take(arrays, f"{name}_novelty", (MEASURES,), "f", what)
    margin, lead = (float(take(arrays, f"{name}_{part}", (1,), "f", what)[0]) for part in ("margin", "lead"))
    if not 0.0 <= margin <= 1.0:
        raise TrainingError(f"{what}: {name}_margin is not within 0..1")
    if lead and not (abs(lead) <= 1.0 and models == 2 and margin):
        raise TrainingError(f"{what}: {name}_lead is not within -1..1, or not of two models with a margin")
    curve = take(arrays, f"{name}_curve", (2, -1), "f", what) if f"{name}_curve" in arrays else None
    if curve is not None and (curve.shape[1] < 2 or (np.diff(curve) < 0.0).any()):
        raise TrainingError(f"{what}: {name}_curve must rise")
    return Head(mean, basis, weights, signal, noise, seen, novelty, margin, lead, curve)
