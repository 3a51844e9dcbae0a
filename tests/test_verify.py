"""`verify` tells an exact machine from one that is not, and prints a digest that does not depend on how it ran."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from command_line import Run, foreign
from intaglio import codec, container, verify
from intaglio.bundle import Model, load_model
from intaglio.coders import Decode
from intaglio.errors import FormatError, ModelError
from intaglio.integer import Network, from_arrays, to_onnx
from intaglio.modelfile import ModelFile
from intaglio.traversal import latents

SMALL = Path(__file__).parent / "golden" / "v1" / "small.itgm"
CUT = 20  # bytes


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(SMALL, 1)


@pytest.fixture(scope="module")
def tiled(photo: np.ndarray, model: Model) -> bytes:
    """A picture of 2 x 3 tiles, coded with the small model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(container, "choose_tile", lambda width, height: 1)
        return codec.encode(photo[:100, :140], 40, model=model)


def altered(model: Model, name: str, change: Callable[[dict[str, np.ndarray]], None]) -> Model:
    """The model whose fast path runs another network than its file holds."""
    arrays = {key: array.copy() for key, array in model.file.arrays.items()}
    change(arrays)
    network: Network = from_arrays(name, arrays, model.layout)
    file = model.file
    graphs = {**file.graphs, name: to_onnx(network)}
    return Model(ModelFile(file.name, graphs, file.arrays, file.config, file.record), 1)


def test_a_picture_is_exact_with_the_shipped_model(data: bytes) -> None:
    found = verify.verify(data, threads=1)
    assert found.exact
    assert found.differences == ()
    assert found.symbols > 64 * 64 * 2


def test_several_tiles_are_exact(tiled: bytes, model: Model) -> None:
    found = verify.verify(tiled, model)
    assert found.exact
    z, y = model.z_rows(0).shape[1], model.layout.channels * 16
    assert found.symbols == 6 * (z + y)


def test_the_selftest_is_exact_and_knows_its_model(model: Model) -> None:
    found = verify.selftest(model)
    assert found.exact
    assert found.digest != verify.selftest(load_model(threads=1)).digest


def test_the_digest_does_not_depend_on_the_threads(data: bytes, tiled: bytes) -> None:
    assert len({verify.verify(data, threads=threads).digest for threads in (1, 2)}) == 1
    models = [load_model(SMALL, threads) for threads in (1, 2)]
    assert len({verify.verify(tiled, each).digest for each in models}) == 1
    assert len({verify.selftest(each).digest for each in models}) == 1


def test_the_digest_is_that_of_the_format_document(tiled: bytes, model: Model) -> None:
    parts: list[bytes] = []

    class Told(Decode):
        means: np.ndarray | None = None

        def gaussian(self, y: Any, y_hat: Any, params: Any, step: int) -> Any:
            self.means = 16 * params[0]
            return super().gaussian(y, y_hat, params, step)

        def _code(self, symbols: Any, rows: Any) -> Any:
            found = super()._code(symbols, rows)
            numbers = [found] if self.means is None else [self.means, found]
            parts.extend([rows.tobytes(), *(each.astype("<i4").tobytes() for each in numbers)])
            return found

    coded = container.read(tiled)
    for payload in coded.payloads:
        latents(model, None, coded.header.rate, Told(model.layout, model.tables, payload, (1, 1)))
    assert hashlib.sha256(b"".join(parts)).hexdigest() == verify.verify(tiled, model).digest


def _first_bias(name: str) -> Callable[[dict[str, np.ndarray]], None]:
    def change(arrays: dict[str, np.ndarray]) -> None:
        arrays[name] += 1 << int(arrays[name.replace("bias", "shift")].max())  # one step of the output

    return change


@pytest.mark.parametrize(
    ("network", "layer"), [("hyper_synthesis", "to_full"), ("context_0", "head_2"), ("context_3", "head_1")]
)
def test_another_network_in_the_fast_path_is_noticed(network: str, layer: str, tiled: bytes, model: Model) -> None:
    wrong = altered(model, network, _first_bias(f"{network}.{layer}.bias"))
    for found in (verify.verify(tiled, wrong), verify.selftest(wrong)):
        assert not found.exact
        assert found.digest not in (verify.verify(tiled, model).digest, verify.selftest(model).digest)
    assert any("table rows differ" in each for each in verify.selftest(wrong).differences)
    assert any("means differ" in each for each in verify.selftest(wrong).differences)


def test_one_sum_that_is_off_by_a_unit_is_noticed(model: Model) -> None:
    """The selftest sees so many sums that one of them lies at an edge."""

    def change(arrays: dict[str, np.ndarray]) -> None:
        arrays["context_1.head_0.bias"][:, 0] += 1

    assert not verify.selftest(altered(model, "context_1", change)).exact


def test_means_off_by_less_than_a_sixteenth_are_noticed(
    tiled: bytes, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Model.run

    def shifted(self: Model, graph: str, *arguments: Any) -> list[Any]:
        found = run(self, graph, *arguments)
        return [found[0] + np.float32(0.03), *found[1:]] if graph == "context_3" else found

    monkeypatch.setattr(Model, "run", shifted)
    found = verify.verify(tiled, model)
    assert not found.exact
    assert "means differ" in found.differences[0]


def test_a_fast_path_that_breaks_off_is_a_difference_and_no_damage(
    tiled: bytes, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = altered(model, "context_0", _first_bias("context_0.head_0.bias"))
    finish, calls = Decode.finish, []

    def breaks_off(self: Any) -> None:
        calls.append(self)
        if len(calls) == 1:
            raise FormatError("no end")
        finish(self)

    monkeypatch.setattr(Decode, "finish", breaks_off)
    found = verify.verify(tiled, wrong)
    assert any("the fast path cannot decode tile 0 (no end)" in each for each in found.differences)


def test_progress_counts_both_ways_of_every_tile(tiled: bytes, model: Model) -> None:
    seen: list[tuple[int, int]] = []
    verify.verify(tiled, model, None, lambda done, total: seen.append((done, total)))
    assert seen == [(step, 12) for step in range(1, 13)]


@pytest.mark.parametrize("content", ["zeros", "longer"])
def test_a_payload_that_neither_way_can_decode_is_damaged(content: str, tiled: bytes, model: Model) -> None:
    coded = container.read(tiled)
    first, *others = coded.payloads
    bad = bytes(len(first)) if content == "zeros" else first[:1] + b"\1\2" + first[1:]
    with pytest.raises(FormatError):
        verify.verify(container.write(container.Container(coded.header, (bad, *others))), model)


def test_verify_needs_the_right_model(tiled: bytes, data: bytes, model: Model) -> None:
    with pytest.raises(ModelError, match=model.model_id.hex()):
        verify.verify(tiled)
    with pytest.raises(ModelError, match=model.model_id.hex()):
        verify.verify(data, model)


def test_the_command_says_that_files_are_exact(run: Run, coded: Path) -> None:
    done = run("verify", coded.name, "--threads", "1")
    assert done.code == 0, done
    first, second = done.out.splitlines()
    found = verify.verify(coded.read_bytes(), threads=1)
    assert first.startswith(f"{coded.name}: exact: every table row, mean and symbol")
    assert str(found.symbols) in first
    assert second == f"{coded.name}: digest {found.digest}"


def test_the_command_checks_several_files_and_the_model_and_prints_json(run: Run, tiled: bytes, model: Model) -> None:
    for name in ("a.itg", "b.itg"):
        Path(name).write_bytes(tiled)
    done = run("verify", "a.itg", "b.itg", "--selftest", "--model", SMALL, "--json")
    assert done.code == 0, done
    told = json.loads(done.out)
    assert told["exact"] is True
    assert [each["name"] for each in told["checks"]] == [f"selftest of {SMALL}", "a.itg", "b.itg"]
    digests = [verify.selftest(model).digest, *[verify.verify(tiled, model).digest] * 2]
    assert [each["digest"] for each in told["checks"]] == digests
    assert {"onnxruntime", "numpy", "python", "machine"} <= set(told["versions"])


def test_the_command_exits_with_1_where_something_differs(
    run: Run, tiled: bytes, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = altered(model, "context_2", _first_bias("context_2.head_3.bias"))
    monkeypatch.setattr(codec, "load_model", lambda *_: wrong)
    Path("a.itg").write_bytes(tiled)
    done = run("verify", "a.itg", "--model", "any")
    assert done.code == 1
    assert done.err == ""
    assert "NOT EXACT" in done.out.splitlines()[0]
    done = run("verify", "a.itg", "--model", "any", "--json")
    assert done.code == 1
    assert json.loads(done.out)["exact"] is False


@pytest.mark.parametrize("content", ["cut", "empty", "text", "foreign"])
def test_a_file_that_cannot_be_decoded_is_one_line_that_names_it(run: Run, coded: Path, content: str) -> None:
    whole = coded.read_bytes()
    made = {"cut": whole[:CUT], "empty": b"", "text": b"this is text", "foreign": foreign(whole)}
    coded.write_bytes(made[content])
    assert coded.name in run("verify", coded.name).fault()


def test_nothing_to_verify_is_one_line(run: Run) -> None:
    assert "--selftest" in run("verify").fault()
    assert "cannot be read" in run("verify", "missing.itg").fault()
