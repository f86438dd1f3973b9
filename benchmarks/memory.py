"""Peak memory of training, forecasts and evaluation, and what becomes of it when the data double.

python benchmarks/memory.py out=FILE.csv [channels=40] [training=60] [starts=2] [scored=8]
                            [leads=28] [folder=DIR] [only=[train,forecast,evaluate]]
python benchmarks/marks.py                          then the pages that show it

Stores are of 1.5° and made up. Training is its start, two steps of `size=small batch=2` and its
validations and checkpoints; forecasts are of its checkpoint, with `batch=2`; evaluated are made-up
forecasts from more starts (`scored`), with two tasks at once. Each has a process of its own, whose
peak, that of the kernel (VmHWM), holds the interpreter and its libraries too. Each is done again
with twice the training period, and, where they matter, twice the starts and twice the leads.

peak_mib: that peak. imported_mib: with libraries read. cpu_s: of all threads.
"""

from __future__ import annotations

import csv
import multiprocessing
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from made_up import Case, make_forecast, make_store
from marks import remember

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "launch"))

COLUMNS = ("work", "case", "channels", "training", "starts", "leads")
FIGURES = ("imported_mib", "peak_mib", "cpu_s")


def peak_mib() -> float:
    """The most that this process has had in memory, MiB; not what its parent had."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def train(folder: Path) -> None:
    """Start, two steps, one validation."""
    from entry import compose_config

    from climate.training.run import train

    options = [f"store={folder}/store", f"run_dir={folder}/run", "backend=single", "size=small"]
    options += ["step=6h", "batch=2", "stream.lanes=1", "trainer.total_steps=2"]
    options += ["trainer.validations=1", "validation.lead=6h"]
    train(compose_config("train_era5", options))


def forecast(folder: Path, case: Case) -> None:
    """From the first starts of the test period, by the run in the folder."""
    from made_up import FIRST, SIX

    from climate.forecasts.writing import write_forecast
    from climate.models.weather_model import WeatherModel
    from climate.stream.views import open_for_model
    from vgbdm.loading import load

    model = load(folder / "run", "best", "cpu", WeatherModel)
    first = FIRST + case.first_start * SIX
    write_forecast(
        model, open_for_model(folder / "store", model, folder), folder / "out",
        starts=[first + k * SIX for k in range(case.starts)], lead=case.leads * SIX, batch=2,
    )  # fmt: skip


def evaluate(folder: Path) -> None:
    """Score the forecast in the folder."""
    from climate.forecasts.reading import open_forecast
    from climate.store.layout import open_store
    from climate.verification.scorecard import score
    from vgbdm.tasks import Dask

    store = open_store(folder / "store")
    score(open_forecast(folder / "forecast", store), store, dask=Dask("threads", 2))


def measured(work: Callable[..., None], given: tuple[Any, ...], result: Any) -> None:
    """Work in this process; send its figures."""
    import torch

    import climate.training.run
    import climate.verification.scorecard  # noqa: F401

    torch.set_num_threads(1)
    imported, begin = peak_mib(), time.process_time()
    work(*given)
    result.put((imported, peak_mib(), time.process_time() - begin))


def alone(work: Callable[..., None], *given: Any) -> tuple[float, ...]:
    """The figures of work in a process of its own."""
    context = multiprocessing.get_context("spawn")
    result = context.Queue()
    job = context.Process(target=measured, args=(work, given, result))
    job.start()
    job.join()
    if job.exitcode:
        sys.exit(f"{work.__name__} failed")
    found: tuple[float, ...] = result.get()
    return found


def main() -> None:
    """A row for each work and case, written as they are found."""
    told = dict(a.split("=", 1) for a in sys.argv[1:] if "=" in a)
    if "out" not in told:
        sys.exit(__doc__)
    sizes = {"channels": 40, "training": 60, "starts": 2, "scored": 8, "leads": 28}
    sizes |= {name: int(told[name]) for name in sizes if name in told}
    works = told.get("only", "[train,forecast,evaluate]").strip("[]").split(",")
    base = Case(sizes["channels"], sizes["training"], sizes["starts"], sizes["leads"])
    scored = replace(base, starts=sizes["scored"])
    with Path(told["out"]).open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow((*COLUMNS, *FIGURES))

        def row(work: str, name: str, case: Case, figures: tuple[float, ...]) -> None:
            about = (work, name, case.channels, case.training, case.starts, case.leads)
            table.writerow((*about, *(round(figure) for figure in figures)))
            file.flush()
            print(*about, *(round(figure) for figure in figures), flush=True)

        room = replace(scored, starts=2 * scored.starts, leads=2 * scored.leads)
        for training, names in ((1, ("", "starts", "leads")), (2, ("training",))):
            with tempfile.TemporaryDirectory(dir=told.get("folder")) as scratch:
                folder = Path(scratch)
                alone(
                    make_store, replace(room, training=training * base.training), folder / "store"
                )
                trained = alone(train, folder)
                for doubled in names:
                    name = f"twice the {doubled}" if doubled else "as told"
                    own, other = (
                        replace(case, **{doubled: 2 * getattr(case, doubled)}) if doubled else case
                        for case in (base, scored)
                    )
                    if "train" in works and doubled in ("", "training"):
                        row("train", name, own, trained)
                    if "forecast" in works:
                        row("forecast", name, own, alone(forecast, folder, own))
                        shutil.rmtree(folder / "out")
                    if "evaluate" in works:
                        alone(make_forecast, other, folder / "forecast")
                        row("evaluate", name, other, alone(evaluate, folder))
                        shutil.rmtree(folder / "forecast")
    remember(Path(told["out"]), sys.argv[1:])


if __name__ == "__main__":
    main()
