"""The verb `frontier`: a study's folder, its data and workers, and Ctrl-C around the search.

::

    STUDY/study.toml      everything resolved
          study.json      its name and place in Optuna's database, hash of the data, versions
          runs.jsonl      a line a run that has ended
          optuna.sqlite   what Optuna knows, unless it has another storage
          states/         runs that have not ended, packed
          models/         the final runs of each budget
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy

from tinybuddy.backends.interface import Stopped
from tinybuddy.corpus.kept import is_read_once
from tinybuddy.disk import expanded, read_record, read_text, write_text
from tinybuddy.errors import TinybuddyError, UsageError
from tinybuddy.frontier.pools import LocalPool, Pool
from tinybuddy.frontier.progress import StudyHooks
from tinybuddy.frontier.search import Search
from tinybuddy.frontier.shapes import check_budgets
from tinybuddy.frontier.study import Study, load_study, parse_study
from tinybuddy.recipes import MAX_RECIPE_BYTES
from tinybuddy.training.checkpoint import clear, is_taken, locked
from tinybuddy.training.dataset import Dataset, prepare
from tinybuddy.training.provenance import provenance

RECORD = "study.json"
HIDDEN = ":***@"  # as SQLAlchemy shows a password


def begin(
    study: str | Path | Study,
    *,
    out: str | Path | None = None,
    data: str | None = None,
    workers: int | None = None,
    cluster: str | None = None,
    storage: str | None = None,
    hooks: StudyHooks | None = None,
) -> dict[str, Any]:
    """Search for the best model of each budget.

    Args:
        study: a published name, a TOML file, or a `Study`.
        out: the study's folder, made here; by default ``studies/NAME``.
        data: in place of the study's, as `tinybuddy.train` takes it.
        workers: processes of this machine; by default one a core.
        cluster: address of a Ray cluster to run on, such as ``auto`` or ``10.0.0.1:6379``.
        storage: address of Optuna's database, as SQLAlchemy takes it; by default a SQLite file.
            It is kept, so that `resume` needs it only where it has a password.
        hooks: called with the progress.

    Returns:
        ``runs``, the number of runs that have ended, ``seconds``, ``search_seconds`` (of the
        processor, without the workers) and ``study``, its folder.

    Raises:
        UsageError: for an impossible value.
        TinybuddyError: if data, folder, database or cluster cannot be had; what has ended is kept.
        Stopped: on Ctrl-C.
    """
    study = study if isinstance(study, Study) else load_study(study)
    if data:
        study = replace(study, recipe=study.recipe.with_settings({"data": data}))
    if is_read_once(study.recipe.train.data):
        raise UsageError("A study reads its data again when it goes on: give it a file.")
    check_budgets(study)
    folder = expanded(out) if out else Path("studies") / study.name
    _check_free(folder)
    with locked(folder):
        _check_free(folder)
        write_text(folder / "study.toml", study.to_toml())
        try:
            return _work(study, folder, workers, cluster, storage, hooks or StudyHooks())
        except TinybuddyError:
            if not (folder / "runs.jsonl").exists():  # it never began, and may be begun again
                clear(folder, everything=True)
            raise


def resume(
    folder: str | Path,
    *,
    workers: int | None = None,
    cluster: str | None = None,
    storage: str | None = None,
    hooks: StudyHooks | None = None,
) -> dict[str, Any]:
    """Go on with a study that was stopped; arguments, result and errors as `begin` has them."""
    folder = expanded(folder)
    path = folder / "study.toml"
    if not path.is_file():
        raise TinybuddyError(
            f"There is no study in {folder}: check the spelling, or begin one with tinybuddy "
            "frontier run."
        )
    study = parse_study(read_text(path, MAX_RECIPE_BYTES), folder.name)
    with locked(folder):
        return _work(study, folder, workers, cluster, storage, hooks or StudyHooks())


def _check_free(folder: Path) -> None:
    if is_taken(folder):
        raise TinybuddyError(
            f"{folder} already holds something: go on with tinybuddy frontier resume {folder} if "
            "it is a study, or choose another `out`."
        )


def _work(
    study: Study,
    folder: Path,
    workers: int | None,
    cluster: str | None,
    storage: str | None,
    hooks: StudyHooks,
) -> dict[str, Any]:
    """Bring a study from wherever it stands to its end."""
    if workers is not None and workers < 1:
        raise UsageError(f"`workers` must be 1 or more, not {workers}.")
    began, cpu_began = time.monotonic(), time.process_time()
    pool: Pool | None = None
    try:
        with _interrupted():
            record = _read_record(folder)
            pool = _open_pool(workers, cluster)
            database = open_storage(_address(folder, storage, record))
            dataset = prepare(
                study.recipe, sha256=record.get("data_sha256"), held=True, hooks=hooks
            )
            if not record:
                record = _new_record(study, storage, dataset)
                write_text(folder / RECORD, json.dumps(record, indent=2) + "\n")
            rows = Search(study, record["name"], folder, dataset, pool, database, hooks).go()
    except KeyboardInterrupt:
        raise Stopped(
            "stopped, and what has been trained is kept: go on with "
            f"tinybuddy frontier resume {shlex.quote(str(folder))}"
        ) from None
    except optuna.exceptions.StorageInternalError as error:
        raise TinybuddyError(
            f"Optuna's database cannot be used ({_reason(error)}): mend that, and go on with "
            f"tinybuddy frontier resume {shlex.quote(str(folder))}"
        ) from None
    finally:
        if pool:
            pool.close()
    return {
        "study": str(folder),
        "runs": len(rows),
        "seconds": time.monotonic() - began,
        "search_seconds": time.process_time() - cpu_began,
    }


@contextmanager
def _interrupted() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does, and Ctrl-C too where a shell has it ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    old = {number: signal.signal(number, signal.default_int_handler) for number in signals}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _open_pool(workers: int | None, cluster: str | None) -> Pool:
    if cluster is None:
        return LocalPool(workers or os.cpu_count() or 1)
    from tinybuddy.frontier.cluster import RayPool

    return RayPool(cluster)


def open_storage(address: str) -> optuna.storages.BaseStorage:
    """Open Optuna's database.

    A SQLite file is written without waiting for the disk, which makes a trial cost the search a
    sixth: a kill loses nothing, and what a power cut loses is proposed again.

    Raises:
        TinybuddyError: if it cannot be opened.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        storage = optuna.storages.RDBStorage(address)
    except Exception as error:  # whatever SQLAlchemy and a database's driver raise
        raise TinybuddyError(
            f"Optuna's database {_shown(address)} cannot be opened ({_reason(error)}): check "
            "`storage`."
        ) from None
    if storage.engine.dialect.name == "sqlite":
        if storage.engine.url.database in (None, "", ":memory:"):
            raise UsageError(f"{address} keeps nothing: name a file, such as sqlite:///my.db.")
        sqlalchemy.event.listen(storage.engine, "connect", _write_ahead)
        storage.engine.dispose()  # connections of before
    return storage


def _shown(address: str) -> str:
    """An address without its password."""
    try:
        return sqlalchemy.make_url(address).render_as_string(hide_password=True)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        return address


def _write_ahead(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")


def _reason(error: BaseException) -> str:
    cause = error.__cause__ or error
    return str(getattr(cause, "orig", cause)).partition("\n")[0]


def _read_record(folder: Path) -> dict[str, Any]:
    """What was kept of a study when it began; empty before."""
    path = folder / RECORD
    if not path.exists():
        return {}
    record = read_record(path)
    match record:
        case {"name": str(), "storage": str(), "data_sha256": str()}:
            return record
    raise TinybuddyError(f"{path} is not as a study writes it: put it back.")


def _new_record(study: Study, storage: str | None, dataset: Dataset) -> dict[str, Any]:
    return {
        "name": f"{study.name}-{secrets.token_hex(4)}",  # others may share the database
        "storage": _shown(storage) if storage else "",
        "data_sha256": dataset.survey.sha256,
        **provenance(torch=False),
    }


def _address(folder: Path, storage: str | None, record: dict[str, Any]) -> str:
    """Where Optuna's database is."""
    if storage:
        return storage
    known: str = record.get("storage", "")
    if HIDDEN in known:
        raise UsageError(f"Passwords are not kept: give `storage` again, {known}.")
    return known or f"sqlite:///{folder / 'optuna.sqlite'}"
