"""The record of requests: see ``log.py``."""

from .log import History
from .record import record_of

__all__ = ["History", "record_of"]
