"""`ecg-edge`: find the sub-command, import it alone, run it, turn what goes wrong into one line.

Exit status: 0 done, 1 failed (the message names the mend), 2 wrong use.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import NoReturn

# One thread for matrix products of a few thousand elements: waking more costs more than they save. To be set before
# NumPy is imported; training asks for its threads itself.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

_RUNTIME = "ecg_edge.runtime.cli."
_TRAIN = "ecg_edge.train.commands."
_EXPORT = "ecg_edge.export.commands."

COMMANDS = {
    "stream": (_RUNTIME + "stream", "monitor a live device: serial port, socket, simulated device or stdin"),
    "replay": (_RUNTIME + "replay", "run a record through the engine, or serve it as a serial device"),
    "silence": (_RUNTIME + "silence", "tell a running monitor that its alarms have been seen"),
    "predict": (_RUNTIME + "predict", "classify whole records"),
    "evaluate-stream": (_RUNTIME + "evaluate_stream", "hold the rhythm rules against annotated records"),
    "bench": (_RUNTIME + "bench", "measure latency, memory and overhead on this machine"),
    "bundle": (_RUNTIME + "bundle", "show or verify a model bundle"),
    "wire": (_RUNTIME + "wire", "see what a cable says: dump, decode, count losses, measure the decoder"),
    "doctor": (_RUNTIME + "doctor", "check this machine: ports, permissions, clock governor, versions"),
    "records": (_TRAIN + "records", "list the records of a data set, for a fold or source"),
    "pretrain": (_TRAIN + "pretrain", "learn a network's branches from records without their labels"),
    "crossval": (_TRAIN + "crossval", "train and judge once a fold, or once a source left out"),
    "trees": (_TRAIN + "trees", "fit trees to measurements of labelled records, to tutor networks"),
    "finetune": (_TRAIN + "finetune", "train a network on labelled records"),
    "study": (_TRAIN + "study", "run the grid of trainings behind docs/results.md"),
    "results": (_TRAIN + "results", "write docs/results.md from the runs of a study"),
    "evaluate": (_TRAIN + "evaluate", "score predictions against labels"),
    "distill": (_EXPORT + "distill", "teach a small network what trained ones know"),
    "export": (_EXPORT + "export", "quantize a trained network and write its bundle"),
    "c-array": (_EXPORT + "c_array", "write a bundle's model as C, for a microcontroller"),
}
"""Sub-command -> (module with `add_arguments` and `run`, one line of help)."""

EXTRAS = {
    "matplotlib": "train",
    "torch": "train",
    "tqdm": "train",
    "onnx": "export",
    "onnxscript": "export",
    "paho": "mqtt",
}
"""Module that may be missing -> extra that brings it."""


class Parser(argparse.ArgumentParser):
    """Says what is wrong with the arguments in one line, as every other error is said."""

    def error(self, message: str) -> NoReturn:
        """End with status 2."""
        self.exit(2, f"{self.prog}: {_one_line(message)} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    try:
        return _dispatch([a for a in given if a != "--debug"])
    except BrokenPipeError:  # the reader of a pipe has gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except ModuleNotFoundError as error:
        if debug:
            raise
        module = (error.name or str(error)).partition(".")[0]
        package = f"ecg-edge[{EXTRAS[module]}]" if module in EXTRAS else "ecg-edge"
        return _fail(f"this command needs {module}, which is not installed: pip install '{package}'")
    except Exception as error:
        from ecg_edge.firmware_bridge.errors import EcgEdgeError

        if debug:
            raise
        if isinstance(error, EcgEdgeError):
            return _fail(str(error))
        if isinstance(error, OSError) and error.filename:
            return _fail(f"{error.filename}: {error.strerror}")
        return _fail(f"unexpected {type(error).__name__}: {error} (run again with --debug and report it)")


def _dispatch(given: list[str]) -> int:
    if not given or given[0] in ("-h", "--help"):
        print(_help())
        return 0 if given else 2
    if given[0] == "--version":
        print(f"ecg-edge {_version()}")
        return 0
    if given[0] not in COMMANDS:
        from difflib import get_close_matches

        near = get_close_matches(given[0], COMMANDS, 1)
        hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(COMMANDS)}"
        print(f"ecg-edge: no command {given[0]!r}: {hint}", file=sys.stderr)
        return 2
    path, summary = COMMANDS[given[0]]
    module: ModuleType = importlib.import_module(path)
    parser = Parser(
        prog=f"ecg-edge {given[0]}",
        description=module.__doc__ or summary,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        epilog="--debug shows the traceback of an error.",
    )
    module.add_arguments(parser)
    status: int = module.run(parser.parse_args(given[1:]))
    return status


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {summary}" for name, (_, summary) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: ecg-edge COMMAND [...]",
            "",
            "Real-time 12-lead ECG arrhythmia monitor for the edge. Research software, not a medical device.",
            "",
            *lines,
            "",
            "`ecg-edge COMMAND --help` tells about one; `ecg-edge replay demo` needs nothing else. --version, --debug.",
        ]
    )


def _version() -> str:
    try:
        return version("ecg-edge")
    except PackageNotFoundError:
        return "(not installed)"


def _fail(message: str) -> int:
    print(f"ecg-edge: {_one_line(message)}", file=sys.stderr)
    return 1


def _one_line(message: str) -> str:
    return " ".join(message.splitlines())


if __name__ == "__main__":
    sys.exit(main())
