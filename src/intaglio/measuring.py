"""One picture through one codec at one setting: its file, its seconds and memory, the measures; and the processes that
do it for many.
"""

from __future__ import annotations

import functools
import itertools
import math
import multiprocessing
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType

import numpy as np

from intaglio import allocation, images, metrics
from intaglio.codecs import Codec, Intaglio
from intaglio.errors import ArgumentError, ImageError, IntaglioError
from intaglio.results import Row, kept_path


@dataclass(frozen=True, eq=False)
class Coded:
    """A file of `size` bytes, the picture decoded from it, uint8 (H,W,3), seconds each way, megabytes at most."""

    size: int
    decoded: np.ndarray
    encode_s: float = math.nan
    decode_s: float = math.nan
    peak_mb: float = math.nan


@dataclass(frozen=True)
class How:
    """repeats: timed calls, of which the best counts. scored: whether SSIMULACRA2 is measured. keep: a folder of
    results where decoded pictures are kept, or None.
    """

    repeats: int = 1
    scored: bool = False
    keep: Path | None = None


@dataclass(frozen=True)
class Task:
    """A picture's file to be coded at some settings."""

    codec: Codec
    path: Path
    settings: tuple[float, ...]


@dataclass(frozen=True)
class Done:
    """Rows of a task for `count` of its settings; `notices`: what was converted or dropped in loading the picture.

    A picture that cannot be read has one row, with an error and without a codec.
    """

    task: Task
    count: int
    rows: list[Row] = field(default_factory=list)
    notices: tuple[str, ...] = ()


def code(codec: Codec, pixels: np.ndarray, quality: float, repeats: int = 1) -> Coded:
    """Codes uint8 (H,W,3) there and back, in this process; seconds are the best of `repeats`.

    The peak is this process's resident memory at most, from the first call to the last; NaN for a program, and where
    the system does not tell. Raises what the codec raises.
    """
    told = codec.in_process and _reset_peak()
    encode_s = decode_s = math.inf
    data, decoded = b"", pixels
    for _ in range(repeats):
        start = time.perf_counter()
        data = codec.encode(pixels, quality)
        middle = time.perf_counter()
        decoded = codec.decode(data)
        end = time.perf_counter()
        encode_s, decode_s = min(encode_s, middle - start), min(decode_s, end - middle)
    peak = _peak_mb() if told else math.nan
    decoded = images.to_rgb(decoded)
    if decoded.shape != pixels.shape:
        raise ImageError(f"{codec.name}: a picture of shape {pixels.shape} came back as {decoded.shape}")
    return Coded(len(data), decoded, encode_s, decode_s, peak)


def row_of(picture: str, pixels: np.ndarray, codec: Codec, quality: float, coded: Coded, scored: bool) -> Row:
    """The row of a coded picture; with `scored` it has SSIMULACRA2. pixels: the original, uint8 (H,W,3)."""
    height, width = pixels.shape[:2]
    side, decoded = min(height, width), coded.decoded
    luma, chroma = metrics.psnr_luma_chroma(pixels, decoded)
    similar = metrics.ms_ssim(pixels, decoded) if side >= metrics.MS_SSIM_MIN_SIDE else math.nan
    scored = scored and side >= metrics.SSIMULACRA2_MIN_SIDE
    return Row(
        picture=picture,
        width=width,
        height=height,
        codec=codec.name,
        setting=f"{quality:g}",
        bytes=coded.size,
        bpp=metrics.bits_per_pixel(coded.size, width, height),
        psnr=metrics.psnr(pixels, decoded),
        psnr_y=luma,
        psnr_c=chroma,
        ms_ssim=similar,
        ms_ssim_db=metrics.ms_ssim_db(similar),
        ssimulacra2=metrics.ssimulacra2(pixels, decoded) if scored else math.nan,
        encode_s=coded.encode_s,
        decode_s=coded.decode_s,
        peak_mb=coded.peak_mb,
    )


def one_at_a_time(tasks: Iterable[Task], how: How) -> Generator[Done, None, None]:
    """The tasks in their order, those of a codec in a process of its own that only codes, timed; a `Done` for each
    setting.

    Raises ImageError if such a process ends by itself.
    """
    for _, group in itertools.groupby(tasks, key=lambda task: task.codec.name):
        with _pool(1) as pool:
            warm = False
            for task in group:
                try:
                    picture = _loaded(task.path)
                except ImageError as error:
                    yield _unreadable(task, error)
                    continue
                pixels = picture.pixels
                for quality in task.settings:
                    try:
                        if task.codec.in_process and not warm:
                            pool.submit(_code_file, task, quality, 1).result()
                            warm = True
                        coded = pool.submit(_code_file, task, quality, how.repeats).result()
                        row = _kept_row(task, pixels, quality, coded, how)
                    except BrokenProcessPool:
                        raise ImageError(f"{task.path}: {task.codec.name} {_ENDED}") from None
                    except IntaglioError as error:
                        row = _failed(task, pixels, quality, error)
                    yield Done(task, 1, [row], picture.notices)


def several_at_a_time(tasks: Iterable[Task], how: How, jobs: int) -> Generator[Done, None, None]:
    """The tasks as they get done, in `jobs` processes, not timed; a `Done` for each setting.

    Raises ImageError if such a process ends by itself.
    """
    with _pool(jobs) as pool:
        pieces = (replace(task, settings=(quality,)) for task in tasks for quality in task.settings)
        futures = {pool.submit(_measured, piece, how): piece for piece in pieces}
        for future in as_completed(futures):
            try:
                yield future.result()
            except BrokenProcessPool:
                raise ImageError(f"{futures[future].path}: a process {_ENDED}") from None


_ENDED = "ended by itself, perhaps for want of memory; what is measured is kept, run it again to go on"


@contextmanager
def _ends_on_leaving() -> Iterator[None]:
    """Ends this process when it was told to leave, instead of taking the next of the work that waits."""
    try:
        yield
    except SystemExit:
        _kill_group(os.getpid())
        os._exit(1)


@functools.lru_cache(maxsize=1)
def _loaded(path: Path) -> images.Picture:
    """The settings of a picture come one after the other."""
    picture = images.load(path)
    return images.Picture(images.to_rgb(picture.pixels), picture.notices)


@_ends_on_leaving()
def _measured(task: Task, how: How) -> Done:
    """A task of one setting."""
    quality = task.settings[0]
    try:
        picture = _loaded(task.path)
    except ImageError as error:
        return _unreadable(task, error)
    try:
        coded = code(task.codec, picture.pixels, quality)
        row = _kept_row(task, picture.pixels, quality, Coded(coded.size, coded.decoded), how)
    except IntaglioError as error:
        row = _failed(task, picture.pixels, quality, error)
    return Done(task, 1, [row], picture.notices)


@_ends_on_leaving()
def _code_file(task: Task, quality: float, repeats: int) -> Coded:
    return code(task.codec, _loaded(task.path).pixels, quality, repeats)


def _kept_row(task: Task, pixels: np.ndarray, quality: float, coded: Coded, how: How) -> Row:
    row = row_of(task.path.name, pixels, task.codec, quality, coded, how.scored)
    if how.keep is not None:
        keep(how.keep, row, pixels, coded.decoded, task.codec)
    return row


def keep(folder: Path, row: Row, pixels: np.ndarray, decoded: np.ndarray, codec: Codec) -> None:
    """Writes the decoded picture of a row, uint8 (H,W,3), the original where it is not there yet, of Intaglio the map
    of its bits (see `intaglio.allocation`).
    """
    original, target = kept_path(folder, row.picture), kept_path(folder, row.picture, row.codec, row.setting)
    original.parent.mkdir(parents=True, exist_ok=True)
    if not original.exists():
        images.save(original, pixels)
    images.save(target, decoded)
    if isinstance(codec, Intaglio):
        allocation.save(allocation.beside(target), codec.allocation(pixels, float(row.setting)))


def forget(folder: Path, pictures: Iterable[str], rows: Iterable[Row]) -> None:
    """Removes what `keep` wrote of pictures by name, originals too, and of single rows. Raises ArgumentError if it
    cannot be removed.
    """
    try:
        for picture in pictures:
            if (place := kept_path(folder, picture).parent).exists():
                shutil.rmtree(place)
        for row in rows:
            target = kept_path(folder, row.picture, row.codec, row.setting)
            target.unlink(missing_ok=True)
            allocation.beside(target).unlink(missing_ok=True)
    except OSError as error:
        raise ArgumentError(f"{folder}: a kept picture cannot be removed ({error.strerror or error})") from None


def _unreadable(task: Task, error: ImageError) -> Done:
    return Done(task, len(task.settings), [Row(task.path.name, error=str(error).removeprefix(f"{task.path}: "))])


def _failed(task: Task, pixels: np.ndarray, quality: float, error: IntaglioError) -> Row:
    height, width = pixels.shape[:2]
    return Row(task.path.name, width, height, task.codec.name, f"{quality:g}", error=str(error))


@contextmanager
def _pool(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Fresh processes: they inherit neither memory nor threads. If the body is left early, by SIGTERM too, they end."""
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"), initializer=_prepare_worker)
    with _interrupted_by_sigterm():
        try:
            yield pool
            pool.shutdown()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            _end(set(multiprocessing.active_children()) - before)
            raise


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt, unless somebody else has a use for it."""
    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


_GRACE_S = 5.0  # for a process to stop its program and remove its files


def _end(processes: Iterable[BaseProcess]) -> None:
    ending = list(processes)
    for each in ending:
        each.terminate()
    limit = time.monotonic() + _GRACE_S
    for each in ending:
        each.join(max(0.0, limit - time.monotonic()))
        if each.is_alive() and each.pid:
            _kill_group(each.pid)
            each.kill()


def _kill_group(pid: int) -> None:
    """Ends a process and the program it may have begun, if the process has a group of its own."""
    with suppress(AttributeError, OSError):  # Windows has no groups
        os.killpg(pid, signal.SIGKILL)


def _prepare_worker() -> None:
    with suppress(AttributeError):
        os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # without a traceback
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_watch_parent, daemon=True).start()


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(1)  # not at once: a program that runs is ended, its folder removed


def _watch_parent() -> None:
    """Ends this process soon after the one that started it, which may have been killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_GRACE_S)
        _kill_group(os.getpid())
        os._exit(1)


def _reset_peak() -> bool:
    """Sets this process's peak of resident memory back to what it is now; whether that worked (proc(5), clear_refs)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _peak_mb() -> float:
    """Peak of this process's resident memory since, in megabytes of 10^6 bytes."""
    found = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(found[1]) * 1024 / 1e6 if found else math.nan
