"""What was found on a wire, as one line for a person or one JSON object for a program."""

from dataclasses import asdict
from typing import Any

from ecg_edge.firmware_bridge.dissection import Found
from ecg_edge.firmware_bridge.protocol import Ack, Hello, Packet, Samples, SetRate, Status

HEADING = f"{'arrival s':>10} {'device s':>11} {'seq':>5}  what"
_SAID = {
    "gaps": "",  # there is one where some are missing
    "missing": "{} missing before this",
    "restarts": "the device has started again",
    "late": "came late",
}

MEANING = {
    "link_bad_cobs": "bad framing: bytes lost or garbled",
    "link_bad_header": "too short or too long for a packet",
    "link_bad_crc": "wrong checksum: garbled; joining midway costs one",
    "link_bad_frames": "places where no frame was where one belonged",
    "link_bad_payload": "right checksum, wrong layout: a defect of the firmware",
    "link_overlong": "no end of packet for too long: wrong baud, or no such device",
    "link_other_version": "packets of another version of the protocol",
    "link_other_type": "packets of a type that is not known here",
    "link_gaps": "places where packets are missing",
    "link_missing": "packets missing there, garbled ones among them",
    "link_duplicates": "packets that came twice, dropped once",
    "link_late": "packets that came after a later one",
    "link_restarts": "times that the sender began to count anew",
    "link_resync_bytes": "bytes that were no good packet",
    "frames_lost": "frames missing before ones that came",
    "frames_stale": "frames that came after their turn and were dropped",
    "frames_before_hello": "frames before the device had said what they are",
    "frames_mismatched": "frames with another number of channels than said",
    "frames_restarts": "times that the device began a new run",
}
"""What each loss counter counts, in a few words."""


class WireText:
    """Writes what is found, one after the other; knows the format once a HELLO has said it."""

    def __init__(self) -> None:
        """Start before the first HELLO."""
        self._hello: Hello | None = None
        self._begun: float | None = None

    def line(self, found: Found) -> str:
        """Return a line for a person; two where packets are missing before this one."""
        at = self._seconds(found.at)
        clock = f"{'-' if at is None else f'{at:.4f}':>10}"
        packet = found.packet
        if packet is None:
            what = ", ".join(k.replace("_", " ").upper() for k in found.counted) or "SKIPPED"
            return f"{clock} {'-':>11} {'-':>5}  {what}  {found.size} bytes: {found.head.hex(' ')}"
        self._learn(packet)
        lines = []
        if found.counted:
            said = [_SAID.get(kind, f"{kind.replace('_', ' ')} {{}}").format(n) for kind, n in found.counted.items()]
            lines.append(f"{clock} {'':>11} {'':>5}  -- {', '.join(filter(None, said))}")
        lines.append(f"{clock} {packet.time_us / 1e6:>11.6f} {packet.sequence:>5}  {self._packet(packet)}")
        return "\n".join(lines)

    def json(self, found: Found) -> dict[str, Any]:
        """Return the same as JSON types, with all counts of a SAMPLES; what does not apply is absent."""
        at = self._seconds(found.at)
        common: dict[str, Any] = {} if at is None else {"at": round(at, 6)}
        common |= {"bytes": found.size} | ({"counted": found.counted} if found.counted else {})
        packet = found.packet
        if packet is None:
            return {"type": "damage", **common, "head": found.head.hex()}
        self._learn(packet)
        message = packet.message
        if isinstance(message, Samples):
            body: dict[str, Any] = {
                "index": message.index,
                "off": [name for name, off in zip(self._names(message), message.off, strict=True) if off],
                "counts": message.counts.tolist(),
            }
            if self._hello is not None:
                body["uv_per_count"] = self._hello.pv_per_lsb / 1e6
        else:
            body = asdict(message)
        kind = type(message).__name__.lower()
        return {"type": kind, **common, "sequence": packet.sequence, "time_us": packet.time_us, **body}

    def _seconds(self, at: float | None) -> float | None:
        if at is None:
            return None
        self._begun = at if self._begun is None else self._begun
        return at - self._begun

    def _learn(self, packet: Packet) -> None:
        if isinstance(packet.message, Hello):
            self._hello = packet.message

    def _names(self, message: Samples) -> list[str]:
        channels = message.counts.shape[1]
        leads: tuple[str | None, ...] = (None,) * channels
        if self._hello is not None and len(self._hello.leads) == channels:
            leads = self._hello.leads
        return [name or f"channel {k + 1}" for k, name in enumerate(leads)]

    def _packet(self, packet: Packet) -> str:
        message = packet.message
        match message:
            case Hello():
                leads = " ".join(lead or "?" for lead in message.leads)
                text = (
                    f"{message.rate} Hz, {len(message.leads)} channels {leads}, {message.pv_per_lsb / 1e6:g} uV a count"
                )
                return f"HELLO    {text}, {message.firmware!r}"
            case Samples():
                return f"SAMPLES  {self._samples(message)}"
            case Status():
                battery = f", battery {message.battery_mv} mV" if message.battery_mv else ""
                return (
                    f"STATUS   {message.state.name.lower()}, {message.overruns} frames dropped by the device{battery}"
                )
            case Ack():
                result = message.result.name.lower()
                return f"ACK      of {message.command:02X} number {message.command_sequence}: {result}"
            case SetRate():
                return f"SETRATE  {message.rate} Hz"
        return type(message).__name__.upper()

    def _samples(self, message: Samples) -> str:
        n = len(message.counts)
        names = self._names(message)
        off = [name for name, is_off in zip(names, message.off, strict=True) if is_off]
        text = f"frames {message.index}-{(message.index + n - 1) & 0xFFFFFFFF}, "
        first = message.counts[0]
        if self._hello is None:
            values = " ".join(f"{name} {count}" for name, count in zip(names, first, strict=True)) + " counts"
        else:
            mv = first * (self._hello.pv_per_lsb / 1e9)
            values = " ".join(f"{name} {value:.3f}" for name, value in zip(names, mv, strict=True)) + " mV"
        return text + values + (f", OFF {' '.join(off)}" if off else "")


def stats_text(report: dict[str, Any]) -> str:
    """Return the figures of LinkStats as a table for a person; the losses that are 0 in one line."""
    lines = []

    def row(name: str, text: str) -> None:
        lines.append(f"{name:<14}{text}")

    if "format" in report:
        said = report["format"]
        leads = " ".join(lead or "?" for lead in said["leads"])
        row("format", f"{said['rate']} Hz, {len(said['leads'])} channels {leads}, {said['uv_per_count']:g} uV a count")
        row("firmware", said["firmware"] or "says nothing")
    row("received", f"{report['bytes']} bytes in {report['seconds']:.1f} s ({report['seconds_by']}'s clock)")
    if "bytes_per_s" in report:
        share = f", {report['baud_share']:.1%} of {report['baud']} baud" if "baud" in report else ""
        row("speed", f"{report['bytes_per_s']:.0f} bytes/s{share}")
    row("packets", ", ".join(f"{name} {n}" for name, n in report["packets"].items()) or "none")
    row("frames", str(report["frames"]))
    lost = {name: n for name, n in report["losses"].items() if n}
    row("losses", "" if lost else "none of any kind")
    lines += [f"  {name:<22}{n:>9}  {MEANING.get(name, '')}".rstrip() for name, n in lost.items()]
    if "device" in report:
        device = report["device"]
        row(
            "device",
            f"{device['state']}, {device['overruns']} frames dropped by itself, battery "
            + (f"{device['battery_mv']} mV" if device["battery_mv"] else "not known"),
        )
    arrival = report.get("arrival", {})
    if "jitter_ms" in arrival:
        row(
            "jitter", "ms later than the promptest: " + ", ".join(f"{k} {v:g}" for k, v in arrival["jitter_ms"].items())
        )
    if arrival:
        row("silence", f"{arrival['longest_silence_s'] * 1000:.0f} ms at most between two arrivals")
    if "clock" in report:
        clock = report["clock"]
        row(
            "clock",
            f"{clock['drift_ppm']:+.0f} ppm against this machine's, give or take "
            f"{clock['uncertainty_ppm']:.0f}, over {clock['span_s']:.0f} s",
        )
    if report["packets"].get("HELLO") and not report["frames"]:
        lines.append("The device is idle: --start makes it send.")
    return "\n".join(lines)


def bench_text(report: dict[str, Any]) -> str:
    """Return the figures of decoder_bench.measure as a table for a person."""
    lines = [f"{report['channels']} channels at {report['rate']} Hz, {report['stream_kbit_s']:g} kbit/s; one core", ""]
    lines.append(f"{'':<22}{'x real time':>12}{'MB/s':>8}{'us/packet':>11}{'frames delivered':>18}")
    for title, key in (("clean", "clean"), ("1 % packets garbled", "one_percent_garbled")):
        r = report[key]
        lines.append(
            f"{title:<22}{r['times_real_time']:>12.0f}{r['megabytes_per_s']:>8.1f}{r['us_per_packet']:>11.1f}"
            f"{r['frames_delivered']:>17.2%}"
        )
    return "\n".join(lines)
