"""A rising curve from predicted to true quality, the same for all models: linear heads bend near 0 and 1.

Rule: predictions of held-out prompts are cut into twenty parts of equal size; each part's true mean, leaning on the
predicted one by ``LEAN`` scores, is a knot; knots that fall are levelled. The curve never falls, so the order of the
models for a prompt stays (but for ties where it is level).
Source: histogram binning (Zadrozny and Elkan 2001), made monotone.
"""

from __future__ import annotations

import numpy as np

from .targets import Floats

PARTS, LEAN = 20, 20.0


def curve_of(predicted: Floats, truth: Floats) -> Floats:
    """Knots, shape (2, PARTS + 2): qualities as predicted, and as they are."""
    if predicted.size < 10 * PARTS:
        return np.array([[0.0, 1.0], [0.0, 1.0]])
    said = np.clip(predicted, 0.0, 1.0).ravel()
    parts = np.array_split(np.argsort(said, kind="stable"), PARTS)
    told = np.maximum.accumulate([said[part].mean() for part in parts])  # means of equals differ by rounding
    true = np.array([truth.ravel()[part].mean() for part in parts])
    scores = len(parts[0]) / predicted.shape[1] ** 0.5  # a prompt's scores go together
    level = (true * scores + told * LEAN) / (scores + LEAN)
    rising = (np.maximum.accumulate(level) + np.minimum.accumulate(level[::-1])[::-1]) / 2
    rising = np.clip(rising, 0.0, 1.0)  # truth that was put together again may miss an end
    ends = np.array([0.0, 1.0])
    return np.stack([np.concatenate([ends[:1], told, ends[1:]]), np.concatenate([ends[:1], rising, ends[1:]])])


def bent(quality: Floats, curve: Floats) -> Floats:
    """Qualities on the curve; outside 0..1 they are cut."""
    found: Floats = np.interp(quality, curve[0], curve[1])
    return found
