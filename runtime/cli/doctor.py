"""Check this machine: versions, bundles, serial ports and their permissions, clock, temperature, memory, speed.

Each finding is ok, a warning, a failure or unknown, and says what mends it. The exit status is 0 when nothing fails.
"""

import argparse
import json
from dataclasses import asdict

from ..diagnosis import Check, diagnose, passed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options; not those of common.py, which needs a NumPy that loads."""
    parser.add_argument("--bundle", metavar="NAME|PATH", help="also check this bundle, and the speed with it")
    parser.add_argument("--backend", default="auto", metavar="NAME", help="inference runtime (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Check and print."""
    checks = diagnose(bundle=args.bundle, backend=args.backend)
    good = passed(checks)
    print(json.dumps({"ok": good, "checks": [asdict(c) for c in checks]}) if args.json else _table(checks))
    return 0 if good else 1


def _table(checks: list[Check]) -> str:
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        lines.append(f"{check.status:<8} {check.name:<{width}}  {check.found}")
        if check.mend:
            lines.append(f"{'':<8} {'':<{width}}  -> {check.mend}")
    counts = {status: sum(c.status == status for c in checks) for status in ("fail", "warn", "unknown")}
    lines += ["", f"{counts['fail']} failed, {counts['warn']} to be looked at, {counts['unknown']} unknown"]
    return "\n".join(lines)
