"""Tell a running monitor that its alarms have been seen: they are acknowledged, and quiet for two minutes.

ecg-edge stream --device /dev/ttyUSB0 --control /run/user/1000/ecg     the monitor
ecg-edge silence /run/user/1000/ecg                                    all that is open
ecg-edge silence /run/user/1000/ecg VF Asystole                        these

What is announced later is not silenced. A latched alert whose finding is gone ends.
"""

import argparse
import json
from pathlib import Path

from ..control import ask


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("control", type=Path, metavar="PATH", help="what the monitor was given as --control")
    parser.add_argument("labels", nargs="*", metavar="LABEL", help="alerts to silence (all that are open)")
    parser.add_argument("--json", action="store_true", help="print the answer as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit status."""
    answer = ask(args.control, tuple(args.labels))
    print(json.dumps({"answer": answer}) if args.json else answer)
    return 0
