"""Past requests, decided again under another version: what would have changed, what it would have cost, and (where
answers were judged) how good it would have been.

Nobody is called and nothing live is touched. What a record does not hold is not guessed: a rule that reads the prompt
of a request whose content was not logged makes that request undecidable, and it is counted and listed. Some things are
known to differ from what a live call would have met: budgets count as unspent (they bound one request, and make prices
matter); rests, rate limits, measured times, warm conversations and what feedback has taught a predictor are those of a
router that has just begun; what a call itself asked for (``max_cost=``, ``models=``, ``routing=`` …) is not in its
record; and tools are known to be there but not by name. ``reproduced`` says how often the version of a record, replayed
in this way, comes to the recorded choice: differences of these kinds are inside the figures as well.

Choices are compared as models: deployments of one model are the same. Where a version splits at random, its choices
count by their probability, so counts are expectations. Sources of the estimates of quality: see ``off_policy``.
"""

from __future__ import annotations

from .report import Move, Replay, Undecided
from .tally import replay

__all__ = ["Move", "Replay", "Undecided", "replay"]
