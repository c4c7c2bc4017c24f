"""Carrying a decision out: the attempt loop, its drivers, streams."""
