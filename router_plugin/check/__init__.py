"""What is wrong or doubtful in a router before anyone is called: settings that do not load, rules that can never be
reached, targets that can never answer, models that nobody knows or that are being retired; and, with a sample of
requests, which rule takes how many of them.

Nothing live is read or changed: everything is decided by versions that stand apart (see ``router_plugin.replay``).
"""

from __future__ import annotations

from .checking import check, check_document
from .report import Coverage, Finding, Refused, Report

__all__ = ["Coverage", "Finding", "Refused", "Report", "check", "check_document"]
