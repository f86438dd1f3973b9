"""The data packages as pyproject.toml requires them, one a line: for ``make test-floors``."""

import re
import sys
import tomllib
from pathlib import Path

DATA = {
    "numpy", "pandas", "xarray", "zarr", "numcodecs", "google-crc32c", "dask", "fsspec", "netcdf4",
    "cf-units", "distributed", "cfgrib", "eccodes",
}  # fmt: skip
"""Those that read and write data. torch stays as it is, and with it what is built against it."""


def main() -> None:
    """Print the requirements."""
    file = Path(__file__).parent.parent / "pyproject.toml"
    project = tomllib.loads(file.read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["cluster"], *extras["grib"]]
    named = {re.split(r"[\[<>=~! ]", line, maxsplit=1)[0].lower(): line for line in wanted}
    absent = sorted(DATA - named.keys())
    if absent:
        sys.exit(f"pyproject.toml: requires no {', '.join(absent)}; mend DATA in .ci/floors.py")
    sys.stdout.writelines(f"{named[name]}\n" for name in sorted(DATA))


main()
