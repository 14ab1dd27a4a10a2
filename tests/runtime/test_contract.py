"""The signal contract: it survives its JSON, every change shows in its hash, and nothing impossible gets in."""

import json
from dataclasses import fields, replace

import pytest

from ecg_edge.runtime.contract import Contract, ContractError

DEFAULT_SHA256 = "0a28295084e75cb87344c2853e64172529f597853b208e7d5b659cdb307c3636"
"""Every bundle in use carries it. Where this fails the contract has changed: raise its version, train again."""

OTHER = {
    "front_end": 2,
    "leads": ("II",),
    "rate": 125,
    "nv_per_lsb": 500,
    "window_seconds": 8,
    "hop_seconds": 2,
    "lowpass_pass_hz": 38.0,
    "lowpass_stop_hz": 49.0,
    "highpass_boxcar": 64,
    "stft_length": 32,
    "stft_hop": 10,
    "stft_bins": 17,
    "stft_tables": "hann-q31",
    "log_steps_per_octave": 4,
    "log_floor_octave": 0,
}
"""Another value of the right type for every field."""

FREE = {"window_seconds", "hop_seconds", "stft_length", "stft_hop", "stft_bins", "log_floor_octave"}
"""Fields that the front end computes at other values too."""

NAMES = [f.name for f in fields(Contract)]


def through_json(contract: Contract) -> Contract:
    return Contract.from_dict(json.loads(json.dumps(contract.to_dict())))


def test_default_is_the_contract_that_bundles_were_trained_on() -> None:
    assert Contract().sha256 == DEFAULT_SHA256
    assert (Contract().window, Contract().hop, Contract().frames) == (1000, 100, 47)


def test_json_and_back() -> None:
    assert through_json(Contract()) == Contract()
    other = replace(Contract(), **{name: OTHER[name] for name in FREE})
    assert through_json(other) == other
    assert through_json(other).sha256 == other.sha256 != Contract().sha256


def test_every_field_has_another_value() -> None:
    assert set(OTHER) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_hash_changes_with_every_field(name: str) -> None:
    assert replace(Contract(), **{name: OTHER[name]}).sha256 != Contract().sha256


@pytest.mark.parametrize("name", NAMES)
def test_only_what_the_front_end_computes_is_accepted(name: str) -> None:
    data = replace(Contract(), **{name: OTHER[name]}).to_dict()
    if name in FREE:
        data |= {"stft_bins": OTHER["stft_bins"]}  # the shorter frame does not have the default's
        assert getattr(Contract.from_dict(data), name) == OTHER[name]
    else:
        with pytest.raises(ContractError, match=name):
            Contract.from_dict(data)


@pytest.mark.parametrize("name", NAMES)
def test_missing_field_is_refused_by_name(name: str) -> None:
    data = Contract().to_dict()
    del data[name]
    with pytest.raises(ContractError, match=name):
        Contract.from_dict(data)


def test_unknown_field_is_refused_by_name() -> None:
    with pytest.raises(ContractError, match="notch_hz"):
        Contract.from_dict(Contract().to_dict() | {"notch_hz": 50})


@pytest.mark.parametrize("wrong", [None, True, "100", 100.5, [100], {"rate": 100}, float("nan"), 10**400])
@pytest.mark.parametrize("name", NAMES)
def test_wrong_type_is_refused(name: str, wrong: object) -> None:
    with pytest.raises(ContractError):
        Contract.from_dict(Contract().to_dict() | {name: wrong})


@pytest.mark.parametrize("data", [None, 5, "contract", [], {}])
def test_what_is_no_contract_at_all_is_refused(data: object) -> None:
    with pytest.raises(ContractError):
        Contract.from_dict(data)  # type: ignore[arg-type]


def test_whole_number_stands_for_a_float_and_has_its_hash() -> None:
    # JSON of other languages writes 40.0 as 40.
    contract = Contract.from_dict(Contract().to_dict() | {"lowpass_pass_hz": 40})
    assert contract == Contract()
    assert contract.sha256 == DEFAULT_SHA256


@pytest.mark.parametrize(
    "changes",
    [
        {"window_seconds": 61},
        {"window_seconds": 0},
        {"window_seconds": 1, "stft_length": 128},
        {"hop_seconds": 0},
        {"hop_seconds": -1},
        {"hop_seconds": 11},
        {"stft_length": 48},
        {"stft_length": 256},
        {"stft_bins": 0},
        {"stft_bins": 34},
        {"stft_length": 32, "stft_bins": 18},
        {"stft_hop": 0},
        {"stft_hop": -20},
        {"stft_hop": 30},
        {"window_seconds": 5, "hop_seconds": 2, "stft_hop": 40},
        {"log_floor_octave": -9},
        {"log_floor_octave": 17},
    ],
)
def test_impossible_windows_and_frames_are_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ContractError, match="impossible"):
        Contract.from_dict(Contract().to_dict() | changes)


@pytest.mark.parametrize("changes", [{"window_seconds": 60}, {"stft_bins": 33}, {"hop_seconds": 10}, {"stft_hop": 1}])
def test_limits_themselves_are_possible(changes: dict[str, int]) -> None:
    assert Contract.from_dict(Contract().to_dict() | changes) == replace(Contract(), **changes)
