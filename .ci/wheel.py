"""The wheel, built and installed elsewhere: the main job from it, and forecasts by the base alone.

An environment sees what the wheel requires with some extras, near and far, and nothing else: links
to the packages installed here, found by what distributions say they require.
"""

from __future__ import annotations

import filecmp
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from vgbdm.origin import BUILT_FROM, commit

REPO = Path(__file__).resolve().parent.parent
SPLITS = (
    "split.train=[2006-01-01,2006-01-12]", "split.val=[2006-01-13,2006-01-14]",
    "split.test=[2006-01-15,2006-01-16]",
)  # fmt: skip
WEATHER = (
    "size=tiny", "trainer.total_steps=8", "trainer.validations=1", "validation.starts=2",
    "batch=4", "stream.lanes=4",
)  # fmt: skip
LORENZ = ("system=lorenz", "trainer.total_steps=4", "trainer.validations=1", "validation.limit=4")
TWO_RANKS = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "vgbdm")
SEEN = """
import pathlib, sys, vgbdm, climate, physics_systems
home, checkout = map(pathlib.Path, sys.argv[1:])
for package in (vgbdm, climate, physics_systems):
    file = pathlib.Path(package.__file__)
    assert file.is_relative_to(home) and file.with_name("py.typed").exists(), file
assert not any(pathlib.Path(place).resolve() == checkout for place in sys.path), sys.path
assert "torch" not in sys.modules
"""
PAGE = REPO / "docs" / "howto" / "python.md"
EXAMPLES = {
    "weather": 'run, store = "run", "store"\n',
    "lorenz": """
import os
import xarray as xr
truth = os.path.abspath("val")
data = xr.open_zarr("train", consolidated=False)
x, t, minutes = data["x"].values, data["t"].values, None
options = ["trainer.total_steps=2", "trainer.validations=1", "batch=8"]
os.mkdir("example")
os.chdir("example")
""",
}
"""Example → what stands before it."""
CALLED = """
import sys, vgbdm
runs, store, trajectories = sys.argv[1:3], *sys.argv[3:]
print(*(type(vgbdm.load(run)).__name__ for run in runs))
forecast = vgbdm.forecast(runs[0], store, start="latest", leads="12h")
assert forecast.sizes["lead_time"] == 2 and forecast["t2m"].notnull().all(), forecast
found = vgbdm.infer(runs[1], trajectories)
assert found.sizes["trajectory"] == 16, found
"""


class Environment:
    """A virtual environment with the wheel and what it requires.

    Attributes:
        home: its folder.
        place: where commands are started.
    """

    def __init__(self, home: Path, place: Path, wheel: Path, extras: Sequence[str]) -> None:
        self.home, self.place = home, place
        call([sys.executable, "-m", "venv", "--without-pip", home])
        self.python = home / "bin" / "python"
        pip = [sys.executable, "-m", "pip", "--python", self.python]
        call([*pip, "install", "--quiet", "--no-deps", "--no-index", wheel])
        site = next(home.glob("lib/python*/site-packages"))
        own = metadata.Distribution.at(next(site.glob("vgbdm-*.dist-info")))
        link(required(own, extras), home / "packages")
        (site / "packages.pth").write_text(f"{home / 'packages'}\n")

    def run(self, *words: object, code: int = 0) -> str:
        """What python says of these words."""
        return call([self.python, *words], self.place, code)

    def vgbdm(self, *words: object, code: int = 0) -> str:
        """What the console command says."""
        return call([self.home / "bin" / "vgbdm", *words], self.place, code)


def call(words: Sequence[object], place: Path = REPO, code: int = 0) -> str:
    """The output of a command, which must end with a code; started as by a user of the wheel."""
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    variables["PYTHONNOUSERSITE"] = "1"
    done = subprocess.run(
        list(map(str, words)), cwd=place, env=variables, capture_output=True, text=True
    )
    if done.returncode != code:
        command = " ".join(map(str, words))
        sys.exit(f"{done.stdout}{done.stderr}\n{command}: ended with {done.returncode}, not {code}")
    return done.stdout + done.stderr


def build(place: Path) -> Path:
    """The wheel, from files that no earlier build has left."""
    shutil.rmtree(REPO / "build", ignore_errors=True)
    how = ["--quiet", "--no-build-isolation", "--no-deps", "--no-index", "--wheel-dir", place]
    call([sys.executable, "-m", "pip", "wheel", *how, REPO])
    shutil.rmtree(REPO / "build", ignore_errors=True)
    return next(place.glob("vgbdm-*.whl"))


def check_contents(wheel: Path) -> None:
    """The wheel says what it was built from, and holds no config of what stays in the checkout."""
    with zipfile.ZipFile(wheel) as held:
        names = held.namelist()
        told = held.read(f"vgbdm/{BUILT_FROM}").decode().strip()
    assert told == commit(), told
    assert "vgbdm/configs/train_era5.yaml" in names, names
    strays = [name for name in names if "configs/benchmark" in name]
    assert not strays, strays
    assert not list(REPO.glob(f"**/{BUILT_FROM}"))


def required(own: metadata.Distribution, extras: Sequence[str]) -> set[str]:
    """Names of all distributions that one with extras requires, near and far."""
    waiting = list(_requirements(own, extras))
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        need = waiting.pop()
        entry = (canonicalize_name(need.name), frozenset(need.extras))
        if entry not in seen:
            seen.add(entry)
            waiting += _requirements(metadata.distribution(need.name), need.extras)
    return {name for name, _ in seen}


def _requirements(
    distribution: metadata.Distribution, extras: Sequence[str] | set[str]
) -> Iterator[Requirement]:
    for need in map(Requirement, distribution.requires or ()):
        if need.marker is None or any(need.marker.evaluate({"extra": e}) for e in ("", *extras)):
            yield need


def link(names: set[str], folder: Path) -> None:
    """Links in a folder to the packages of these distributions, and to what they say of them."""
    folder.mkdir()
    for name in sorted(names):
        distribution = metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            if not (folder / top).exists():
                (folder / top).symlink_to(str(distribution.locate_file(top)))


def check_main_job(full: Environment) -> None:
    """Sample, store, training on two ranks, forecast, scorecard; and a system."""
    full.vgbdm("make-sample", "out=sample", "days=16", "spin_up_days=2", "seed=1")
    full.vgbdm("convert-era5", "source.root=sample", "store=store", *SPLITS)
    full.run(*TWO_RANKS, "train-era5", "store=store", "run_dir=run", *WEATHER)
    full.vgbdm("forecast-era5", "run_dir=run", "store=store", "out=forecast", "leads=12h")
    full.vgbdm("evaluate-era5", "forecast=forecast", "store=store", "out=scores", "run_dir=run")
    assert (full.place / "scores" / "report.html").stat().st_size > 10_000
    for split in ("train", "val"):
        full.vgbdm("simulate-system", "system=lorenz", f"out={split}", "n=16", f"split={split}")
    data = ("data.train=train", "data.val=val")
    full.run("-m", "vgbdm", "train-system", *LORENZ, *data, "run_dir=lorenz")


def check_examples(full: Environment) -> None:
    """The examples of docs/howto/python.md, outside of the checkout, on what the job has made."""
    for name, given in EXAMPLES.items():
        found = re.search(rf"```python {name}\n(.*?)```", PAGE.read_text(), re.DOTALL)
        assert found is not None, name
        full.run("-c", given + found[1])


def check_base(base: Environment) -> None:
    """Loading, forecasting and inferring need no extra, and what needs one says which."""
    base.run("-c", CALLED, "run", "lorenz", "store", "val")
    base.vgbdm("forecast-era5", "run_dir=run", "store=store", "out=again", "leads=12h")
    manifests = [base.place / name / "manifest.json" for name in ("forecast", "again")]
    assert filecmp.cmp(*manifests, shallow=False)  # with the digests of all files
    line = base.vgbdm("train-era5", "store=store", "run_dir=other", *WEATHER, code=2)
    assert "pip install 'vgbdm[train]'" in line, line
    line = base.vgbdm("evaluate-era5", "forecast=again", "store=store", "out=other", code=2)
    assert "pip install 'vgbdm[report]'" in line, line


def main() -> None:
    """Build, install twice, run."""
    with tempfile.TemporaryDirectory(prefix="vgbdm-wheel-") as folder:
        place = Path(folder)
        (place / "work").mkdir()
        wheel = build(place)
        check_contents(wheel)
        full = Environment(place / "full", place / "work", wheel, ["train", "report"])
        base = Environment(place / "base", place / "work", wheel, [])
        for environment in (full, base):
            environment.run("-c", SEEN, environment.home, REPO)
            assert str(commit()) in environment.vgbdm("--version")
        check_main_job(full)
        check_examples(full)
        check_base(base)


if __name__ == "__main__":
    main()
