"""Data to a suite's result: SUITE INPUT... OUT.json PAGE.html; a critical expectation that fails stops the pipeline."""

import json
import sys
from pathlib import Path

from gunshot import validation
from gunshot.base import params
from gunshot.base.files import atomic


def main(suite: str, *paths: Path) -> int:
    *inputs, out, page = paths
    p = params.load("audio", "quality", "splits", "features", "context", "validation")
    result = validation.validate(suite, inputs, p=p)
    with atomic(out) as part:
        part.write_text(json.dumps(result, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    with atomic(page) as part:
        part.write_text(validation.page(result), encoding="utf-8")
    print(validation.report(result), file=sys.stdout if result["success"] else sys.stderr)
    return 0 if result["success"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *map(Path, sys.argv[2:])))
