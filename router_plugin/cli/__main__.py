"""``python -m router_plugin.cli``."""

from . import main

main()
