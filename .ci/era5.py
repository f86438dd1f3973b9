"""`make era5` from a server of this machine: nothing but address, period and size is another.

    python .ci/era5.py [further words for make]

The server lists nothing, answers 403 for what is not there and fails now and then. What it holds is
made up, and laid out as in the bucket.
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

REPO = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPO), str(REPO / "tests" / "support")]

from archives import weatherbench_2, write_zarr  # noqa: E402
from builders import hours  # noqa: E402
from web import serving  # noqa: E402

from climate.sample.write import LAT, LON  # noqa: E402

NAME = "1959-2023_01_10-6h-64x32_equiangular_conservative.zarr"
DAYS = 65


def main(words: list[str]) -> int | str:
    """Serve and make; what it exits with."""
    with TemporaryDirectory() as base:
        content = weatherbench_2(hours("2018-01-01", 4 * DAYS, 6), LAT, LON, chunk=100)
        write_zarr(content, Path(base) / NAME, zarr_format=2, consolidated=True)
        out = Path(base) / "out"
        kinds = ("500", "503", "short", "closed")
        with serving(Path(base), absent=403, share=0.1, seed=1, kinds=kinds) as web:
            told = [f"ERA5={web.url}/{NAME}", "PERIOD=2018-01-05,2018-02-28", "SIZE=tiny"]
            code = subprocess.call(["make", "era5", f"ERA5_OUT={out}", *told, *words], cwd=REPO)
            failed = sum(web.failed.values())
        scores = (out / "scores" / "scorecard.csv").exists()
    if code == 0 and not (scores and failed):
        return f"error: scores: {scores}; requests that failed: {failed}"
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
