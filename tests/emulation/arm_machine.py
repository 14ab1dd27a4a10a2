"""A 64-bit Arm machine without the machine: Debian's Python for arm64 in a folder, run by QEMU's user mode.

Nothing is installed and nothing needs root: apt keeps its state in the folder, packages and wheels are unpacked there.
"""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from sysconfig import get_paths

from ecg_edge.firmware_bridge.errors import EcgEdgeError

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("firmware_bridge", "runtime", "train", "export", "pyproject.toml", "README.md", "LICENSE")
"""What the wheel is built from."""
TOOLS = {"qemu-aarch64-static": "qemu-user-static", "apt-get": "apt", "dpkg-deb": "dpkg"}
"""Programs that are needed, and the Debian package of each."""
DEBIAN_PACKAGES = ("python3", "libstdc++6", "libgomp1", "zlib1g")
"""What the wheels and the package run on; apt adds what these need."""
NEEDED = ("numpy", "onnxruntime", "pyserial")
WHERE_INSTALLED = ("ai-edge-litert",)
"""Runtimes of bundles that are compared where this Python has them."""
CROSS_COMPILER = "aarch64-linux-gnu-gcc"
"""Makes the compiled loops for Arm, where it is there; otherwise NumPy does their work on that side."""
LOOPS = Path("ecg_edge") / "runtime" / "native"
GLIBC_MINOR = 36  # Debian 12's, the oldest with a Python that the package runs on
PLATFORMS = ("manylinux2014_aarch64", *(f"manylinux_2_{minor}_aarch64" for minor in range(17, GLIBC_MINOR + 1)))
"""Tags of wheels that such a machine takes; pip wants each by name."""


class EmulationError(EcgEdgeError):
    """The emulated machine cannot be made or does not run."""


@dataclass(frozen=True)
class Processor:
    """A processor that QEMU imitates, and what Linux says of it on a real board."""

    name: str
    """As QEMU's -cpu takes it."""
    part: str
    """Arm's part number in /proc/cpuinfo."""
    variant: str
    revision: int
    features: str

    def cpuinfo(self) -> str:
        """Return its /proc/cpuinfo, one entry for each processor of this machine."""
        entry = (
            f"BogoMIPS\t: 108.00\nFeatures\t: {self.features}\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
            f"CPU variant\t: {self.variant}\nCPU part\t: {self.part}\nCPU revision\t: {self.revision}\n\n"
        )
        return "".join(f"processor\t: {n}\n{entry}" for n in range(os.cpu_count() or 1))


PROCESSORS = (
    Processor("cortex-a72", "0xd08", "0x0", 3, "fp asimd evtstrm crc32 cpuid"),  # Raspberry Pi 4
    Processor(  # Raspberry Pi 5
        "cortex-a76",
        "0xd0b",
        "0x4",
        1,
        "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp",
    ),
)


def packages() -> list[str]:
    """Return this Python's versions of what the device part needs, as requirements: the other side gets the same.

    Raises EmulationError where one is missing.
    """
    found = []
    for name in (*NEEDED, *WHERE_INSTALLED):
        try:
            found.append(f"{name}=={version(name)}")
        except PackageNotFoundError:
            if name in NEEDED:
                raise EmulationError(f"this Python has no {name}: run {sys.executable} -m pip install .") from None
    return found


@dataclass(frozen=True)
class ArmMachine:
    """Debian's arm64 Python in a folder; `prepare` fills it."""

    folder: Path
    """Keeps downloads between runs."""

    @property
    def prefix(self) -> Path:
        """Root of its file system."""
        return self.folder / "prefix"

    @property
    def site(self) -> Path:
        """Folder of its wheels, unpacked."""
        return self.folder / "site"

    @property
    def own(self) -> Path:
        """Folder of ecg-edge, from its wheel; both machines run this one."""
        return self.folder / "ecg-edge"

    @property
    def python(self) -> Path:
        """Its interpreter; raises EmulationError where there is none that the package runs on."""
        found = [self.prefix / "usr" / "bin" / f"python3.{minor}" for minor in (11, 12, 13)]
        for path in filter(Path.is_file, found):
            return path
        raise EmulationError("these Debian sources have no Python 3.11 to 3.13 for arm64: use Debian 12 or later")

    def prepare(self) -> None:
        """Download what is not there yet and unpack it; raises EmulationError."""
        for tool, package in TOOLS.items():
            if shutil.which(tool) is None:
                raise EmulationError(f"no {tool} on this machine: run apt-get install {package} as root")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._debian()
        self._wheels(packages())
        self._wheel_of_ours()

    def command(self, processor: Processor, script: Path, *arguments: str) -> list[str]:
        """Return the command that runs a Python script on a processor, which the machine has from then on."""
        # A cpuinfo of the host, or of another processor, makes ONNX Runtime and LiteRT crash on instructions not there.
        proc = self.prefix / "proc"
        proc.mkdir(exist_ok=True)
        (proc / "cpuinfo").write_text(processor.cpuinfo())
        qemu = ("qemu-aarch64-static", "-cpu", processor.name, "-L", str(self.prefix))
        return [*qemu, str(self.python), str(script), *arguments]

    def environment(self) -> dict[str, str]:
        """Return the environment of its processes: nothing of this machine's Python."""
        return {
            "PYTHONHOME": str(self.prefix / "usr"),
            "PYTHONPATH": os.pathsep.join(map(str, (self.own, self.site))),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
        }

    def _debian(self) -> None:
        done = self.prefix / "complete"
        if done.exists():
            return
        shutil.rmtree(self.prefix, ignore_errors=True)
        apt = self.folder / "apt"
        for path in ("state/lists/partial", "cache/archives/partial"):
            (apt / path).mkdir(parents=True, exist_ok=True)
        (apt / "status").write_text("")  # nothing is installed there, so apt fetches all that is needed
        settings = {
            "APT::Architecture": "arm64",
            "APT::Architectures": "arm64",
            "Dir::State": str(apt / "state"),
            "Dir::State::status": str(apt / "status"),
            "Dir::Cache": str(apt / "cache"),
            "APT::Sandbox::User": "root",  # no change of user: the folder may be closed to others
            "Debug::NoLocking": "1",
        }
        get = ["apt-get", "-qq", *(word for key, value in settings.items() for word in ("-o", f"{key}={value}"))]
        run([*get, "update"], "apt-get update for arm64")
        fetch = ("install", "--yes", "--download-only", "--no-install-recommends")
        run([*get, *fetch, *DEBIAN_PACKAGES], "fetching Debian's arm64 packages")
        self.prefix.mkdir()
        for package in sorted((apt / "cache" / "archives").glob("*.deb")):
            run(["dpkg-deb", "--extract", str(package), str(self.prefix)], f"unpacking {package.name}")
        if not (self.prefix / "lib").exists():  # base-files makes this link where /usr is merged
            (self.prefix / "lib").symlink_to("usr/lib")
        done.touch()

    def _wheels(self, requirements: Sequence[str]) -> None:
        wheels = self.folder / "wheels"
        wanted = json.dumps([*requirements, self.python.name])
        list_file = wheels / "requirements.json"
        if list_file.is_file() and list_file.read_text() == wanted:
            return
        for folder in (wheels, self.site):
            shutil.rmtree(folder, ignore_errors=True)
        platforms = [word for tag in PLATFORMS for word in ("--platform", tag)]
        target = ("--implementation", "cp", "--python-version", self.python.name.removeprefix("python"))
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", "--dest", str(wheels))
        run([*pip, *target, *platforms, *requirements], "fetching wheels for aarch64")
        for wheel in sorted(wheels.glob("*.whl")):
            zipfile.ZipFile(wheel).extractall(self.site)
        list_file.write_text(wanted)

    def _wheel_of_ours(self) -> None:
        tree, built = self.folder / "source", self.folder / "built"
        for folder in (tree, built, self.own):
            shutil.rmtree(folder, ignore_errors=True)
        tree.mkdir()
        for name in SOURCES:  # a copy, since a build folder that lies about would be packed as well
            source = ROOT / name
            (shutil.copytree if source.is_dir() else shutil.copy2)(source, tree / name)
        pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(built), str(tree))
        run(pip, "building the wheel of ecg-edge")
        (wheel,) = built.glob("*.whl")
        zipfile.ZipFile(wheel).extractall(self.own)
        self._loops()

    def _loops(self) -> None:
        """Compile the loops for Arm, beside those for this machine, by a name that only that Python looks for."""
        if shutil.which(CROSS_COMPILER) is None:
            return
        folder = self.own / LOOPS
        suffix = f".cpython-{self.python.name.removeprefix('python').replace('.', '')}-aarch64-linux-gnu.so"
        flags = ("-std=c99", "-O3", "-ffp-contract=off", "-shared", "-fPIC", f"-I{get_paths()['include']}")
        sources = map(str, sorted(folder.glob("*.c")))
        target = str(folder / f"_kernels{suffix}")
        run([CROSS_COMPILER, *flags, *sources, "-o", target, "-lm"], "compiling the loops for Arm")


def run(command: Sequence[str], what: str, environment: dict[str, str] | None = None) -> str:
    """Run a command and return its standard output; raises EmulationError with the last line that it said."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace")
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"exit status {done.returncode}"
        raise EmulationError(f"{what} failed with {how} ({said}): mend that and run this again")
    return done.stdout
