"""The tables of `bench`, made from its reports."""

from collections.abc import Iterable
from typing import Any

from ..benchmark_energy import NOT_SHOWN

PERCENTILES = ("p50", "p95", "p99", "max")


def one(report: dict[str, Any]) -> str:
    """Return the whole account of one bundle."""
    r = report
    lines = [
        f"{r['bundle']} on {r['backend']}, {r['threads']} thread: {r['windows']} windows of {r['channels']} channels "
        f"at {r['rate']} Hz, fed {r['chunk_samples']} frames at a time",
        "",
        _row("ms", PERCENTILES),
    ]
    for name, figures in r["backends"].items():
        lines += [_row(f"{what} ({name})", _ms(figures[f"{what}_ms"])) for what in ("hop", "inference")]
    lines += ["", "stages of a hop, median ms"]
    lines += [f"  {stage:<22}{ms:>9.3f}" for stage, ms in r["stages_ms"].items()]
    overheads = (f"{figures['overhead_ratio']:.2f} ({name})" for name, figures in r["backends"].items())
    energy = r["energy"]
    lines += [
        "",
        f"{'overhead ratio':<24}{', '.join(overheads)}",
        f"{'memory at most':<24}{r['rss_mb']} MB",
        f"{'cold start':<24}{r['cold_start_s']} s",
        f"{'streams per core':<24}{r['streams_per_core']} (estimate from the median hop; --streams measures it)",
        f"{'energy of a hop':<24}"
        + (
            f"{energy['hop_mj']:.3f} mJ, {energy['above_idle_mj']:.3f} mJ above idle ({energy['watts']:.2f} W at work, "
            f"{energy['idle_watts']:.2f} W idle, by {energy['source']})"
            if energy
            else NOT_SHOWN
        ),
        "",
        *_machine(report),
    ]
    return "\n".join(lines)


def comparison(report: dict[str, Any]) -> str:
    """Return bundles and backends side by side."""
    titles = ("bytes", "hop p50", *PERCENTILES[1:], "call p50", *PERCENTILES[1:], "ratio", "of first", "MB", "start s")
    lines = [
        f"{report['seconds']} hops of each in turns, {report['threads']} thread, rules {_on(report)}; ms",
        "",
        _row("", titles),
    ]
    for f in report["compared"]:
        name = f"{f['bundle']} {f['bundle_sha256'][:8]} {f['backend']}"
        ratios = (f"{f['overhead_ratio']:.2f}", f"{f['hop_of_first']:.2f}")
        process = (f"{f['rss_mb']:.1f}", f"{f['cold_start_s']:.2f}")
        lines.append(_row(name, (str(f["bytes"]), *_ms(f["hop_ms"]), *_ms(f["inference_ms"]), *ratios, *process)))
    return "\n".join([*lines, "", *_machine(report)])


def models(report: dict[str, Any]) -> str:
    """Return the bare calls of model files side by side."""
    lines = [
        f"{report['calls']} bare calls of each in turns, {report['threads']} thread; the fastest float one has speed 1",
        "",
        _row("ms", ("format", "bytes", *PERCENTILES, "speed")),
    ]
    for m in report["models"]:
        speed = "-" if m["times_fastest_float"] is None else f"{m['times_fastest_float']:.2f}"
        lines.append(_row(m["name"], (m["format"], str(m["bytes"]), *_ms(m["ms"]), speed)))
    return "\n".join([*lines, "", *_machine(report)])


def stft(report: dict[str, Any]) -> str:
    """Return the spectrogram of a hop beside bare calls."""
    lines = [
        f"{report['frames']} frames of {report['leads']} leads, as a hop completes them; {report['calls']} in turns",
        "",
        _row("ms", (*PERCENTILES, "of a call")),
    ]
    for model, figures in report["models"].items():
        lines.append(_row(f"call of {model}", _ms(figures["inference_ms"])))
        for name, key in (("STFT as it runs here", "compiled"), ("STFT in NumPy", "numpy"), ("C library's STFT", "c")):
            if figures[f"{key}_ms"]:
                ratio = f"{figures[f'{key}_of_a_call']:.3f}"
                lines.append(_row(f"  {name}", (*_ms(figures[f"{key}_ms"]), ratio)))
    if report["c_missing"]:
        lines += ["", f"The C library was not measured: {report['c_missing']}"]
    return "\n".join([*lines, "", *_machine(report)])


def streams(report: dict[str, Any]) -> str:
    """Return the curve of simultaneous streams."""
    found = report["streams"]
    lines = [
        f"{report['bundle']} on {report['backend']}, one process, {report['threads']} thread, "
        f"rules {_on(report)}: {report['seconds']} s of each number of streams",
        "",
        _row("ms of work a second", (*PERCENTILES, "clock p50", "ms each", "MB", "sustained")),
    ]
    for f in found:
        work = (f"{f['work_ms'][p]:.1f}" for p in PERCENTILES)
        rest = (f"{f['elapsed_ms']['p50']:.1f}", f"{f['ms_a_stream_second']:.3f}", f"{f['rss_mb']:.0f}")
        lines.append(_row(f"{f['streams']} streams", (*work, *rest, "yes" if f["sustained"] else "no")))
    if found and found[-1]["sustained"]:
        lines += ["", "The curve ends here: there is no memory for more streams."]
    return "\n".join([*lines, "", *_machine(report)])


def _on(report: dict[str, Any]) -> str:
    return "on" if report["rules"] else "off"


def _row(title: str, cells: Iterable[str]) -> str:
    return f"{title:<28}" + "".join(f"{cell:>10}" for cell in cells)


def _ms(figures: dict[str, float]) -> list[str]:
    return [f"{figures[name]:.3f}" for name in PERCENTILES]


def _machine(report: dict[str, Any]) -> list[str]:
    shown = report["machine"].items()
    return [f"{name.replace('_', ' '):<24}{NOT_SHOWN if value is None else value}" for name, value in shown]
