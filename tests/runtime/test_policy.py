"""The alert policy: the built-in file covers every class, and every mistake in a user's file is named."""

import re
from dataclasses import fields, replace
from pathlib import Path

import pytest

from ecg_edge.firmware_bridge.errors import EcgEdgeError
from ecg_edge.runtime.policy import (
    _HINTS,
    _RULE_HINTS,
    DEFAULT_POLICY,
    LabelPolicy,
    Policy,
    PolicyError,
    load_policy,
)
from ecg_edge.runtime.rhythm.rules import RULES
from ecg_edge.runtime.rhythm.settings import RuleSettings

DOCS = Path(__file__).parents[2] / "docs" / "events.md"
# fmt: off
MERGED = [
    "IAVB", "AF", "AFL", "Brady", "CRBBB", "IRBBB", "LAnFB", "LAD", "LBBB", "LQRSV", "NSIVCB", "PR",
    "PAC", "PVC", "LPR", "LQT", "QAb", "RAD", "SA", "SB", "NSR", "STach", "TAb", "TInv",
]
# fmt: on
RULE_LABELS = [rule.abbreviation for rule in RULES]
SUPERCLASSES = ["NORM", "MI", "STTC", "CD", "HYP"]


@pytest.fixture
def write(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return path

    return write


def test_built_in_policy_names_the_24_merged_classes_the_superclasses_and_the_rules():
    assert len(MERGED) == 24
    assert set(load_policy().labels) == {*MERGED, *SUPERCLASSES, "Normal", *RULE_LABELS}


def test_built_in_priorities_follow_bedside_usage():
    policy = load_policy()
    assert {label for label in policy.labels if policy.of(label).priority == "medium"} == {
        *("AF", "AFL", "Brady", "Pause")
    }
    high = {label for label in policy.labels if policy.of(label).priority == "high"}
    assert high == {*RULE_LABELS} - {"Pause"}, "the model is too slow for what is high"
    assert {"NSR", "NORM", "Normal", "SA"} <= {label for label in policy.labels if policy.of(label).priority == "none"}
    assert {label for label in policy.labels if policy.of(label).latch} == high
    assert policy.suppressors("VT") == {"VF", "Asystole"}
    assert "AF" in policy.suppressors("PAC")
    assert "AFL" in policy.suppressors("SA")
    assert "CRBBB" in policy.suppressors("IRBBB")


def test_a_label_without_entry_has_the_default_priority(write):
    assert load_policy().of("X") == LabelPolicy("low")
    assert load_policy(write('default_priority = "none"')).of("X") == LabelPolicy("none")


def test_every_value_of_the_built_in_file_has_its_reason_before_it():
    lines = DEFAULT_POLICY.read_text().splitlines()
    for field in fields(Policy):
        if field.name in (
            "labels",
            "chains",
            "rules",
            "confirm_of",
        ):  # confirm_of shares the comment of confirm_windows
            continue
        row = next(k for k, text in enumerate(lines) if text.startswith(f"{field.name} = "))
        assert lines[row - 1].startswith("# "), field.name
    for field in fields(RuleSettings):
        assert any(text.startswith(f"{field.name} = ") for text in lines), field.name


def test_a_file_overlays_only_what_it_names(write):
    policy = load_policy(write('smoothing_s = 0\n[labels]\nAF = { threshold = 0.3 }\n[chains]\nAF = ["PAC"]\nAFL = []'))
    default = load_policy()
    assert policy.smoothing_s == 0
    assert policy.refractory_s == default.refractory_s
    assert policy.of("AF") == LabelPolicy("medium", irregular=True, threshold=0.3)
    assert policy.of("PVC") == default.of("PVC")
    assert policy.suppressors("PAC") == {"AF", "VF", "Asystole"}
    assert policy.suppressors("SA") == set()
    assert policy.suppressors("IRBBB") == default.suppressors("IRBBB")


def test_an_empty_file_is_the_built_in_policy(write):
    assert load_policy(write("")) == load_policy()


def test_labels_of_the_bundle_may_be_named(write):
    path = write('[labels]\nX = { priority = "high", latch = true }\n[chains]\nX = ["AF"]')
    with pytest.raises(PolicyError):
        load_policy(path)
    policy = load_policy(path, labels=["X"])
    assert policy.of("X").latch
    assert policy.suppressors("PAC") == {"X", "AF", "AFL", "VF", "Asystole"}, "chains are transitive"


def test_a_label_of_the_bundle_without_priority_has_the_default_one(write):
    policy = load_policy(write("[labels]\nX = { threshold = 0.2 }"), labels=["X"])
    assert policy.of("X") == LabelPolicy("low", threshold=0.2)


ERRORS = {
    "smothing_s = 1": r"smothing_s: unknown key 'smothing_s'; did you mean smoothing_s\?",
    "zzz = 1": r"zzz: unknown key 'zzz'; use one of threshold_floor, smoothing_s, ",
    "smoothing_s = '2'": r"smoothing_s: '2' has the wrong type; give a number",
    "smoothing_s = true": "smoothing_s: True has the wrong type",
    "smoothing_s = nan": "smoothing_s: nan has the wrong type",
    "smoothing_s = inf": "smoothing_s: inf has the wrong type",
    "smoothing_s = -1": "smoothing_s: -1 is impossible; give a value from 0 to 60",
    "hysteresis = 1.0": "hysteresis: 1.0 is impossible; give a value from 0 to 0.95",
    "confirm_windows = 2.0": "confirm_windows: 2.0 has the wrong type; give a whole number",
    "confirm_windows = true": "confirm_windows: True has the wrong type",
    "confirm_windows = 0": "confirm_windows: 0 is impossible",
    "confirm_windows = 5": "confirm_windows: 5 of 4 windows is impossible; raise confirm_of to 5",
    "confirm_of = 2": "confirm_windows: 3 of 2 windows is impossible",
    "end_windows = 0": "end_windows: 0 is impossible",
    "unknown_after_s = 0": "unknown_after_s: 0 is impossible",
    "refractory_s = -5": "refractory_s: -5 is impossible",
    "update_interval_s = -1": "update_interval_s: -1 is impossible",
    "default_priority = 'urgent'": "default_priority: unknown priority 'urgent'; use one of none, low, medium, high",
    "default_priority = 1": "default_priority: 1 has the wrong type; give text in quotes",
    "labels = 3": "labels: 3 has the wrong type; give a table",
    "chains = []": r"chains: \[\] has the wrong type; give a table",
    "rules = 1": "rules: 1 has the wrong type; give a table",
    "[rules]\nasystole = 4": r"rules.asystole: unknown key 'asystole'; did you mean asystole_s\?",
    "[rules]\nasystole_s = '4'": "rules.asystole_s: '4' has the wrong type; give a number",
    "[rules]\nasystole_s = 20": "rules.asystole_s: 20 is impossible; give a value from 2.5 to 10",
    "[rules]\ntachy_beats = 17.0": "rules.tachy_beats: 17.0 has the wrong type; give a whole number",
    "[rules]\npause_s = 5": r"rules.pause_s: 5 is longer than asystole_s \(4\); give a shorter pause",
    "[labels]\nAFib = { priority = 'low' }": r"labels.AFib: unknown label 'AFib'; did you mean AF\?",
    "[labels]\nAF = 'low'": "labels.AF: 'low' has the wrong type; give a table",
    "[labels]\nAF = { prio = 'low' }": r"labels.AF.prio: unknown key 'prio'; did you mean priority\?",
    "[labels]\nAF = { priority = 'hihg' }": r"labels.AF.priority: unknown priority 'hihg'; did you mean high\?",
    "[labels]\nAF = { priority = 2 }": "labels.AF.priority: 2 has the wrong type",
    "[labels]\nAF = { enabled = 1 }": "labels.AF.enabled: 1 has the wrong type; give true or false",
    "[labels]\nAF = { latch = 'yes' }": "labels.AF.latch: 'yes' has the wrong type",
    "[labels]\nAF = { latch = true }": 'labels.AF.latch: only .* is medium; set priority = "high" too',
    "[labels]\nAF = { threshold = 0 }": "labels.AF.threshold: 0 is impossible; give a probability",
    "[labels]\nAF = { threshold = 1.5 }": "labels.AF.threshold: 1.5 is impossible",
    "[labels]\nAF = { threshold = nan }": "labels.AF.threshold: nan has the wrong type",
    "[chains]\nAFib = ['PAC']": r"chains.AFib: unknown label 'AFib'; did you mean AF\?",
    "[chains]\nAF = ['PACs']": r"chains.AF: unknown label 'PACs'; did you mean PAC\?",
    "[chains]\nAF = 'PAC'": "chains.AF: 'PAC' is not a list of labels",
    "[chains]\nAF = [1]": r"chains.AF: \[1\] is not a list of labels",
    "[chains]\nAF = ['AF']": "chains.AF: AF ends up suppressing itself",
    "[chains]\nPAC = ['AF']": "chains.AF: AF ends up suppressing itself",
    "[chains]\nPVC = ['AF']": r"chains.PVC: PVC \(low\) must not suppress AF \(medium\); raise the priority of PVC",
    "[labels]\nLPR = { priority = 'medium' }\n[chains]\nAF = []\nAFL = []": r"chains.IAVB: IAVB \(low\) must not",
    "smoothing_s = ": "is not TOML",
    "smoothing_s = 1\nsmoothing_s = 2": "is not TOML",
}


@pytest.mark.parametrize(("text", "message"), ERRORS.items(), ids=ERRORS.keys())
def test_every_mistake_is_named_with_its_file_its_key_and_the_mend(write, text, message):
    path = write(text)
    with pytest.raises(PolicyError, match=rf"^{re.escape(str(path))}: {message}") as caught:
        load_policy(path)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, EcgEdgeError)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(PolicyError, match=r"absent\.toml: cannot be read \(No such file.*name an existing file"):
        load_policy(tmp_path / "absent.toml")


def test_a_file_that_is_no_text_is_named(tmp_path):
    path = tmp_path / "binary.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PolicyError, match=r"binary\.toml: is not TOML"):
        load_policy(path)


def test_a_lower_priority_may_not_suppress_a_higher_one_through_a_silent_link(write):
    text = "[labels]\nIAVB = {enabled = false}\n[chains]\nPVC = ['IAVB']\nIAVB = ['Brady']"
    with pytest.raises(PolicyError, match=r"chains\.PVC: PVC \(low\) must not suppress Brady"):
        load_policy(write(text))


def test_impossible_settings_are_refused_in_code_too():
    with pytest.raises(PolicyError, match="hysteresis: nan is impossible"):
        replace(load_policy(), hysteresis=float("nan"))


def assert_row(text, name, hint):
    """Assert that the documentation has a row for a setting, with its range."""
    span = "".join(f"{r.low:g}..{r.high:g}" for r in getattr(hint, "__metadata__", ()))
    assert re.search(rf"^\| `{re.escape(name)}` \| [\w/]* ?\| {re.escape(span)} ?\|", text, flags=re.M), name


def test_the_documentation_has_every_key_and_its_example_loads(write):
    text = DOCS.read_text()
    for field in fields(Policy):
        if field.name not in ("labels", "chains", "rules"):
            assert_row(text, field.name, _HINTS[field.name])
    for field in fields(RuleSettings):
        assert_row(text, f"rules.{field.name}", _RULE_HINTS[field.name])
    for field in fields(LabelPolicy):
        assert f"| `labels.X.{field.name}` |" in text
    (example,) = re.findall(r"```toml\n(.*?)```", text, flags=re.S)
    assert load_policy(write(example)).of("STach").priority == "medium"


def test_time_outs_by_priority(write):
    policy = load_policy(write("[labels]\nAF = { timeout_s = 60 }\nPVC = { timeout_s = 600.0 }"))
    assert [policy.timeout(label) for label in ("VF", "AF", "AFL", "PVC", "PAC")] == [0, 60, 0, 600, 180]
    with pytest.raises(PolicyError, match=r"labels.VF.timeout_s: .* take timeout_s out"):
        load_policy(write("[labels]\nVF = { timeout_s = 60 }"))
    with pytest.raises(PolicyError, match=r"labels.AF.timeout_s: -1 is impossible"):
        load_policy(write("[labels]\nAF = { timeout_s = -1 }"))


def test_the_example_of_the_page_on_alarms_loads_and_its_figures_are_the_defaults(write):
    text = DOCS.with_name("alarms.md").read_text()
    (example,) = re.findall(r"```toml\n(.*?)```", text, flags=re.S)
    assert load_policy(write(example)).timeout("PVC") == 600
    policy = load_policy()
    for name in ("silence_s", "refractory_s", "timeout_s"):
        assert re.search(rf"`{name}` \({getattr(policy, name):g} s\)", text), name
    high = re.search(r"\| high \| (.*?) \|", text)[1]
    assert set(re.findall(r"`(\w+)`", high)) == {label for label in policy.labels if policy.of(label).latch}
