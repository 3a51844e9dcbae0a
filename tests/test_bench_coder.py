"""`intaglio bench coder`: the workloads are the documented ones, every coder is checked, what is missing is told."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import intaglio
from command_line import Run
from intaglio import rans
from intaglio.bench import peers, report, workloads
from intaglio.bench.coder import Cold, Plan, Report, Row, Section, measure
from intaglio.bench.peers import Available, Coder, Task
from intaglio.bench.workloads import Workload
from intaglio.errors import ArgumentError

PEERS = {"CompressAI": "compressai", "constriction": "constriction", "torchac": "torchac"}
SMALL = ("--symbols", 300, "--rounds", 1)


@pytest.fixture
def no_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if no peer were installed, whatever is."""
    for package in PEERS.values():
        monkeypatch.setitem(sys.modules, package, None)


def _plain(workload: Workload) -> Task:
    symbols = workload.symbols
    return Task(symbols.tobytes, lambda data: np.frombuffer(data, np.int32))


def _wrong(workload: Workload) -> Task:
    return Task(workload.symbols.tobytes, lambda data: np.frombuffer(data, np.int32) + 1)


def _failing(workload: Workload) -> Task:
    raise ValueError(f"cannot take\n{workload.name}")


def _only(monkeypatch: pytest.MonkeyPatch, *coders: Coder) -> None:
    monkeypatch.setattr(peers, "available", lambda: Available(coders, {}, {}))


@pytest.mark.parametrize(
    ("name", "bits", "zeros", "narrow"), [("dense", 1.35314, 0.65, 0.066), ("sparse", 0.38088, 0.90, 0.754)]
)
def test_the_synthetic_workloads_are_the_documented_ones(name: str, bits: float, zeros: float, narrow: float) -> None:
    found = workloads.synthetic(name, 2_000_000, seed=1)
    assert found.symbols.shape == found.indexes.shape == found.costs.shape == (2_000_000,)
    assert found.ideal_bits == pytest.approx(bits, rel=0.01)
    assert np.mean(found.symbols == 0) == pytest.approx(zeros, abs=0.01)
    # the first table takes what is nearest to it, half a step beyond 0.11 included
    assert narrow <= np.mean(found.indexes == 0) <= narrow + 0.01
    assert (found.scales[0], found.scales[-1], len(found.scales)) == (0.11, pytest.approx(64.0), 64)


def test_a_seed_gives_the_same_symbols_again_and_another_seed_others() -> None:
    first, again, other = (workloads.synthetic("dense", 1000, seed) for seed in (1, 1, 2))
    assert np.array_equal(first.symbols, again.symbols)
    assert np.array_equal(first.indexes, again.indexes)
    assert not np.array_equal(first.symbols, other.symbols)


def test_the_ideal_is_the_exact_gaussian_and_our_tables_come_close() -> None:
    found = workloads.synthetic("dense", 50_000, seed=3)
    table = float(found.scales[found.indexes[0]])
    size = abs(int(found.symbols[0]))
    inside = np.diff(1.0 - workloads.upper_tails(table, np.array([size - 0.5, size + 0.5])))[0]
    assert found.costs[0] == pytest.approx(-np.log2(inside), rel=1e-9)
    ours = float(found.tables.bits(found.symbols, found.indexes).mean())
    assert found.ideal_bits < ours < 1.002 * found.ideal_bits


def test_the_picture_is_what_the_codec_codes(picture: Path, photo: np.ndarray) -> None:
    found = workloads.picture(picture)
    assert "70" in found.about
    assert picture.name in found.about
    estimate = intaglio.codec.estimate(photo[:70, :90], workloads.QUALITY)
    assert found.costs.sum() == pytest.approx(estimate, rel=1e-9)
    coded = rans.encode(found.symbols, found.indexes, found.tables)
    assert len(coded) == pytest.approx(len(intaglio.encode(photo[:70, :90], workloads.QUALITY)), rel=0.2)


@pytest.mark.usefixtures("no_peers")
def test_every_implementation_of_ours_is_measured_and_decodes_what_it_coded() -> None:
    found = measure(Plan(symbols=2000, rounds=2))
    assert found.implementations == rans.implementations()
    assert [section.workload for section in found.sections] == ["dense", "sparse", "picture"]
    for section in found.sections:
        assert [row.implementation for row in section.rows] == list(rans.implementations())
        for row in section.rows:
            assert row.error is None, row
            assert row.encode
            assert row.decode
            assert row.overhead is not None
            assert row.encode.best >= row.encode.median > 0
            assert row.decode.best >= row.decode.median > 0
            assert 0 < row.overhead < 25  # the flush of a short stream
            assert row.encode_ratio is row.decode_ratio is None
        assert len({row.bits for row in section.rows}) == 1, "the implementations' streams differ"
    assert [row.workload for row in found.cold] == [
        name for name in ("dense", "sparse") for _ in rans.implementations()
    ]
    for row in found.cold:
        assert row.encode
        assert row.decode
        assert 0 < row.encode.best <= row.encode.median


def test_long_workloads_are_measured_at_their_head_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    _only(monkeypatch, Coder("Plain", "bytes", _plain))
    found = measure(Plan(symbols=100_001, rounds=1))
    assert [(each.workload, each.symbols) for each in found.sections] == [
        ("dense", 100_001), ("sparse", 100_001), ("dense", 100_000), ("sparse", 100_000)
    ]  # fmt: skip
    assert {row.symbols for row in found.cold} == {100_000}
    assert found.notes == ("no picture was measured: there is no examples/*.webp here; name a picture file",)


def test_a_coder_that_fails_is_an_error_in_its_row_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    coders = [Coder("Peer", "wrong", _wrong), Coder("Peer", "failing", _failing), Coder("Peer", "plain", _plain)]
    _only(monkeypatch, *coders)
    found = measure(Plan(symbols=50, rounds=1))
    for rows in (*(section.rows for section in found.sections), found.cold[:3], found.cold[3:]):
        wrong, failing, plain = rows
        assert wrong.error == "the decoded symbols are not those that were coded"
        assert failing.error is not None
        assert failing.error.startswith("ValueError: cannot take ")
        assert "\n" not in failing.error
        assert wrong.encode is wrong.decode is failing.encode is failing.decode is None
        assert plain.error is None
        assert plain.encode
    assert "the decoded symbols are not those" in report.markdown(found)


def test_peers_are_compared_with_our_fastest_and_may_be_given_less(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    ours = [Coder(peers.OURS, each, partial(peers._ours, each)) for each in rans.implementations()]
    _only(monkeypatch, *ours, Coder("Whole", "plain", _plain), Coder("Peer", "plain", _plain, limit=10))
    found = measure(Plan(symbols=5000, rounds=2))
    for section in found.sections:
        *own, whole, peer = section.rows
        best = max(row.decode.best for row in own if row.decode)
        assert (peer.symbols, peer.bits) == (10, 32.0)
        assert whole.decode
        assert whole.decode_ratio == pytest.approx(best / whole.decode.best)
        assert peer.decode_ratio is None  # ten symbols may be dearer than the rest
        ideal = workloads.synthetic(section.workload, 5000, seed=1).head(10).ideal_bits
        assert peer.overhead == pytest.approx(100 * (32.0 / ideal - 1))
    assert "Peer, plain (first 10)" in report.markdown(found)
    assert {row.coder for row in found.cold} == {peers.OURS, "Whole"}  # not those that are given less
    assert all((row.decode_ratio is None) == (row.coder == peers.OURS) for row in found.cold)


def test_turns_are_reported_up_to_the_last(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    _only(monkeypatch, Coder("A", "plain", _plain), Coder("B", "plain", _plain))
    seen: list[tuple[int, int]] = []
    measure(Plan(symbols=10, rounds=2), lambda done, total: seen.append((done, total)))
    assert seen == [(done, len(seen)) for done in range(1, len(seen) + 1)]
    assert len(seen) == 2 * 2 * 3 + 2 * 2 * 7


@pytest.mark.parametrize("wrong", [{"symbols": 0}, {"rounds": 0}, {"seed": -1}])
def test_a_wrong_plan_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match="at least"):
        measure(Plan(**wrong))


def test_the_implementation_that_a_row_names_is_the_one_that_is_called() -> None:
    workload = workloads.synthetic("dense", 100, seed=1)
    task = peers._ours("nonsense", workload)
    for call in (task.encode, partial(task.decode, rans.encode(workload.symbols, workload.indexes, workload.tables))):
        with pytest.raises(ArgumentError, match="nonsense"):
            call()


@pytest.mark.usefixtures("no_peers")
def test_the_json_object_has_the_documented_fields(run: Run, picture: Path) -> None:
    done = run("bench", "coder", picture, "--json", *SMALL)
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    assert found["schema"] == 1
    assert list(found) == [field.name for field in fields(Report)]
    assert [list(each) for each in found["sections"]] == [[field.name for field in fields(Section)]] * 3
    assert {tuple(row) for each in found["sections"] for row in each["rows"]} == {tuple(f.name for f in fields(Row))}
    assert {tuple(row) for row in found["cold"]} == {tuple(f.name for f in fields(Cold))}
    assert list(found["sections"][0]["rows"][0]["encode"]) == ["best", "median"]
    assert list(found["missing"]) == list(PEERS)
    document = (Path(__file__).resolve().parent.parent / "docs" / "coder.md").read_text(encoding="utf-8")
    untold = {field.name for kind in (Report, Section, Row, Cold) for field in fields(kind)}
    untold = {name for name in untold if f"`{name}`" not in document}
    assert not untold, f"docs/coder.md does not tell of {sorted(untold)}"


@pytest.mark.usefixtures("no_peers")
def test_people_get_tables_and_are_told_how_to_get_the_peers(run: Run, picture: Path) -> None:
    for option in ((), ("--markdown",)):
        done = run("bench", "coder", picture, *option, *SMALL)
        assert (done.code, done.err) == (0, "")
        words = " ".join(done.out.split())
        for name, package in PEERS.items():
            assert re.search(rf"{name}: not installed \(pip install (--no-deps )?{package}\b", words), words
        for name in ("dense, 300 symbols", "sparse, 300 symbols", "picture.png, 90 x 70", "cold caches"):
            assert name in words
        for each in rans.implementations():
            assert f"Intaglio, {each}" in words


def test_a_peer_that_cannot_be_loaded_is_missing_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def load() -> list[Coder]:
        raise ImportError("no such\nlibrary")

    broken = peers._Peer("Broken", "numpy", "broken", load)
    monkeypatch.setattr(peers, "_PEERS", (broken,))
    found = peers.available()
    assert found.missing == {"Broken": "cannot be loaded (pip install broken): ImportError: no such library"}
    assert {coder.name for coder in found.coders} == {peers.OURS}


def test_peers_that_are_installed_code_and_decode_every_workload() -> None:
    installed = [coder for coder in peers.available().coders if coder.name != peers.OURS]
    if not installed:
        pytest.skip("no peer is installed")
    for name in workloads.SYNTHETIC:
        workload = workloads.synthetic(name, 5000, seed=5)
        for coder in installed:
            task = coder.ready(workload)
            data = task.encode()
            assert np.array_equal(task.restore(task.decode(data)), workload.symbols), coder
            assert 8 * len(data) / 5000 == pytest.approx(workload.ideal_bits, rel=0.03), coder


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere.png",), "nowhere.png"),
        (("text.png",), "text.png"),
        (("--json", "--markdown"), "exclude each other"),
        (("--symbols", 0), "--symbols"),
        (("--rounds", 0), "--rounds"),
        (("--seed", -1), "--seed"),
    ],
)
def test_a_wrong_call_is_one_line(run: Run, tmp_path: Path, arguments: tuple[object, ...], words: str) -> None:
    (tmp_path / "text.png").write_text("not a picture")
    assert words in run("bench", "coder", *arguments).fault()


def test_the_benchmark_loads_no_peer_before_it_is_run() -> None:
    code = "import sys, intaglio.bench.coder, intaglio.bench.report, intaglio.cli\n"
    code += f"assert not { ({*PEERS.values()} | {'torch'})!r} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
