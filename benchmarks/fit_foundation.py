"""Fit the foundation predictor that ships with the package: ``python benchmarks/fit_foundation.py --data DIR``.

DIR holds tables of judged prompts (NAME.jsonl.gz, one object a line: prompt, scores {model: 0..1}); only those named in
TABLES are used, whose licences allow it. The weights are committed, the tables are not. The same tables give the same
bytes. How good it is on models and tasks that it has not seen: ``python benchmarks/quality.py --data DIR``, which fits
its own copies without what they are tested on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from quality_data import read_table, without_twins

from router_plugin.learn.serving.foundation import _SHIPPED, fit_foundation

APART = "routellm_mmlu"  # not read for the sense of hardness that ``fit`` leans on, so that it can be measured there
TABLES = {
    "routellm_mmlu": "lm-sys/RouteLLM (Apache-2.0; MMLU MIT)",
    "mmlu_pro": "TIGER-AI-Lab/MMLU-Pro (Apache-2.0)",
    "ulab9": "ulab-uiuc/LLMRouter (MIT)",
}


def main() -> None:
    """Fit and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=_SHIPPED)
    args = parser.parse_args()
    tables = {name: read_table(args.data, name) for name in TABLES}
    about = {"tables": {name: f"{len(rows)} prompts, {TABLES[name]}" for name, rows in tables.items()}}
    rest = [without_twins(rows, tables[APART]) for name, rows in tables.items() if name != APART]
    fit_foundation(tables.values(), about, hardness=rest).save(args.out)
    print(f"{args.out}: {sum(path.stat().st_size for path in args.out.iterdir()) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
