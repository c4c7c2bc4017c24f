"""The names of what a request may need and a model may lack, each one bit of a mask."""

from __future__ import annotations

TOOLS = 1
PARALLEL_TOOLS = 2
JSON_SCHEMA = 4
JSON_MODE = 8
VISION = 16
AUDIO_INPUT = 32
AUDIO_OUTPUT = 64
FILES = 128
REASONING = 256
SYSTEM = 512
STREAMING = 1024
PREFILL = 2048

CAPABILITIES: dict[str, int] = {
    "tools": TOOLS,
    "parallel_tools": PARALLEL_TOOLS,
    "json_schema": JSON_SCHEMA,
    "json_mode": JSON_MODE,
    "vision": VISION,
    "audio_input": AUDIO_INPUT,
    "audio_output": AUDIO_OUTPUT,
    "files": FILES,
    "reasoning": REASONING,
    "system": SYSTEM,
    "streaming": STREAMING,
    "prefill": PREFILL,
}


def names_of(mask: int) -> list[str]:
    return [name for name, bit in CAPABILITIES.items() if mask & bit]
