"""litellm's HTTP clients in a forked child: two processes that speak over one socket get each other's answers.

The child forgets the clients its parent had made and makes its own. The parent's are kept alive and untouched there:
collecting them would take their sockets out of the poll set that an event loop of the parent still waits on.
"""

from __future__ import annotations

import sys
from typing import Any

from ..fork import renew_in_child


class Clients:
    """litellm's cache of clients, made anew after a fork. One for the process."""

    def __init__(self) -> None:
        self._parents: list[Any] = []
        renew_in_child(self)

    def after_fork(self) -> None:
        litellm = sys.modules.get("litellm")
        made = vars(litellm) if litellm is not None else {}
        cache = made.get("in_memory_llm_clients_cache")
        for name in ("cache_dict", "ttl_dict", "expiration_heap"):
            held = getattr(cache, name, None)
            if held:
                self._parents.append(held)
                setattr(cache, name, type(held)())
        for name in ("module_level_client", "module_level_aclient"):
            if name in made:  # litellm makes it again when it is asked for
                self._parents.append(made.pop(name))


CLIENTS = Clients()
