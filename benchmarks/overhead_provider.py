"""The provider that all HTTP measurements call, in a process of its own. Prints its base URL; ends with its input.

It answers every model with as many words as the last message asks for ("say 2000 words"), one word a chunk;
no two words are the same, because litellm breaks off a stream that repeats itself.
"""

from __future__ import annotations

import re
import sys
from typing import Any

from router_plugin.testing.loopback import LoopbackProvider


def words(body: dict[str, Any]) -> str:
    """The answer: 20 words, or as many as were asked for."""
    asked = re.match(r"say (\d+) words", str(body["messages"][-1]["content"]))
    return " ".join(f"word{n}" for n in range(int(asked[1]) if asked else 20))


if __name__ == "__main__":
    with LoopbackProvider(keep=10) as server:
        server.model("*", reply=words)
        print(server.openai_base, flush=True)
        sys.stdin.read()
