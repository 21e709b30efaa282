"""Photographs shared out over processes, each with a landmark backend of its own."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from typing import Any

from facelesion.data.preparation.journal import Job, work
from facelesion.errors import Error
from facelesion.faces.landmarks import Backend, landmark_backend
from facelesion.main_guard import GUARD, UNGUARDED

_worker_backend: Backend | None = None


def _begin_worker(landmarks: str, model: str | None) -> None:
    """In a worker: make the backend, and end when the main process does."""
    global _worker_backend
    import cv2

    cv2.setNumThreads(1)
    if landmarks != "mediapipe":
        import torch

        torch.set_num_threads(1)
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    _worker_backend = landmark_backend(landmarks, model)


def _work_here(job: Job) -> int:
    assert _worker_backend is not None
    work(job, _worker_backend)
    return len(job.names)


class _Spawn(SpawnContext):
    """Starts processes afresh (forking one whose libraries have threads can hang), and remembers them."""

    def __init__(self) -> None:
        self.started: list[SpawnProcess] = []

    def Process(self, *args: Any, **kwargs: Any) -> SpawnProcess:  # type: ignore[override]
        self.started.append(SpawnProcess(*args, **kwargs))
        return self.started[-1]


def work_in_parallel(jobs: Sequence[Job], count: int, model: str | Path | None, bar: Any) -> None:
    context = _Spawn()
    pool: Executor = ProcessPoolExecutor(
        count,
        mp_context=context,
        initializer=_begin_worker,
        initargs=(jobs[0].options.landmarks, None if model is None else str(model)),
    )
    try:
        futures: list[Future[int]] = [pool.submit(_work_here, job) for job in jobs]
        for future in as_completed(futures):
            bar.update(future.result())
    except BrokenProcessPool:
        pool.shutdown(cancel_futures=True)
        if any(process.exitcode == UNGUARDED for process in context.started):
            raise Error(GUARD) from None
        raise Error(
            "a worker process ended unexpectedly (out of memory?): what is done is kept, so run it again, "
            "with fewer workers"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)
