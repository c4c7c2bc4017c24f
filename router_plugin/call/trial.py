"""What exploring costs: a draw that is not the best choice pays what it costs beyond that."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .inflight import Ledger


@dataclass(slots=True)
class Trial:
    """A choice that was drawn and is not the best: ``foreseen`` (nano-dollars) is what the best was expected to cost
    and what ``money`` has paid beyond that."""

    money: Ledger
    foreseen: float

    def settle(self, nano: int) -> None:
        """It has cost so much: what nobody foresaw is paid too, and where that overdraws the account, nothing further
        is tried."""
        more = min(nano - self.foreseen, 1e18)  # unpriced, it was foreseen to cost anything
        held = self.money.reserve((None,), 0) if more > 0 else None
        if held is not None and held.granted:
            held.ledger.end(held, math.ceil(more))
