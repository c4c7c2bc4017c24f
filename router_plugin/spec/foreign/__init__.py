"""Foreign configurations carried over into a settings document: Mixtrain, litellm.Router, OpenRouter, Unify.

``import_config(source)`` reads any of them; ``from_mixtrain``, ``from_litellm``, ``from_openrouter`` and ``from_unify``
read one kind each. What comes back is an ``Imported``: ``document`` has the shape of a settings file and loads as one;
``left_out`` says in words what could not be carried over, with its place and why. Nothing is dropped silently: every
key of the source ends in one of the two (a key whose value is null says nothing, and is not counted). Values of
settings are shown only where they are words of the format, and literal credentials are neither shown nor carried.
"""

from .detect import KINDS, import_config
from .imported import Imported
from .litellm_router import from_litellm
from .mixtrain import from_mixtrain
from .openrouter import from_openrouter
from .unify import from_unify

__all__ = ["KINDS", "Imported", "from_litellm", "from_mixtrain", "from_openrouter", "from_unify", "import_config"]
