"""What is found on a wire, and the figures of it: nothing is left out and nothing counted twice."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecg_edge.firmware_bridge.boards.native import Native
from ecg_edge.firmware_bridge.capture import Arrival
from ecg_edge.firmware_bridge.decoder import PacketDecoder
from ecg_edge.firmware_bridge.decoder_bench import measure
from ecg_edge.firmware_bridge.dissection import Found, dissect
from ecg_edge.firmware_bridge.faults import Faults
from ecg_edge.firmware_bridge.heart import demo
from ecg_edge.firmware_bridge.link_stats import LinkStats
from ecg_edge.firmware_bridge.packetize import packetize
from ecg_edge.firmware_bridge.protocol import MAX_PACKET, Samples
from ecg_edge.firmware_bridge.recording import Recording

COUNTS = np.random.default_rng(1).integers(-(2**23), 2**23, (3000, 2), dtype=np.int32)
RECORDING = Recording("random", 500, ("I", "II"), COUNTS, 1_000_000)
PACKETS = list(packetize(RECORDING))


def found_in(data: bytes, cuts: list[int] | None = None) -> list[Found]:
    bounds = [0, *sorted(min(c, len(data)) for c in cuts or []), len(data)]
    return list(dissect((Arrival(data[a:b], float(a)) for a, b in pairwise(bounds)), Native()))


PIECES = st.one_of(
    st.sampled_from(PACKETS[:20]),
    st.binary(max_size=40),
    st.sampled_from([b"\0", b"\0\0", b"\x01" * (MAX_PACKET + 5), b"\x01" * 2 * MAX_PACKET]),
)


@given(st.lists(PIECES, max_size=10), st.lists(st.integers(0, 20_000), max_size=10))
def test_every_byte_is_told_once_and_every_packet_in_its_place(pieces: list[bytes], cuts: list[int]) -> None:
    data = b"".join(pieces) + b"\0"
    found = found_in(data, cuts)
    told = sum(f.size for f in found)
    assert told <= len(data)
    assert len(data) - told <= data.count(0), "zeros between packets mean nothing"
    decoder = PacketDecoder()
    assert [f.packet for f in found if f.packet is not None] == decoder.feed(data)
    counted: dict[str, int] = {}
    for f in found:
        for name, n in f.counted.items():
            counted[name] = counted.get(name, 0) + n
    expected = {k: n for k, n in vars(decoder.counters).items() if n and k not in ("bytes", "packets")}
    assert {k: n for k, n in counted.items() if n} == expected


def test_a_packet_has_the_bytes_that_the_line_carried() -> None:
    found = found_in(b"".join(PACKETS), list(range(0, 60_000, 77)))
    assert [f.size for f in found] == [len(p) for p in PACKETS]
    assert all(f.head == p[:16] and not f.counted for f, p in zip(found, PACKETS, strict=True))


def test_damage_is_told_where_it_is() -> None:
    garbled = bytearray(PACKETS[5])
    garbled[20] ^= 1 if garbled[20] != 1 else 2
    found = found_in(b"".join([*PACKETS[:5], bytes(garbled), *PACKETS[6:9], PACKETS[8], PACKETS[9]]))
    assert [f.packet is None for f in found] == [*[False] * 5, True, False, False, False, True, False]
    assert sum(found[5].counted.values()) == 1
    assert found[6].counted == {"gaps": 1, "missing": 1}
    assert found[9].counted == {"duplicates": 1}


# Figures ---------------------------------------------------------------------------------------------------------


def report_of(packets: list[bytes], times: list[float] | None = None, baud: int | None = None) -> dict[str, Any]:
    board = Native()
    stats = LinkStats(board, baud)
    arrivals = (Arrival(p, None if times is None else times[k]) for k, p in enumerate(packets))
    for found in dissect(arrivals, board):
        stats.add(found)
    return stats.report()


def test_figures_of_a_clean_capture() -> None:
    report = report_of(PACKETS, baud=921_600)
    assert report["packets"] == {"HELLO": 1, "SAMPLES": 300, "STATUS": 7}
    assert report["frames"] == 3000
    assert set(report["losses"].values()) == {0}
    assert (report["seconds"], report["seconds_by"]) == (6.0, "device")
    size = sum(map(len, PACKETS))
    assert report["bytes_per_s"] == pytest.approx(size / 6, abs=0.1)
    assert report["baud_share"] == pytest.approx(size / 6 * 10 / 921_600, abs=1e-4)
    assert report["format"]["leads"] == ["I", "II"]
    assert report["device"]["state"] == "ended"
    assert "arrival" not in report
    assert "clock" not in report


def test_figures_of_a_bad_cable_add_up() -> None:
    faults = Faults(drop=0.05, flip=0.05, duplicate=0.05, seed=3)
    sent = [PACKETS[0], *faults.inject(PACKETS[1:-3]), *PACKETS[-3:]]  # the last frames show what is missing before
    report = report_of(sent)
    losses = report["losses"]
    assert report["frames"] + losses["frames_lost"] == 3000
    assert losses["link_duplicates"] > 5
    assert losses["link_missing"] > 20
    bad = losses["link_bad_crc"] + losses["link_bad_cobs"] + losses["link_bad_header"]
    assert bad > 5
    assert 5 * 30 < losses["link_resync_bytes"] < 30 * 200


def test_clock_and_jitter_of_arrivals() -> None:
    rng = np.random.default_rng(2)
    late = rng.exponential(0.003, len(PACKETS))
    samples = 0
    times = []
    for packet in PACKETS:
        samples += isinstance(PacketDecoder().feed(packet)[0].message, Samples)
        times.append(50 + samples * 0.02 / (1 + 300e-6) + float(late[len(times)]))
    report = report_of(PACKETS, sorted(times))
    assert report["seconds_by"] == "host"
    assert report["clock"]["drift_ppm"] == pytest.approx(300, abs=60)
    assert report["arrival"]["jitter_ms"]["p50"] == pytest.approx(3 * np.log(2), rel=0.5)
    assert 0.02 < report["arrival"]["longest_silence_s"] < 0.1


def test_a_second_run_of_the_device_starts_its_clock_anew() -> None:
    times = [k * 0.02 for k in range(2 * len(PACKETS))]
    report = report_of(PACKETS * 2, times)
    assert report["frames"] == 6000
    assert report["losses"]["frames_restarts"] == 1
    assert abs(report["clock"]["drift_ppm"]) < 50_000, "not a jump of six seconds"


# What the decoder must withstand and how fast --------------------------------------------------------------------


@settings(max_examples=30)
@given(st.integers(0, 10**6))
def test_of_packets_of_which_one_percent_is_garbled_all_others_are_delivered(seed: int) -> None:
    """Bytes garbled at random within a packet; the zero between two packets is left, since it is part of both."""
    rng = np.random.default_rng(seed)
    stream, intact = [], []
    for packet in PACKETS:
        if rng.random() < 0.01:
            bad = bytearray(packet)
            for at in rng.integers(0, len(bad) - 1, rng.integers(1, 4)):
                bad[at] = rng.integers(1, 256)
            packet = bytes(bad)
        stream.append(packet)
    decoder, whole = PacketDecoder(), PacketDecoder()
    intact = [p for p, was in zip(stream, PACKETS, strict=True) if p == was]
    expected = [p for packet in intact for p in whole.feed(packet)]
    assert decoder.feed(b"".join(stream)) == expected


def test_the_decoder_is_fifty_times_faster_than_its_stream() -> None:
    report = measure(seconds=0.3)
    for stream in (report["clean"], report["one_percent_garbled"]):
        assert stream["times_real_time"] > 50  # a thousand and more, on a machine with nothing else to do
    assert report["clean"]["frames_delivered"] == 1
    assert 0.97 < report["one_percent_garbled"]["frames_delivered"] < 1


def test_the_demo_recording_decodes_without_a_loss() -> None:
    report = report_of(list(packetize(demo())))
    assert set(report["losses"].values()) == {0}
