"""The compiled loops against those in NumPy, which say what they have to give."""

import itertools
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecg_edge.firmware_bridge.heart import demo
from ecg_edge.firmware_bridge.recording import Recording
from ecg_edge.runtime import native
from ecg_edge.runtime.bridge import Bridge
from ecg_edge.runtime.conditioning import Conditioner
from ecg_edge.runtime.contact import Contact
from ecg_edge.runtime.contract import Contract
from ecg_edge.runtime.engine import Engine
from ecg_edge.runtime.events import stamp, to_json
from ecg_edge.runtime.filters import BLOCK
from ecg_edge.runtime.policy import load_policy
from ecg_edge.runtime.quality import Quality
from ecg_edge.runtime.rhythm.beats import Beat, BeatDetector
from ecg_edge.runtime.rhythm.fibrillation import (
    LOOK_SAMPLES,
    STEP,
    WINDOW,
    Spectrum,
    _compiled_spectrum,
    _measure,
)
from ecg_edge.runtime.rhythm.filters import GROUP, Filters
from ecg_edge.runtime.rhythm.readable import FLAT_BLOCKS, LOOK_STEP, Readable
from ecg_edge.runtime.rhythm.ventricular import ALIKE, AROUND, MEMORY, SHIFT, Shapes
from ecg_edge.runtime.rhythm.voting import Voting
from ecg_edge.runtime.sources.items import format_of
from ecg_edge.runtime.sources.records import read_recording
from ecg_edge.runtime.stft import Stft

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "runtime" / "native"
HEADERS = Path(sysconfig.get_paths()["include"])
KERNELS = native.kernels
compiled = pytest.mark.skipif(KERNELS is None, reason="the loops are not compiled here")
seeds = st.integers(0, 2**32 - 1)
BOARD = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")


@pytest.fixture(scope="module", params=[2, 4], autouse=True)
def width(request) -> Iterator[int]:
    """Loops for either kind of processor, where this one has them."""
    if KERNELS is None:
        yield 0
        return
    best = KERNELS.width()
    try:
        KERNELS.use(request.param)
    except ValueError:
        pytest.skip(f"this processor has no loops of {request.param} doubles at once")
    yield request.param
    KERNELS.use(best)


@pytest.fixture(params=["compiled", "numpy"])
def either(request, monkeypatch) -> str:
    if request.param == "numpy":
        monkeypatch.setattr(native, "kernels", None)
    elif KERNELS is None:
        pytest.skip("the loops are not compiled here")
    return request.param


@pytest.fixture
def both(monkeypatch) -> Iterator[object]:
    """Two calls: the first lets objects be made of compiled loops, the second of NumPy's."""
    if KERNELS is None:
        pytest.skip("the loops are not compiled here")

    def made(make):
        monkeypatch.setattr(native, "kernels", KERNELS)
        one = make()
        monkeypatch.setattr(native, "kernels", None)
        return one, make()

    return made


def test_they_are_there_where_there_is_a_compiler():
    installed = "site-packages" in native.__file__ or (FOLDER / "_kernels.abi3.so").is_file()
    if not installed or not shutil.which("cc") or not (HEADERS / "Python.h").is_file():
        pytest.skip("no compiler, no headers of Python, or run from sources that are not built")
    assert native.kernels is not None


def test_they_can_be_left_out():
    code = "from ecg_edge.runtime import native; print(native.kernels)"
    environment = {**os.environ, "ECG_EDGE_NATIVE": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "None\n"


@pytest.mark.parametrize("rate", [100, 250, 257, 360, 500, 2000])
@pytest.mark.parametrize(("leads", "size"), [(BOARD, 1e3), (BOARD, 3e6), (("II",), 1e3), (("V1", "II", "I"), 1e3)])
def test_the_front_end_gives_the_same_bits(both, rate, leads, size):
    rng = np.random.default_rng(rate)
    walk = np.cumsum(rng.normal(size=(rate * 7, len(leads))), axis=0) * size / 50
    counts = walk.clip(-(2**23), 2**23 - 1).astype(np.int32)
    invalid = np.zeros(counts.shape, dtype=np.bool_)
    invalid[rate : rate + 40, -1] = True
    given_by = []
    for conditioner in both(lambda: Conditioner(Contract(), rate, 250_000, leads, 50 if rate >= 125 else None, True)):
        parts = [conditioner.push(counts[k : k + 77], invalid[k : k + 77]) for k in range(0, len(counts), 77)]
        parts.append(conditioner.flush())
        fields = [np.concatenate([part[field] for part in parts]) for field in range(4)]
        given_by.append((fields, conditioner.saturated, conditioner.invalid_samples))
    (one, *counted), (other, *others) = given_by
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert counted == others
    assert (counted[0] > 0) == (size > 1e6)


def test_a_converter_at_its_end_of_scale_is_seen(either):
    for value, seen in ((2**23 - 1, True), (-(2**23), True), (2**22, False), (-(2**22), False)):
        bridge = Bridge(3)
        counts = np.zeros((50, 3))
        counts[-1, -1] = value
        bridge.join(counts, None)
        assert (bridge.invalid_samples > 0) == seen


@given(seeds)
@compiled
def test_the_spectrogram_has_the_same_bits(seed):
    rng = np.random.default_rng(seed)
    signal = (rng.normal(size=(rng.integers(1, 13), rng.integers(64, 900))) * 10 ** rng.uniform(-1, 5.5)).clip(
        -32768, 32767
    )
    signal = signal.astype(np.int16)
    signal[rng.integers(len(signal))] = rng.choice([0, 1, -32768, 32767])
    assert np.array_equal(Stft(Contract()).frames(signal), Stft(Contract(), compiled=False).frames(signal))


@given(seeds)
@compiled
def test_a_hop_looks_the_same(seed):
    rng = np.random.default_rng(seed)
    present = np.ones(12, dtype=np.bool_)
    one, other = Quality(Contract(), present), Quality(Contract(), present)
    other._kernels = None
    for _ in range(3):
        signal = (
            (rng.normal(size=(12, 100)) * 10 ** rng.uniform(0, 5, size=(12, 1))).clip(-32767, 32767).astype(np.int16)
        )
        invalid = rng.random(signal.shape) < rng.choice([0, 0.05, 0.2])
        seen, expected = one.push(signal, invalid), other.push(signal, invalid)
        assert all(np.array_equal(a, b) for a, b in zip(seen, expected, strict=True))
        assert one.score == other.score


@given(seeds, st.integers(1, 12))
@compiled
def test_filters_give_the_same_bits(seed, leads):
    rng = np.random.default_rng(seed)
    one, other = Filters(range(leads)), Filters(range(leads))
    other._native = None
    for _ in range(12):
        n = int(rng.integers(1, GROUP + 1))
        blocks = np.rint(rng.normal(size=(n * BLOCK, 12)) * 1e5) + 2**26
        waves = np.zeros((2, leads, n * BLOCK + 3))
        squares = [filters.push(blocks, wave[:, :-3]).copy() for filters, wave in zip((one, other), waves, strict=True)]
        assert np.array_equal(*waves)
        assert np.array_equal(*squares)


@given(seeds, st.integers(1, 12))
@compiled
def test_leads_are_joined_alike(seed, leads):
    rng = np.random.default_rng(seed)
    one, other = KERNELS.Voting(leads), Voting(leads)
    learning = True
    for second in range(12):
        n = int(rng.integers(1, GROUP + 1)) if not learning else 1
        squares = rng.exponential(size=(2, n * BLOCK, leads)) ** 3 * 1e4 * rng.choice([1, 1e-3], size=leads)
        usable = tuple((rng.random(leads) < 0.9).tolist())
        one.push(squares)
        other.push(squares)
        block = 0
        while block < n:
            (alike, told), (blocks, expected) = one.join(block, usable, learning), other.join(block, usable, learning)
            assert alike == blocks
            assert np.allclose(np.frombuffer(told), expected, rtol=1e-9, atol=1e-9)
            assert one.voices == other.voices
            block += blocks
        learning = second < 3
        age = int(rng.integers(0, 320))
        one.beat(age, 0, usable)
        other.beat(age, 0, usable)
        if rng.random() < 0.1:
            one.relearn()
            other.relearn()
        if rng.random() < 0.1:
            one.skip(BLOCK)
            other.skip(BLOCK)


@given(seeds)
@compiled
def test_the_same_beats_are_found(seed):
    rng = np.random.default_rng(seed)
    one, other = KERNELS.BeatDetector(Beat), BeatDetector()
    period, noise = rng.uniform(25, 150), rng.choice([0.02, 0.1, 0.3])
    seconds = np.arange(60 * 100)
    strength = rng.uniform(0.5, 1.2) * np.exp(-(((seconds + rng.uniform(0, 10)) % period - 8) ** 2) / 18)
    strength *= np.repeat(rng.choice([1, 1, 1, 0.6, 0.1], size=120), 50)
    strength += noise * np.abs(rng.normal(size=strength.shape)).round(rng.choice([1, 6]))
    upper, lower = strength * rng.choice([0.9, 0.4], size=strength.shape), strength * 1.1
    end = 0
    while end < len(strength) - 100:
        match rng.integers(20):
            case 0:
                one.skip(BLOCK)
                other.skip(BLOCK)
            case 1:
                one.forget()
                other.forget()
            case 2 if rng.random() < 0.3:
                one.relearn()
                other.relearn()
        blocks = int(rng.integers(1, 3))
        joined = np.concatenate([part[end : end + blocks * BLOCK] for part in (strength, upper, lower)])
        one.take(joined.tobytes())
        other.take(joined.tolist())
        for _ in range(blocks):
            trust = bool(rng.random() < 0.7)
            assert one.walk(BLOCK, trust) == other.walk(BLOCK, trust)
            for name in ("level", "noise", "end", "learning", "settled", "searched"):
                assert getattr(one, name) == getattr(other, name)
        end += blocks * BLOCK


@given(seeds, st.integers(1, 3))
@compiled
def test_windows_measure_the_same(seed, looks):
    rng = np.random.default_rng(seed)
    wave = np.rint(rng.normal(size=(3, 900)) * 2**20)[:, 100 : 100 + WINDOW + (looks - 1) * LOOK_SAMPLES] / 2**10
    assert KERNELS.measure_windows(wave, STEP, WINDOW, LOOK_SAMPLES, looks) == _measure(wave[:, ::STEP], looks)


@compiled
def test_the_same_windows_show_an_oscillation():
    rng = np.random.default_rng(5)
    shown = []
    for _ in range(500):
        seconds = np.arange(WINDOW) / 100
        hz = rng.uniform(1.5, 12, size=(3, 1)) * (1 + rng.choice([0, 0.1]) * np.sin(seconds))
        wave = 300 * np.sin(2 * np.pi * hz * seconds) ** rng.choice([1, 1, 9])
        wave += rng.choice([0, 30, 150, 400]) * rng.normal(size=wave.shape)
        sizes = np.abs(wave[:, ::STEP]).sum(axis=1).tolist()
        leads = [0, 1, 2][int(rng.integers(2)) :]
        arguments = wave, STEP, leads, [sizes[k] for k in leads], int(rng.integers(1, 3))
        expected = Spectrum().most_show_it(*arguments)
        assert _compiled_spectrum().most_show_it(*arguments) == expected
        shown.append(expected)
    assert 100 < sum(shown) < 400


@given(seeds, st.integers(1, 12))
@compiled
def test_columns_span_the_same(seed, leads):
    rng = np.random.default_rng(seed)
    rows = np.rint(rng.normal(size=(FLAT_BLOCKS * BLOCK, leads)) * 1e3)
    one, other = Readable(range(leads)), Readable(range(leads))
    other._kernels = None
    for step in (1, LOOK_STEP):
        assert one._spans(rows, step) == other._spans(rows, step)


@given(seeds)
@compiled
def test_contact_is_lost_alike(seed):
    rng = np.random.default_rng(seed)
    one, other = Contact(500, 1_000_000, BOARD), Contact(500, 1_000_000, BOARD)
    other._kernels = None
    other._period = 500  # nothing is added up beforehand
    told = []
    for second in range(8):
        frames = rng.normal(size=(500, len(BOARD))) * 50 + 4000 * (rng.random(len(BOARD)) < 0.1)
        frames += np.outer(np.sin(2 * np.pi * 50 / 500 * np.arange(500)), 900 * (rng.random(len(BOARD)) < 0.3))
        off = rng.random(frames.shape) < 0.001 if rng.random() < 0.3 else None
        for contact in (one, other):
            for part in np.split(np.arange(500), [125, 250] if second % 2 else []):
                contact.add(frames[part], None if off is None else off[part])
            contact.end_second(second + 1.0)
            told.append(contact.tell(second + 1.0, second + 1.0))
        assert told[-1] == told[-2]


@given(seeds, st.integers(1, 12))
@compiled
def test_shapes_are_compared_and_followed_alike(seed, leads):
    rng = np.random.default_rng(seed)
    template = rng.normal(size=(leads, 2 * AROUND + 1))
    wide = rng.normal(size=(leads, 900))[:, 100 : 100 + 2 * (AROUND + SHIFT) + 1]
    shift = int(rng.integers(0, 2 * SHIFT + 1))
    wide[:, shift : shift + 2 * AROUND + 1] += rng.choice([0, 1, 3]) * template
    usable = tuple((rng.random(leads) < 0.8).tolist())
    reference = Shapes()
    reference._kernels = None
    found = KERNELS.correlation(template, wide, SHIFT, usable, ALIKE)
    assert found == pytest.approx(reference._compare(template, wide, usable), abs=1e-12)
    followed = template.copy()
    KERNELS.blend(template, wide, SHIFT, usable, MEMORY)
    reference._follow(followed, wide, usable)
    assert np.array_equal(template, followed)


class Silent:
    """A model that never finds anything."""

    name = "onnx"

    def __init__(self, classes: int) -> None:
        self._logits = np.full(classes, -9, dtype=np.float32)

    def logits(self, signal, spectrogram):
        return self._logits


def told(recording: Recording, bundle) -> tuple[list[str], list[tuple[float, bool]]]:
    """Return the events as JSON, and the beats, of a stream in chunks of a fifth of a second and a bit."""
    backend = Silent(len(bundle.manifest.classes))
    engine = Engine(bundle, backend, load_policy(), format_of(recording), rules=True, keep_beats=True)
    events, beats, step = [], [], recording.rate // 5 + 1
    for start in range(0, len(recording.counts), step):
        invalid = None if recording.invalid is None else recording.invalid[start : start + step]
        events += engine.push(recording.counts[start : start + step], invalid=invalid)
        beats += engine.take_beats()
    events += engine.finish()
    return [to_json(stamp(event, seq=n)) for n, event in enumerate(events)], [*beats, *engine.take_beats()]


@pytest.fixture(scope="module")
def bundle(tiny_bundle, tmp_path_factory):
    from ecg_edge.runtime.bundle import load

    return load(tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny"))


def test_the_same_is_told_of_the_built_in_signal(both, bundle, monkeypatch):
    one, other = both(lambda: told(demo(), bundle))
    assert one == other
    assert one[1]


# Fibrillation with flutter, a night of artifacts, ventricular beats, a paced heart.
@pytest.mark.parametrize("record", ["vfdb/424", "vfdb/419", "mitdb/203", "mitdb/119"])
def test_the_same_is_told_of_real_records(both, bundle, data_dir, record):
    recording = read_recording(data_dir / record, leads=("II", "V1"))
    one, other = both(lambda: told(recording, bundle))
    assert one[1] == other[1]
    assert one[0] == other[0]
    assert len(one[1]) > 1000


@compiled
@pytest.mark.parametrize(
    "call",
    [
        lambda: KERNELS.within(np.zeros(4), 1.0),
        lambda: KERNELS.within(np.zeros((4, 2), dtype=np.float32), 1.0),
        lambda: KERNELS.within(np.zeros((4, 4))[:, ::2], 1.0),
        lambda: KERNELS.highpass(np.zeros((100, 12)), 64, np.zeros((100, 12), dtype=np.int16), 0, 100),
        lambda: KERNELS.highpass(np.zeros((226, 12)), 63, np.zeros((102, 12), dtype=np.int16), 0, 100),
        lambda: KERNELS.look_at_hop(np.zeros((13, 100), dtype=np.int16), 80, np.zeros((13, 2), dtype=np.int32)),
        lambda: KERNELS.measure_windows(np.zeros((3, 299)), 2, 300, 50, 1),
        lambda: KERNELS.measure_windows(np.zeros((3, 300)), 0, 300, 50, 1),
        lambda: KERNELS.correlation(np.zeros((2, 33)), np.zeros((2, 36)), 2, (True, True), 0.5),
        lambda: KERNELS.correlation(np.zeros((2, 33)), np.zeros((2, 37)), 2, (True,), 0.5),
        lambda: KERNELS.Voting(13),
        lambda: KERNELS.Voting(2).push(np.zeros((2, 30, 2))),
        lambda: KERNELS.Voting(2).join(0, (True, True), False),
        lambda: KERNELS.BeatDetector(Beat).walk(BLOCK, True),
        lambda: KERNELS.BeatDetector(Beat).take(b"123"),
        lambda: KERNELS.Filters(np.zeros(3), np.zeros((4, 10))),
        lambda: KERNELS.Resampler(np.zeros((1, 9)), np.zeros((13, 12)), 1.0, 0.5, 9.0),
        lambda: KERNELS.Resampler(np.zeros((1, 9)), np.zeros((2, 12)), 1.0, 0.5, 9.0).apply(
            np.zeros((20, 2)), np.array([12], dtype=np.int32), np.array([0], dtype=np.int32), np.zeros((1, 12))
        ),
        lambda: KERNELS.Resampler(np.zeros((1, 9)), np.zeros((2, 12)), 1.0, 0.5, 9.0).apply(
            np.zeros((20, 2)), np.array([1], dtype=np.int32), np.array([1], dtype=np.int32), np.zeros((1, 12))
        ),
        lambda: Stft(Contract())._compiled.frames(
            np.zeros((2, 70), dtype=np.int16), np.zeros((2, 3, 33), dtype=np.uint8)
        ),
    ],
)
def test_arrays_that_do_not_fit_are_refused(call):
    with pytest.raises(ValueError, match=r"sizes do not belong together|expected an array"):
        call()


@compiled
def test_loops_that_the_processor_lacks_are_refused(width):
    for other in (0, 3, 8):
        with pytest.raises(ValueError, match="no loops"):
            KERNELS.use(other)
    assert KERNELS.width() == width


@compiled
def test_tuples_of_another_kind_are_refused():
    voting = KERNELS.Voting(2)
    voting.push(np.zeros((2, BLOCK, 2)))
    for arguments in itertools.product((None, "0"), ([True, True], None)):
        with pytest.raises((TypeError, ValueError)):
            voting.join(*arguments, False)


SANITIZED = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("ecg_edge.runtime.native._kernels", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
import ecg_edge.runtime.native as native
native.kernels = module
module.use(int(sys.argv[4]))
sys.path.insert(0, sys.argv[2])
import numpy as np
from ecg_edge.firmware_bridge.heart import demo
from ecg_edge.runtime.bundle import load
from tests.runtime.test_native import told
events, beats = told(demo(), load(sys.argv[3]))
assert len(beats) > 10, len(beats)
"""


def test_neither_memory_nor_arithmetic_is_misused(bundle, tmp_path, width):
    compiler = shutil.which("gcc")
    if compiler is None or not (HEADERS / "Python.h").is_file():
        pytest.skip("gcc or the headers of Python are missing")
    sanitizer = subprocess.run([compiler, "-print-file-name=libasan.so"], capture_output=True, text=True).stdout.strip()
    if not Path(sanitizer).is_file():
        pytest.skip("gcc has no address sanitizer here")
    library = tmp_path / "_kernels.so"
    flags = ["-std=c99", "-O1", "-g", "-Wall", "-Wextra", "-Wconversion", "-Wno-cast-function-type", "-Werror"]
    flags += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    sources = sorted(map(str, FOLDER.glob("*.c")))
    command = [compiler, *flags, "-shared", "-fPIC", f"-I{HEADERS}", *sources, "-o", str(library), "-lm"]
    subprocess.run(command, check=True)
    environment = {**os.environ, "LD_PRELOAD": sanitizer, "ASAN_OPTIONS": "detect_leaks=0"}
    run = [sys.executable, "-c", SANITIZED, str(library), str(ROOT), str(bundle.folder), str(width or 2)]
    done = subprocess.run(run, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
