"""Proof that a change of the code changes no training: two commits side by side, step by step.

python benchmarks/same_training.py base=COMMIT [head=.] [steps=20] [only=SUBSTRING] [out=FILE.md]

Trains every model by every objective of both worlds with each checkout's own code, on one process
and on two ranks (ddp, gloo), one thread each, both checkouts at once. Compared are losses and their
parts at every step, the gradients of the first two steps, and the weights after the last one; see
`same_training_differences` for what relative means. Exits 1 where a difference is above 1e-6, or a
run could not be compared. `base` and `head` are commits, or folders with what is not committed: a
change that is meant, as of draws, is first made in a copy of base. Runs of a config that base does
not have are left out, and said to be.
"""

import contextlib
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from same_training_data import SPLITS, make_files, make_stores
from same_training_differences import Difference, MismatchError, compare
from same_training_runs import LAYOUTS, Run, chosen

REPO = Path(__file__).resolve().parent.parent
DRIVER = Path(__file__).with_name("same_training_driver.py")
SECONDS = 1800
T = TypeVar("T")
RENAMED = {
    "objective.places.": "objective.sampler.",
    "model.encoder={_target_: vgbdm.latents.encoders.": "model.encoder={_target_: vgbdm.encoders.",
}
"""Beginnings of options that base knows by another name: of head → of base."""
HEADER = (
    "| run | steps | loss | gradient | weights | score | equal bits | |\n"
    "|---|---|---|---|---|---|---|---|"
)


class LaunchError(Exception):
    """A launcher has failed."""


class Checkout:
    """A checkout of the code and its server of launches.

    Args:
        code: folder of the code.
        place: where its stores and runs go.
        renamed: beginnings of options as head says them → as this one does.
    """

    def __init__(self, code: Path, place: Path, renamed: dict[str, str]) -> None:
        self.code, self.place, self.renamed = code, place.resolve(), renamed
        (place / "stores").mkdir(parents=True)
        env = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "TORCHELASTIC_"))}
        env |= {"PYTHONPATH": str(code), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        self.server = subprocess.Popen(
            [sys.executable, str(DRIVER), str(code)], env=env, text=True, cwd=place,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip

    def launch(
        self, name: str, *options: str, ranks: int = 1, record: Path | None = None, steps: int = 0
    ) -> None:
        """Run a launcher to its end.

        Raises:
            LaunchError: with its last line.
        """
        assert self.server.stdin and self.server.stdout
        log = self.place / "launch.log"
        log.unlink(missing_ok=True)
        job = {
            "script": str(self.code / "launch" / f"{name}.py"),
            "options": [self.translate(option) for option in options],
            "ranks": ranks, "record": record and str(record), "steps": steps,
            "port": free_port(), "log": str(log), "seconds": SECONDS,
        }  # fmt: skip
        self.server.stdin.write(json.dumps(job) + "\n")
        self.server.stdin.flush()
        answer = self.server.stdout.readline()
        if not answer:
            raise LaunchError(f"{self.place.name}: the server of launches has ended")
        if any(json.loads(answer)):
            lines = [line for line in log.read_text().splitlines() if line.strip()]
            raise LaunchError(f"{self.place.name}: {name}: {(lines or ['no output'])[-1]}")

    def translate(self, option: str) -> str:
        """An option of head as this checkout says it; old names where its configs have them."""
        for new, old in self.renamed.items():
            _, is_class, place = old.rpartition(" ")
            text = place if is_class else f"{old.rstrip('.').rpartition('.')[2]}:"
            if option.startswith(new) and self._knows(text):
                return old + option.removeprefix(new)
        return option

    def _knows(self, text: str) -> bool:
        """Whether a config of this checkout has a key, or names a place of classes."""
        files = (self.code / "configs").rglob("*.yaml")
        return any(text in file.read_text() for file in files)

    def lacks(self, run: Run) -> str:
        """The first choice of a group of configs that is not there; nothing where all are."""
        for option in map(self.translate, run.options):
            group, _, name = option.partition("=")
            choice = Path("configs") / group / f"{name}.yaml"
            if (REPO / choice).exists() and not (self.code / choice).exists():
                return option
        return ""

    def train(self, run: Run, layout: str, steps: int) -> Path:
        """One training; its folder."""
        folder, stores = self.folder(run.name, layout), self.place / "stores"
        folder.mkdir(parents=True)
        data = [f"store={stores}/{run.data}"]
        if run.script == "train_system":
            data = [f"data.{split}={stores}/{run.data}-{split}" for split in ("train", "val")]
        init = [f"init={self.folder(run.after, layout)}/run"] if run.after else []
        self.launch(
            run.script, *run.options, *data, *init, f"run_dir={folder}/run", f"backend={layout}",
            f"trainer.total_steps={steps}", ranks=LAYOUTS[layout], record=folder / "record",
            steps=steps,
        )  # fmt: skip
        return folder

    def folder(self, name: str, layout: str) -> Path:
        """Of a training."""
        return self.place / "runs" / f"{re.sub('[^a-zA-Z0-9_]+', '-', name)}-{layout}"

    def close(self) -> None:
        """End the server and whatever it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.server.pid, 9)
        self.server.wait()


def free_port() -> str:
    """One of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@contextlib.contextmanager
def code_of(text: str, folder: Path) -> Iterator[Path]:
    """A folder as it is, or a worktree of a commit, which goes in the end."""
    if Path(text).is_dir():
        yield Path(text).resolve()
        return
    git = ["git", "-C", str(REPO), "worktree"]
    done = subprocess.run(
        [*git, "add", "--detach", str(folder), text], capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"{text} is no folder and no commit: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run([*git, "remove", "--force", str(folder)], capture_output=True)


def on_both(base: Checkout, head: Checkout, act: Callable[[Checkout], T]) -> list[T]:
    """Let both do it at once; nothing of it goes on where this process is to end."""
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(act, checkout) for checkout in (base, head)]
        try:
            return [one.result() for one in both]
        except (KeyboardInterrupt, SystemExit):
            base.close()
            head.close()
            raise


def row(name: str, found: Difference) -> str:
    """A line of the table; what is above the tolerance is named."""
    numbers = (found.loss, found.gradient, found.weights, found.score)
    told = [f"**{found.where}**" if found.fault else "", found.notes]
    return (
        f"| {name} | {found.steps} | {' | '.join(f'{x:.1e}' if x else '0' for x in numbers)} "
        f"| {'yes' if found.equal else 'no'} | {'; '.join(filter(None, told))} |"
    )


def compare_run(
    base: Checkout, head: Checkout, run: Run, layout: str, steps: int
) -> tuple[str, bool]:
    """Train on both at once; the line of the table, and whether it is a fault."""
    name, lacking = f"{run.name} {layout}", base.lacks(run)
    if lacking:
        return f"| {name} | | | | | | | base has no {lacking} |", False
    try:
        found = compare(*on_both(base, head, lambda place: place.train(run, layout, steps)))
    except (LaunchError, MismatchError, OSError) as error:
        return f"| {name} | | | | | | | **{error}** |", True
    return row(name, found), found.fault


def prepare(base: Checkout, head: Checkout, files: Path, kinds: set[str]) -> None:
    """Files once, stores by each one's own code."""
    if kinds & SPLITS.keys():
        make_files(files)
    on_both(base, head, lambda at: make_stores(files, at.place / "stores", kinds, at.launch))


def main() -> None:
    """Train all, print the table, exit 1 at a fault."""
    told = dict(a.split("=", 1) for a in sys.argv[1:] if "=" in a)
    if "base" not in told or told.keys() - {"base", "head", "steps", "only", "out"}:
        sys.exit(__doc__)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was made is cleared up
    steps, begin = int(told.get("steps", "20")), time.perf_counter()
    runs = chosen(told.get("only", ""))
    if not runs:
        sys.exit(f"only={told['only']}: no run has such a name")
    lines, faults = [HEADER], 0
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="same-training-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        codes = [
            stack.enter_context(code_of(told.get(name, "."), folder / f"{name}-code"))
            for name in ("base", "head")
        ]
        base = Checkout(codes[0], folder / "base", RENAMED)
        stack.callback(base.close)
        head = Checkout(codes[1], folder / "head", {})
        stack.callback(head.close)
        try:
            prepare(base, head, folder / "files", {run.data for run, _ in runs})
        except LaunchError as error:
            sys.exit(f"no data to train on: {error}")
        print(HEADER, flush=True)
        for run, layout in runs:
            line, fault = compare_run(base, head, run, layout, steps)
            lines.append(line)
            faults += fault
            print(line, flush=True)
    minutes, used = (time.perf_counter() - begin) / 60, resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = f"{minutes:.1f} minutes, {(used.ru_utime + used.ru_stime) / 60:.1f} of CPU"
    command = f"python benchmarks/same_training.py {' '.join(sys.argv[1:])}"
    ending = f"\n{len(runs)} runs, {faults} fault(s), {spent}: `{command}`"
    print(ending)
    if "out" in told:
        Path(told["out"]).write_text("\n".join([*lines, ending]) + "\n")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
