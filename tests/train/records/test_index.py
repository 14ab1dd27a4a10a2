"""Indexing of small databases written for the purpose and of real ones; splits without leaks."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from ecg_edge.firmware_bridge.leads import LEADS
from ecg_edge.train import labels
from ecg_edge.train.records import challenge, ptbxl_z
from ecg_edge.train.records.entry import HIDDEN_AGE, RecordEntry, parse_age, parse_sex
from ecg_edge.train.records.index import IndexingError, RecordIndex, SplitError, build_index, split
from ecg_edge.train.records.tables import TableError, parse_statements, read_table


def write_record(path: Path, samples: np.ndarray, unit: str = "mV", comments: str = "", names: tuple = LEADS) -> None:
    """Write a format-16 WFDB record of int16 samples (n, leads)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{path.name} {len(names)} 100 {len(samples)}"]
    lines += [f"{path.name}.dat 16 1000(0)/{unit} 16 0 0 0 0 {name}" for name in names]
    path.with_name(path.name + ".hea").write_text("\n".join(lines) + "\n" + comments)
    samples.astype("<i2").tofile(path.with_name(path.name + ".dat"))


def write_challenge(root: Path, name: str, dx: str = "#Dx: 426783006", **more: object) -> Path:
    record = root / "cinc2020" / name
    write_record(record, np.zeros((10, 12)), comments=f"#Age: 61\n#Sex: Female\n{dx}\n", **more)  # type: ignore[arg-type]
    return record


def write_ptbxl(root: Path, rows: list[str], header: str = "ecg_id,patient_id,age,sex,scp_codes,strat_fold,") -> Path:
    folder = root / "ptbxl"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ptbxl_database.csv").write_text("\n".join([header + "filename_lr,filename_hr", *rows]) + "\n")
    return folder


def ptbxl_row(ecg_id: int, fold: int, patient: str = "", codes: str = "{'SR': 0.0, 'IMI': 15.0}") -> str:
    return f'{ecg_id},{patient},300.0,1,"{codes}",{fold},records100/{ecg_id:05d}_lr,records500/{ecg_id:05d}_hr'


def z_signal(seed: int = 0) -> tuple[np.ndarray, float, float]:
    """Twelve leads that obey Einthoven, z-scored in thousandths, and the two amplitude ratios."""
    rng = np.random.default_rng(seed)
    lead_i, lead_ii, *chest = rng.normal(size=(8, 1000)).cumsum(axis=1)
    limb = [lead_i, lead_ii, lead_ii - lead_i, -(lead_i + lead_ii) / 2, lead_i - lead_ii / 2, lead_ii - lead_i / 2]
    leads = np.stack([*limb, *chest], axis=1)
    leads -= leads.mean(axis=0)
    std = leads.std(axis=0)
    return np.rint(leads / std * 1000), std[0] / std[1], std[2] / std[1]


def write_z(root: Path, rows: list[tuple[int, int]], spoil: int | None = None) -> Path:
    folder = root / "ptbxl_z"
    lines = ["ecg_id,age,sex,scp_codes,dx,strat_fold,filename_z,amp_I_to_II,amp_III_to_II"]
    for ecg_id, fold in rows:
        samples, i_ratio, iii_ratio = z_signal(ecg_id)
        if ecg_id == spoil:
            samples[:, 2] *= -1
        write_record(folder / "records100" / f"{ecg_id:05d}_z", samples, unit="z")
        lines.append(
            f"{ecg_id},45.0,0,\"{{'NORM': 100.0, 'PVC': 100.0}}\",426783006 59118001,{fold},"
            f"records100/{ecg_id:05d}_z,{i_ratio:.4f},{iii_ratio:.4f}"
        )
    (folder / "database.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_ptbxl_with_codes_from_statements_or_from_the_table(tmp_path: Path) -> None:
    folder = write_ptbxl(tmp_path, [ptbxl_row(1, 3, "15709.0"), ptbxl_row(2, 9, codes="{'NORM': 0.0, 'PVC': 5.0}")])
    for name in ("records100/00001_lr", "records500/00001_hr", "records500/00002_hr"):
        write_record(folder / name, np.zeros((10, 12)))
    (folder / "challenge_labels.csv").write_text("ecg_id,dx\n1,63593006 39732003\n")
    first, second = build_index(tmp_path).entries
    assert first == RecordEntry(
        path=folder / "records100" / "00001_lr",
        source="ptbxl",
        patient="ptbxl/patient/15709",
        ecg_id=1,
        fold=3,
        codes=frozenset({"284470004", "39732003"}),
        statements=frozenset({"SR", "IMI"}),
        age=HIDDEN_AGE,
        sex="female",
    )
    assert first.superclasses == {"MI"}
    assert second.path.name == "00002_hr"  # the only copy there is
    assert second.patient == "ptbxl/ecg/2"
    assert second.codes == {"426783006"}
    assert second.unscored == {labels.VENTRICULAR_ECTOPICS}
    assert second.superclasses == {"NORM"}
    assert build_index(tmp_path, rate=500).entries[0].path.name == "00001_hr"


def test_axis_of_the_full_table_gives_the_deviation(tmp_path: Path) -> None:
    folder = write_ptbxl(
        tmp_path,
        ["1,7,50,0,{},1,ALAD,records100/00001_lr,"],
        "ecg_id,patient_id,age,sex,scp_codes,strat_fold,heart_axis,",
    )
    write_record(folder / "records100" / "00001_lr", np.zeros((10, 12)))
    assert build_index(tmp_path).entries[0].codes == {"39732003"}


def test_missing_files_are_listed(tmp_path: Path) -> None:
    folder = write_ptbxl(tmp_path, [ptbxl_row(1, 3)])
    index = build_index(tmp_path)
    assert index.entries == ()
    assert [(item.path, item.reason) for item in index.broken] == [
        (folder / "records100" / "00001_lr", "header or signal file missing")
    ]
    assert index.absent == ("cinc2020", "cpsc2018", "ptbxl_z")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (ptbxl_row(1, 11), "strat_fold is 11"),
        (ptbxl_row(1, 3).replace("1,,", "one,,", 1), "ecg_id is 'one'"),
        (ptbxl_row(1, 3, codes="SR"), "scp_codes is 'SR'"),
        ("1", "strat_fold is ''"),
    ],
)
def test_a_damaged_table_is_an_error(tmp_path: Path, row: str, reason: str) -> None:
    folder = write_ptbxl(tmp_path, [row])
    write_record(folder / "records100" / "00001_lr", np.zeros((10, 12)))
    with pytest.raises(TableError, match=reason):
        build_index(tmp_path)


def test_challenge_headers_as_they_come(tmp_path: Path) -> None:
    capitals = tuple(name.upper() for name in LEADS)
    write_challenge(tmp_path, "chapman_shaoxing/JS00001", "# Dx: 426177001,55827005", names=capitals)
    write_challenge(tmp_path, "cpsc_2018/g1/A0001", "#Dx: RBBB,PVC")  # a deeper layout, and words
    write_challenge(tmp_path, "cpsc_2018/g1/A0002", "#Dx: Normal")
    index = build_index(tmp_path)
    assert index.broken == ()
    js, a1, a2 = index.entries
    assert (js.source, js.codes, js.unscored) == ("chapman_shaoxing", {"426177001"}, {"55827005"})
    assert (a1.source, a1.codes, a1.unscored) == ("cpsc_2018", {"713427006"}, {"164884008"})
    assert a2.codes == {"426783006"}
    assert (js.age, js.sex, js.fold, js.ecg_id) == (61.0, "female", None, None)
    assert js.patient == "chapman_shaoxing/JS00001"


def test_unusable_challenge_records_are_listed_with_reasons(tmp_path: Path) -> None:
    write_challenge(tmp_path, "ptb/S1", "#Rx: Unknown")
    write_challenge(tmp_path, "ptb/S2", "#Dx: Unknown")
    write_challenge(tmp_path, "ptb/S3", "#Dx: ")
    write_challenge(tmp_path, "ptb/S4").with_suffix(".dat").unlink()
    write_challenge(tmp_path, "ptb/S5").with_suffix(".hea").write_text("")
    write_challenge(tmp_path, "ptb/S6", names=(*LEADS[:11], "vx"))
    write_challenge(tmp_path, "ptb/S7")
    index = build_index(tmp_path, ["ptb"])
    assert [entry.path.name for entry in index.entries] == ["S7"]
    reasons = {item.path.name: item.reason for item in index.broken}
    assert list(reasons) == ["S1", "S2", "S3", "S4", "S5", "S6"]
    for name, word in zip(reasons, ("no Dx", "'Unknown'", "''", "S4.dat is missing", "header", "'vx'"), strict=True):
        assert word in reasons[name]


@pytest.mark.parametrize(
    ("text", "codes"),
    [("AF", {"164889003"}), (" I-AVB , STE ", {"270492004", "164931005"}), ("10370003,", {"10370003"})],
)
def test_parse_dx(text: str, codes: set[str]) -> None:
    assert challenge.parse_dx(text) == codes


def test_parse_age_and_sex() -> None:
    assert [parse_age(t) for t in ("57", "300.0", "NaN", "Unknown", "-1", "", "inf")] == [57.0, HIDDEN_AGE, *[None] * 5]
    assert [parse_sex(t) for t in ("Male", "f", "1", "0", "Unknown")] == ["male", "female", "female", "male", None]


def test_one_ecg_is_indexed_once_and_keeps_its_fold(tmp_path: Path) -> None:
    folder = write_ptbxl(tmp_path, [ptbxl_row(1, 9, "77")])
    write_record(folder / "records100" / "00001_lr", np.zeros((10, 12)))
    write_z(tmp_path, [(1, 9), (5, 8), (6, 2)])
    for name in ("HR00001", "HR00005", "HR00009"):
        write_challenge(tmp_path, f"ptb-xl/{name}")
    index = build_index(tmp_path)
    assert [entry.path.name for entry in index.entries] == ["00001_lr", "HR00005", "HR00009", "00006_z"]
    assert [entry.path.name for entry in index.duplicates] == ["HR00001", "00001_z", "00005_z"]
    assert [entry.fold for entry in index.entries] == [9, 8, None, 2]
    # Without the better copies the others stand in, with the patient and fold that the tables know.
    alone = build_index(tmp_path, ["ptb-xl"])
    assert [(e.patient, e.fold) for e in alone.entries] == [
        ("ptbxl/patient/77", 9),
        ("ptbxl/ecg/5", 8),
        ("ptbxl/ecg/9", None),
    ]
    sides = split(index, [1, 2], [8], [9])
    assert [[e.path.name for e in side] for side in (sides.train, sides.valid, sides.test)] == [
        ["00006_z"],
        ["HR00005"],
        ["00001_lr"],
    ]
    assert sides.left_out == {"PTB-XL record of unknown fold": 1}


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(IndexingError, match="not a folder"):
        build_index(tmp_path / "none")
    assert build_index(tmp_path).absent == ("ptbxl", "cinc2020", "cpsc2018", "ptbxl_z")
    write_challenge(tmp_path, "georgia/E00001")
    with pytest.raises(IndexingError, match="no records of ningbo; it has georgia"):
        build_index(tmp_path, ["georgia", "ningbo"])
    assert build_index(tmp_path, ["cinc2020"]).by_source() == {"georgia": 1}


def entry(ecg_id: int | None, fold: int | None, patient: str = "", scaled: bool = True) -> RecordEntry:
    return RecordEntry(Path(f"{ecg_id}"), "s", patient or f"p{ecg_id}", ecg_id, fold, frozenset(), scaled=scaled)


def test_sides_take_their_folds_and_sources_without_folds_train() -> None:
    index = RecordIndex((entry(1, 1), entry(2, 8), entry(3, 9), entry(4, 10), entry(None, None, "x"), entry(5, None)))
    sides = split(index, [1], [8], [9])
    assert [[e.ecg_id for e in side] for side in (sides.train, sides.valid, sides.test)] == [[1, None], [2], [3]]
    assert sides.left_out == {"fold on no side": 1, "PTB-XL record of unknown fold": 1}


def test_z_scored_records_only_train() -> None:
    sides = split(RecordIndex((entry(1, 1, scaled=False), entry(2, 8, scaled=False))), [1], [8])
    assert (len(sides.train), len(sides.valid), sides.left_out) == (1, 0, {"z-scored record of a valid fold": 1})


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ((entry(1, 1, "same"), entry(2, 8, "same")), "same is in both train and valid"),
        ((entry(1, 1, "a"), entry(1, 9, "b")), "ptbxl/ecg/1 is in both train and test"),
        ((entry(None, None, "same"), entry(2, 9, "same")), "same is in both train and test"),
    ],
)
def test_one_patient_on_two_sides_is_refused(entries: tuple[RecordEntry, ...], reason: str) -> None:
    with pytest.raises(SplitError, match=reason):
        split(RecordIndex(entries), [1], [8], [9])


def test_overlapping_and_impossible_folds_are_refused() -> None:
    with pytest.raises(SplitError, match="fold 8 is on two sides"):
        split(RecordIndex(()), [1, 8], [8])
    with pytest.raises(SplitError, match="no fold 0, 11"):
        split(RecordIndex(()), [0, 1], [11])


def test_scaled_signal_obeys_einthoven_and_the_typical_amplitudes(tmp_path: Path) -> None:
    write_z(tmp_path, [(3, 1)])
    (found,) = build_index(tmp_path).entries
    assert (found.scaled, found.sex, found.unscored) == (False, "male", {"164884008"})
    assert found.codes == {"426783006", "713427006"}
    assert (found.statements, found.superclasses) == ({"NORM", "PVC"}, {"NORM"})
    recording = ptbxl_z.read_scaled(found)
    assert recording.counts.dtype == np.int32
    assert (recording.rate, recording.pv_per_lsb, recording.leads[:3]) == (100, 1_000_000, ("I", "II", "V1"))
    typical = [ptbxl_z.TYPICAL_STD_MV[lead] * 1000 for lead in recording.leads[1:]]
    assert recording.counts[:, 1:].std(axis=0) == pytest.approx(typical, rel=0.01)
    assert found.limb_ratios is not None
    assert recording.counts[:, 0].std() == pytest.approx(127 * found.limb_ratios[0], rel=0.01)
    z = ptbxl_z.read_z(found.path)
    lead_iii = (recording.counts[:, 1] - recording.counts[:, 0]) / 127
    assert np.abs(lead_iii - found.limb_ratios[1] * z[:, 2]).max() < 0.02


def test_amplitudes_vary_with_the_seed_as_raw_records_do() -> None:
    assert (ptbxl_z.amplitude_factors(None, 5) == 1).all()
    assert (ptbxl_z.amplitude_factors(1, 5) == ptbxl_z.amplitude_factors(1, 5)).all()
    assert (ptbxl_z.amplitude_factors(1, 5) != ptbxl_z.amplitude_factors(2, 5)).all()
    logs = np.log([ptbxl_z.amplitude_factors(1, ecg_id) for ecg_id in range(4000)])
    cov = np.cov(logs.T)
    assert np.abs(logs.mean(axis=0)).max() < 0.03
    assert cov[0, 0] == pytest.approx(0.149, abs=0.01)
    assert cov[0, 1:] == pytest.approx([0.065] * 6, abs=0.01)
    assert cov[1:, 1:].diagonal() == pytest.approx([0.188] * 6, abs=0.015)


def test_contradicting_and_foreign_z_records_are_listed(tmp_path: Path) -> None:
    folder = write_z(tmp_path, [(3, 1), (4, 1), (5, 1), (6, 1)], spoil=3)
    write_record(folder / "records100" / "00004_z", z_signal()[0], unit="mV")
    (folder / "records100" / "00005_z.dat").write_bytes(b"\0" * 240)
    index = build_index(tmp_path)
    assert [e.ecg_id for e in index.entries] == [6]
    reasons = [item.reason for item in index.broken]
    for reason, words in zip(reasons, ("limb leads contradict", "no z-scored", "ends before frame 1000"), strict=True):
        assert words in reason
    with pytest.raises(ptbxl_z.ScaleError, match="millivolts already"):
        ptbxl_z.read_scaled(entry(1, 1))


@pytest.fixture(scope="module")
def real(data_dir: Path) -> RecordIndex:
    return build_index(data_dir)


def test_real_counts(real: RecordIndex) -> None:
    everything = Counter(e.source for e in (*real.entries, *real.duplicates))
    assert everything["ptbxl"] == 1754
    # One z-scored record has limb leads that contradict each other.
    assert [item.path.name for item in real.broken] == ["10565_z"]
    assert everything["ptbxl_z"] == 1478
    assert {s: n for s, n in everything.items() if not s.startswith("ptbxl")} == {
        "chapman_shaoxing": 128,
        "cpsc_2018": 105,
        "cpsc_2018_extra": 28,
        "ptb": 1,
        "ptb-xl": 21,
    }
    assert real.absent == ("cpsc2018",)
    folds = Counter(e.fold for e in real.entries if e.source == "ptbxl")
    assert folds == {1: 213, 2: 179, 3: 183, 4: 195, 5: 208, 6: 157, 7: 196, 8: 177, 9: 246}
    assert Counter(e.source for e in real.duplicates) == {"ptb-xl": 10, "ptbxl_z": 1}


def test_real_split_is_disjoint_and_raw_outside_training(real: RecordIndex) -> None:
    sides = split(real, range(1, 8), [8], [9])
    assert (len(sides.valid), len(sides.test)) == (177, 246)
    assert all(e.scaled and e.ecg_id for e in (*sides.valid, *sides.test))
    assert len(sides.train) + len(sides.valid) + len(sides.test) + sum(sides.left_out.values()) == len(real.entries)
    ids = [{e.ecg_id for e in side} - {None} for side in (sides.train, sides.valid, sides.test)]
    assert not ids[0] & ids[1]
    assert not ids[1] & ids[2]
    assert not ids[0] & ids[2]


def test_real_labels_follow_from_statements_but_for_the_axis(real: RecordIndex, data_dir: Path) -> None:
    """What stands in for missing Challenge labels is held against the labels that are there."""
    without = {"39732003", "47665007"}
    differing = []
    for path, name in (("ptbxl/ptbxl_database.csv", "ptbxl"), ("ptbxl_z/database.csv", "ptbxl_z")):
        rows = {int(r["ecg_id"]): r["scp_codes"] for r in read_table(data_dir / path, ("ecg_id", "scp_codes"))}
        for e in real.entries:
            if e.source == name and e.ecg_id is not None:
                codes = labels.codes_of_statements(parse_statements(rows[e.ecg_id], data_dir))
                if labels.scored(codes) != e.codes - without:
                    differing.append((e.ecg_id, labels.scored(codes) ^ (e.codes - without)))
    assert differing == [(1371, {"698252002"})]


def test_real_z_records_come_out_in_physiological_range(real: RecordIndex) -> None:
    chosen = [e for e in real.entries if e.source == "ptbxl_z"][::50]
    for found in chosen:
        counts = ptbxl_z.read_scaled(found, seed=3).counts
        assert counts.shape == (1000, 8)
        assert 100 < np.abs(counts).max() < 15000  # microvolts
