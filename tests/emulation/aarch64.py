"""Compares what ecg-edge answers on this machine with what it answers on an emulated 64-bit Arm one.

    python -m tests.emulation.aarch64 --data DATA

run at the root of the repository by a Python with `pip install .`, on Debian 12 or later. For every model of every
bundle: `bundle verify`, whole records, and the events of a replay, on QEMU's models of Cortex-A72 and Cortex-A76.
docs/emulation.md tells what is compared and what was found. Exit status 0 where all is the same, 1 where not.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.firmware_bridge.heart import demo
from ecg_edge.runtime.bundle import find, shipped
from ecg_edge.runtime.sources.records import write_recording

from .arm_machine import PROCESSORS, ArmMachine, packages, run
from .comparison import Compared, compare

DEFAULT_FOLDER = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ecg-edge-aarch64"
GLOBS = ("ptbxl/records500/*/*.hea", "cinc2020/*/*.hea")
"""Where records lie below a data folder, in PhysioNet's layout."""
ANSWERS = Path(__file__).with_name("answers.py")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.emulation.aarch64", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        default=os.environ.get("ECG_EDGE_DATA"),
        help="records in PhysioNet's layout (ECG_EDGE_DATA); without them only the simulated ones are compared",
    )
    parser.add_argument("--records", type=int, default=20, metavar="N", help="of the data folder (%(default)s)")
    parser.add_argument(
        "--bundle", action="append", metavar="NAME|PATH", help="instead of those shipped; may be given again"
    )
    parser.add_argument(
        "--folder", type=Path, default=DEFAULT_FOLDER, metavar="DIR", help="keeps downloads, 330 MB (%(default)s)"
    )
    args = parser.parse_args(arguments)
    try:
        return _compare(args)
    except EcgEdgeError as error:
        print(f"aarch64: {error}", file=sys.stderr)
        return 1


def _compare(args: argparse.Namespace) -> int:
    arm = ArmMachine(args.folder.resolve())
    arm.prepare()
    # A file, which both machines read: the simulation's sines may differ in their last bits, and are not the question.
    replay = str(write_recording(demo(), arm.folder / "records"))
    records = [replay, *_spread(args.data, args.records)]
    bundles = [str(find(name).resolve()) if name not in shipped() else name for name in args.bundle or shipped()]
    request = json.dumps({"bundles": bundles, "records": records, "replay": replay})
    own = os.environ | {"PYTHONPATH": str(arm.own)}  # the same wheel here as there
    here = json.loads(run([sys.executable, str(ANSWERS), request], "ecg-edge on this machine", own))
    print(f"here: {here['machine']}; {', '.join(packages())}")
    row = "{:<11} {:<24} {:>6} {:>7} {:>8} {:>16} {:>7}  {}".format
    print(row("processor", "bundle/backend", "verify", "records", "windows", "logits differ by", "events", "decisions"))
    wrong: list[str] = []
    for processor in PROCESSORS:
        command = arm.command(processor, ANSWERS, request)
        there = json.loads(run(command, f"ecg-edge on the emulated {processor.name}", arm.environment()))
        for model in here["models"]:
            found = compare(model, here["models"][model], there["models"][model])
            print(row(processor.name, *_cells(found)))
            wrong += [f"{processor.name}, {model}: {line}" for line in found.differences]
    for line in wrong:
        print(line, file=sys.stderr)
    print(f"there: {there['machine']}")
    return 1 if wrong else 0


def _spread(data: Path | None, count: int) -> list[str]:
    """Return `count` records of a data folder, as many of each kind, at even distances."""
    if data is None:
        return []
    if not data.is_dir():
        raise EcgEdgeError(f"no folder {data}: name one in PhysioNet's layout with --data")
    chosen: list[Path] = []
    for k, pattern in enumerate(GLOBS):
        there = sorted(data.resolve().glob(pattern))
        n = min(count // len(GLOBS) + (k < count % len(GLOBS)), len(there))
        chosen += [there[i * len(there) // n] for i in range(n)]
    return [str(path.with_suffix("")) for path in chosen]


def _cells(found: Compared) -> tuple[str, ...]:
    if found.skipped is not None:
        return (found.model, "-", "-", "-", "-", "-", f"not compared: {found.skipped}")
    verified = "failed" if any("verify" in line or "does not run" in line for line in found.differences) else "passed"
    return (
        found.model,
        verified,
        str(found.records),
        str(found.windows),
        f"{found.largest:.2g}",
        str(found.events),
        "DIFFER" if found.differences else "the same",
    )


if __name__ == "__main__":
    sys.exit(main())
