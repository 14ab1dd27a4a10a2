"""Adapters of other boards: bytes by their published formats, damage, any input, and a recording there and back."""

import re
import threading
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecg_edge.firmware_bridge.boards.board import Board
from ecg_edge.firmware_bridge.boards.choose import BOARDS, Choice
from ecg_edge.firmware_bridge.continuity import FrameTracker
from ecg_edge.firmware_bridge.device import device_model, play
from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.firmware_bridge.faults import Faults
from ecg_edge.firmware_bridge.heart import Episode, simulate
from ecg_edge.firmware_bridge.leads import MEASURED_LEADS
from ecg_edge.firmware_bridge.protocol import Hello, Packet, Samples, Start, Stop
from ecg_edge.firmware_bridge.recording import COUNT_LIMIT, Recording

OTHERS = [name for name in BOARDS if name != "native"]


def board(text: str) -> Board:
    return Choice.parse(text).board()


def samples(packets: list[Packet]) -> list[Samples]:
    return [p.message for p in packets if isinstance(p.message, Samples)]


def rows(packets: list[Packet]) -> list[list[int]]:
    return [row for message in samples(packets) for row in message.counts.tolist()]


# OpenBCI Cyton ---------------------------------------------------------------------------------------------------
# By "Cyton Data Format": A0, sample number, 8 x 24 bits MSB first, six bytes of AUX, footer CX.

CODES = "7FFFFF 000001 000000 FFFFFF 800000 123456 EDCBAA 00FF00"
COUNTS = [8388607, 1, 0, -1, -8388608, 1193046, -1193046, 65280]


def cyton(number: int, footer: int = 0xC0, codes: str = CODES) -> bytes:
    return bytes([0xA0, number]) + bytes.fromhex(codes) + bytes.fromhex("0102 0304 0506") + bytes([footer])


def test_cyton_frame_by_its_documentation() -> None:
    found = board("cyton").feed(b"".join(cyton(k) for k in range(3)))
    hello = found[0].message
    assert isinstance(hello, Hello)
    assert hello.rate == 250
    assert hello.pv_per_lsb == 22352, "0.02235 microvolts a count at gain 24"
    assert rows(found) == [COUNTS] * 3
    assert [p.time_us for p in found] == [0, 0]


@pytest.mark.parametrize("footer", range(0xC0, 0xC7))
def test_cyton_with_any_of_its_footers(footer: int) -> None:
    assert len(rows(board("cyton").feed(cyton(0, footer) + cyton(1)))) == 2


def test_cyton_at_another_gain() -> None:
    hello = board("cyton:gain=12,rate=500").feed(cyton(0) + cyton(1))[0].message
    assert isinstance(hello, Hello)
    assert (hello.rate, hello.pv_per_lsb) == (500, round(4.5e12 / 12 / 8388607))


def test_cyton_banner_and_a_start_midway() -> None:
    device = board("cyton")
    data = b"OpenBCI V3 8-16 channel\nOn Board ADS1299 Device ID: 0x3E\n$$$" + cyton(7)[20:] + cyton(8) + cyton(9)
    assert len(rows(device.feed(data))) == 2
    counters = device.counters()
    assert counters["resync_bytes"] == len(data) - 66
    assert counters["missing"] == 0


def test_cyton_counter_tells_what_is_missing_and_wraps() -> None:
    device, tracker = board("cyton"), FrameTracker()
    numbers = [253, 254, 255, 0, 1, 5, 6, 6, 7]
    frames = [cyton(n, codes=f"{k:06x}" * 8) for k, n in enumerate(numbers)]
    frames[7] = frames[6]
    out = [tracker.push(p) for f in [*frames, cyton(8)] for p in device.feed(f)]
    counters = device.counters()
    assert (counters["gaps"], counters["missing"], counters["duplicates"], counters["late"]) == (1, 3, 1, 0)
    assert sum(f.missing_before for f in out if f is not None) == tracker.counters.lost == 3


def test_cyton_frame_that_lost_a_byte_costs_itself() -> None:
    device = board("cyton")
    frames = [cyton(k) for k in range(20)]
    frames[10] = frames[10][:15] + frames[10][16:]
    assert len(rows(device.feed(b"".join(frames)))) == 19
    counters = device.counters()
    assert (counters["bad_frames"], counters["missing"], counters["resync_bytes"]) == (1, 1, 32)


def test_cyton_late_frame_is_dropped_and_counted() -> None:
    device = board("cyton")
    got = rows(device.feed(b"".join(cyton(k) for k in (0, 1, 3, 2, 4, 5))))
    assert len(got) == 5
    assert device.counters()["late"] == 1
    assert device.counters()["missing"] == 1


def test_cyton_is_started_and_stopped_by_letters() -> None:
    assert board("cyton").command(Start()) == b"b"
    assert board("cyton").command(Stop()) == b"s"


# ADS129x ---------------------------------------------------------------------------------------------------------
# By the data sheet (SBAS459): 1100, LOFF_STATP[7:0], LOFF_STATN[7:0], GPIO[7:4], then the channels.

STATUS = "C8 14 2A"  # 1100 1000 0001 0100 0010 1010: P 1000 0001, N 0100 0010, GPIO 1010
ADS = bytes.fromhex(STATUS + CODES)


def test_ads129x_frame_by_its_data_sheet() -> None:
    found = board("ads129x").feed(ADS * 5)
    hello = found[0].message
    assert isinstance(hello, Hello)
    assert (hello.rate, hello.pv_per_lsb) == (500, 47684)
    assert rows(found) == [COUNTS] * 4, "a frame is believed once the next one begins where it should"
    assert {m.lead_off for m in samples(found)} == {0}, "no sensing is enabled as the converter starts"


@pytest.mark.parametrize(
    ("sens", "mask"),
    [("sens_p=0xFF,sens_n=0xFF", 0b11000011), ("sens_p=0x0F,sens_n=0xF0", 0b01000001), ("sens_p=255", 0b10000001)],
)
def test_ads129x_lead_off_of_enabled_inputs_only(sens: str, mask: int) -> None:
    assert {m.lead_off for m in samples(board(f"ads129x:{sens}").feed(ADS * 6))} == {mask}


@pytest.mark.parametrize("channels", [4, 6])
def test_ads129x_with_fewer_channels(channels: int) -> None:
    frame = ADS[: 3 + 3 * channels]
    found = board(f"ads129x:channels={channels},gain=1,vref=4").feed(frame * 6)
    assert rows(found) == [COUNTS[:channels]] * 5
    hello = found[0].message
    assert isinstance(hello, Hello)
    assert hello.pv_per_lsb == round(4e12 / 8388607)


def test_ads129x_slips_and_falls_in_step_again() -> None:
    device = board("ads129x")
    quiet = bytes.fromhex("C00000" + "000001" * 8)
    data = quiet * 20
    cut = data[: 27 * 7 + 5] + data[27 * 7 + 6 :]
    got = rows(device.feed(cut))
    assert all(row == [1] * 8 for row in got)
    assert len(got) == 18, "one is damaged, one waits for its next"
    counters = device.counters()
    assert (counters["bad_frames"], counters["missing"], counters["resync_bytes"]) == (1, 1, 26)


# ProtoCentral ----------------------------------------------------------------------------------------------------
# By the sketch healthypi3_streaming: 0A FA, 14 00, 02, ECG, respiration (little-endian), ..., lead status, 00 0B.


def healthypi(ecg: str, status: int) -> bytes:
    rest = "3412" + "11223344" + "55667788" + "DC0E" + "10" + "62" + "48" + "50" + "00"
    return bytes.fromhex("0AFA 1400 02" + ecg + rest) + bytes([status]) + bytes.fromhex("000B")


def test_healthypi_packet_by_its_sketch() -> None:
    assert len(healthypi("0000", 0)) == 27
    found = board("protocentral").feed(healthypi("0100", 0) + healthypi("FFFF", 2) + healthypi("0000", 1))
    assert [m.counts.ravel().tolist() for m in samples(found)] == [[1, -1], [0]]
    assert [m.lead_off for m in samples(found)] == [0, 1], "bit 0 is the ECG's; bit 1 is the finger probe's"
    hello = found[0].message
    assert isinstance(hello, Hello)
    assert (hello.rate, hello.leads) == (125, (None,))
    assert hello.pv_per_lsb == pytest.approx(6.154e6, rel=1e-3), "2.42 V / 12 / (2^23 - 1), 256 of them"


def test_protocentral_packet_of_2026() -> None:
    def packet(*values: int) -> bytes:
        payload = b"".join(v.to_bytes(2, "little", signed=True) for v in values)
        return b"\x0a\xfa\x08\x00\x02" + payload + b"\x00\x0b"

    found = board("protocentral").feed(packet(300, -5, 72, 15) + packet(0, 0, 0, 0) + packet(-300, 0, 72, 15))
    assert [(m.counts.ravel().tolist(), m.lead_off) for m in samples(found)] == [([300], 0), ([0], 1), ([-300], 0)]


def test_protocentral_text_and_cut_packets_are_skipped() -> None:
    device = board("protocentral")
    good = healthypi("6400", 0)
    data = b"Initiliziation is done\r\n" + good[9:] + good * 3 + good[:13] + good[14:] + good * 2
    assert rows(device.feed(data)) == [[100]] * 5
    counters = device.counters()
    assert counters["missing"] == 1, "as many as the skipped bytes would have been"
    assert counters["resync_bytes"] == 24 + 18 + 26


# Lines of numbers ------------------------------------------------------------------------------------------------


def test_lines_with_a_heading() -> None:
    data = b"lf a line\n# rate=250 uv=4.44 leads=I,V1\r\n512,-498\r\n!,3\r\n512;1\n512\t1.5\n 7  8 \n!\nnan,1\n"
    found = board("csv").feed(data)
    assert found[0].message == Hello(250, 100_000, ("I", "V1"), "lines of numbers")
    assert rows(found) == [
        [22733, -22111],
        [0, 133],
        [22733, 44],
        [22733, 67],
        [311, 355],
        [0, 0],
        [0, 44],
    ], "in tenths of a microvolt"
    assert [m.lead_off for m in samples(found) for _ in m.counts] == [0, 1, 0, 0, 0, 3, 1]


def test_lines_whose_user_says_rate_and_unit() -> None:
    found = board("csv:rate=100,uv=1000").feed(b"12\nI,II\n1,2\n0.5,-0.25\n")
    assert found[0].message == Hello(100, 100_000, ("I", "II"), "lines of numbers")
    assert rows(found) == [[10_000, 20_000], [5000, -2500]]


def test_lines_of_unknown_rate_give_nothing() -> None:
    assert board("csv").feed(b"\n" + b"512\n" * 100) == []
    assert board("csv:rate=100").feed(b"\n" + b"512\n" * 100) == []


def test_lines_that_are_none_are_counted() -> None:
    device = board("csv:rate=100,uv=1")
    device.feed(b"\n1,2\n1\n1,2,3\nhello\n1,x\n3,4\n" + b"5" * 600 + b"\n5,6\n")
    counters = device.counters()
    assert (counters["packets"], counters["bad_frames"]) == (3, 5)


# What the documentation says of them ------------------------------------------------------------------------------


def test_the_documents_tables_are_the_adapters() -> None:
    document = (Path(__file__).resolve().parents[2] / "docs" / "boards.md").read_text()
    table = document.partition("| `--board` |")[2].partition("\n\n")[0]
    bauds = {name: int(baud) for name, baud in re.findall(r"^\| `(\w+)` \|.*\| (\d+) \| [^|]*\|$", table, re.MULTILINE)}
    assert bauds == {name: board(name).baud for name in BOARDS}
    table = document.partition("| board | settings |")[2].partition("\n\n")[0]
    for name, text in re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.MULTILINE):
        default = Choice.parse(name).settings
        assert default is not None
        assert set(re.findall(r"`(\w+)`", text)) == {f.name for f in fields(default)}
        for key, value in re.findall(r"`(\w+)`[^`(,;]* \(([\d.]+)", text):
            assert getattr(default, key) == float(value)


# All of them -----------------------------------------------------------------------------------------------------


def sent_by(name: str, recording: Recording, faults: Faults | None = None) -> bytes:
    choice = Choice.parse(name)
    out: list[bytes] = []
    model = device_model(choice.digitized(recording), 10, None, faults or Faults(), choice.voice())
    play(model, out.append, threading.Event())
    return b"".join(out)


def ecg(leads: tuple[str, ...], rate: int) -> Recording:
    return simulate([Episode("sinus rhythm", 6)], rate=rate, seed=3, leads=leads).recording


@pytest.mark.parametrize(
    ("name", "leads", "rate"),
    [
        ("cyton", MEASURED_LEADS, 250),
        ("cyton:gain=6", ("II", "V1"), 250),
        ("ads129x", MEASURED_LEADS, 500),
        ("ads129x:channels=4,rate=250", ("I", "II"), 250),
        ("protocentral", ("II",), 125),
        ("csv", ("I", "II", "V1"), 250),
    ],
)
@pytest.mark.parametrize("cut", [7, 4096])
def test_a_recording_there_and_back(name: str, leads: tuple[str, ...], rate: int, cut: int) -> None:
    recording = ecg(leads, rate)
    data = sent_by(name, recording)
    if name.startswith("csv"):
        data = b"\n" + data
    device = board(name)
    found = [p for k in range(0, len(data), cut) for p in device.feed(data[k : k + cut])]
    hello = found[0].message
    assert isinstance(hello, Hello)
    assert hello.rate == rate
    got = np.array(rows(found)) * (hello.pv_per_lsb / 1e6)
    expected = recording.counts * (recording.pv_per_lsb / 1e6)
    lag = len(expected) - len(got)
    assert lag in (0, 1), "an ADS129x frame waits for its next"
    step = max(hello.pv_per_lsb, recording.pv_per_lsb) / 1e6
    assert np.abs(got[:, : len(leads)] - expected[: len(got)]).max() <= step
    tracker = FrameTracker()
    for packet in found:
        tracker.push(packet)
    assert (tracker.counters.lost, tracker.counters.restarts, tracker.counters.stale) == (0, 0, 0)


@pytest.mark.parametrize("name", ["cyton", "ads129x:rate=250,sens_p=255"])
def test_lead_off_is_told_by_boards_that_can_and_a_rail_by_the_others(name: str) -> None:
    recording = simulate([Episode("sinus rhythm", 6)], rate=250, lead_off=[("V2", 2, 4)]).recording
    found = samples(board(name).feed(sent_by(name, recording)))
    off = np.concatenate([np.repeat(m.off[None], len(m.counts), 0) for m in found])[:, 3]
    rail = np.concatenate([m.counts for m in found])[:, 3] == COUNT_LIMIT
    assert rail[500:1000].all()
    assert not rail[:500].any()
    assert np.array_equal(off, rail if name.startswith("ads") else np.zeros(len(off), bool))


@pytest.mark.parametrize("name", OTHERS)
@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_no_bytes_raise_and_memory_is_bounded(name: str, data: st.DataObject) -> None:
    make: Callable[[], Board] = lambda: board(name + (":rate=250,uv=1" if name == "csv" else ""))  # noqa: E731
    pieces = st.sampled_from([cyton(1), ADS, healthypi("0100", 0), b"1,2\n", b"# rate=9 uv=x leads=Q\n", b"\xa0" * 50])
    chunks = data.draw(st.lists(st.one_of(st.binary(max_size=120), pieces), max_size=12))
    device, whole = make(), make()
    tracker = FrameTracker()
    found = []
    for chunk in chunks:
        for packet in device.feed(chunk):
            found.append(packet)
            tracker.push(packet)
        assert 0 <= device.pending() <= 700
    assert rows(found) == rows(whole.feed(b"".join(chunks))), "however it is cut"
    assert device.counters() == whole.counters()
    assert device.counters()["bytes"] == sum(map(len, chunks))
    assert tracker.counters.frames == device.counters()["packets"]
    device.resume()
    assert device.pending() == 0


@pytest.mark.parametrize("name", ["cyton", "ads129x:rate=250", "protocentral:rate=250", "csv"])
def test_of_frames_of_which_some_are_garbled_the_others_come(name: str) -> None:
    """A garbled byte goes unnoticed without a checksum; what is lost of the framing costs its frame, not the next."""
    recording = ecg(("II",), 250)
    clean = rows(board(name).feed(b"\n" + sent_by(name, recording)))
    damaged = rows(board(name).feed(b"\n" + sent_by(name, recording, Faults(flip=0.02, seed=4))))
    assert 0.9 * len(clean) < len(damaged) <= len(clean)


@pytest.mark.parametrize("name", OTHERS)
def test_a_link_that_is_opened_again_begins_another_run(name: str) -> None:
    device = board("csv:rate=250,uv=1" if name == "csv" else name)
    rate = {"cyton": 250, "ads129x": 500, "protocentral": 125, "csv": 250}[name]
    data = b"\n" + sent_by(name, ecg(("II",), rate))
    tracker = FrameTracker()
    for packet in device.feed(data):
        tracker.push(packet)
    device.resume()
    restarted = [f.restarted for p in device.feed(data) if (f := tracker.push(p)) is not None]
    assert restarted[0]
    assert not any(restarted[1:])
    assert tracker.counters.restarts == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("cytom", "unknown board 'cytom': use native, ads129x, cyton, protocentral, csv"),
        ("cyton:gian=3", "board cyton has no setting 'gian': use gain, rate"),
        ("cyton:gain=five", "setting 'gain=five' of board cyton is no number"),
        ("cyton:gain=5", "a Cyton has no gain 5"),
        ("ads129x:channels=3", "use 4, 6 or 8"),
        ("ads129x:vref=99", "not possible"),
        ("ads129x:sens_p=256", "0 to 0xFF"),
        ("protocentral:gain=5", "no gain 5"),
        ("csv:uv=-1", "use numbers above 0"),
        ("native:rate=5", "board native has no setting 'rate': use none"),
    ],
)
def test_a_board_that_is_not_there(text: str, says: str) -> None:
    with pytest.raises(EcgEdgeError, match=says):
        Choice.parse(text)


def test_a_recording_that_a_board_cannot_have_made() -> None:
    with pytest.raises(EcgEdgeError, match=r"has 500 Hz, a cyton sends 250.*--board cyton:rate=500"):
        Choice.parse("cyton").digitized(ecg(("II",), 500))
    with pytest.raises(EcgEdgeError, match="8 leads, a protocentral 1"):
        Choice.parse("protocentral").digitized(ecg(MEASURED_LEADS, 125))
