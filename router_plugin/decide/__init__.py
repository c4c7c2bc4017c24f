"""Which deployment: pure functions, values in, values out."""
