# make demo | era5 | demo-real | demo-regional | demo-monthly | gallery | test | test-slow | test-browser | test-floors | test-wheel | fuzz | mutate | table | lint | docs | docs-options | clean; each makes .venv where it is missing.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.installed
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: demo era5 demo-real demo-regional demo-monthly gallery test test-slow test-browser test-floors test-wheel fuzz mutate table lint docs docs-options clean
.DEFAULT_GOAL := help

help:
	@sed -n '1s/^# //p' Makefile

$(READY): pyproject.toml setup.py
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $(READY)

# The main job on a stand-in atmosphere: sample, store, 2-rank training, forecast, scorecard, report.
DEMO ?= demo
DEMO_DAYS ?= 120
DEMO_TRAIN ?= 2006-01-01,2006-04-17
DEMO_VAL ?= 2006-04-18,2006-04-23
DEMO_TEST ?= 2006-04-24,2006-04-30
DEMO_MINUTES ?= 3.7
DEMO_RANKS ?= 2
demo: $(READY)
	rm -rf $(DEMO)
	$(BIN)/python launch/make_sample.py out=$(DEMO)/sample days=$(DEMO_DAYS) seed=1
	$(BIN)/python launch/convert_era5.py source.root=$(DEMO)/sample store=$(DEMO)/store \
	    'split.train=[$(DEMO_TRAIN)]' 'split.val=[$(DEMO_VAL)]' 'split.test=[$(DEMO_TEST)]'
	$(BIN)/deepspeed --quiet --num_accelerators $(DEMO_RANKS) launch/train_era5.py store=$(DEMO)/store \
	    run_dir=$(DEMO)/run trainer.max_minutes=$(DEMO_MINUTES)
	$(BIN)/python launch/forecast_era5.py run_dir=$(DEMO)/run store=$(DEMO)/store \
	    out=$(DEMO)/forecast leads=42h
	$(BIN)/python launch/evaluate_era5.py forecast=$(DEMO)/forecast store=$(DEMO)/store \
	    out=$(DEMO)/scores run_dir=$(DEMO)/run 'must_beat=[6,24]'

# The same on real global winds, where they are.
WINDS ?= ../shared/data/gfs_winds_5.625deg
demo-real: $(READY)
	rm -rf $(DEMO)-real
	$(BIN)/python launch/convert_era5.py source.root=$(WINDS) store=$(DEMO)-real/store \
	    'variables=[u10,v10]' 'split.train=[2026-03-24T00,2026-04-23T00]' \
	    'split.val=[2026-04-23T06,2026-04-25T12]' 'split.test=[2026-04-25T18,2026-05-06T12]'
	$(BIN)/deepspeed --quiet --num_accelerators 2 launch/train_era5.py store=$(DEMO)-real/store \
	    run_dir=$(DEMO)-real/run trainer.max_minutes=$(REAL_MINUTES)
	$(BIN)/python launch/forecast_era5.py run_dir=$(DEMO)-real/run store=$(DEMO)-real/store \
	    out=$(DEMO)-real/forecast leads=42h
	$(BIN)/python launch/evaluate_era5.py forecast=$(DEMO)-real/forecast \
	    store=$(DEMO)-real/store out=$(DEMO)-real/scores run_dir=$(DEMO)-real/run \
	    'must_beat=[6,12,24,42]'
REAL_MINUTES ?= 8.7

# The table of the systems at its smallest: every kind of row is made, tuned and scored; no score
# of it means anything.
TABLE ?= demo-table
table: $(READY)
	rm -rf $(TABLE)
	$(BIN)/python benchmarks/systems.py preset=smoke out=$(TABLE)

# The other tasks on stand-in atmospheres: they prove the pipeline, and say nothing of skill.
# `demo-regional` takes the store and the forecast that `make demo` has made.
TASK_STEPS ?= 200
demo-regional: $(READY)
	rm -rf $(DEMO)-regional
	$(BIN)/python launch/train_era5.py store=$(DEMO)/store run_dir=$(DEMO)-regional/run \
	    task=regional region=Europe size=tiny trainer.total_steps=$(TASK_STEPS)
	$(BIN)/python launch/forecast_era5.py run_dir=$(DEMO)-regional/run store=$(DEMO)/store \
	    out=$(DEMO)-regional/forecast leads=42h
	$(BIN)/python launch/evaluate_era5.py forecast=$(DEMO)-regional/forecast store=$(DEMO)/store \
	    out=$(DEMO)-regional/scores run_dir=$(DEMO)-regional/run
	$(BIN)/python launch/forecast_era5.py run_dir=$(DEMO)-regional/run store=$(DEMO)/store \
	    out=$(DEMO)-regional/driven leads=42h region.boundary=$(DEMO)/forecast
	$(BIN)/python launch/compare_forecasts.py $(DEMO)-regional/forecast $(DEMO)-regional/driven \
	    truth=$(DEMO)/store out=$(DEMO)-regional/compared

demo-monthly: $(READY)
	rm -rf $(DEMO)-monthly
	$(BIN)/python launch/make_sample.py out=$(DEMO)-monthly/sample days=1096 seed=1
	$(BIN)/python launch/convert_era5.py source.root=$(DEMO)-monthly/sample \
	    store=$(DEMO)-monthly/store 'split.train=[2006-01,2007-06]' \
	    'split.val=[2007-07,2007-12]' 'split.test=[2008,2008]'
	$(BIN)/python launch/train_era5.py store=$(DEMO)-monthly/store run_dir=$(DEMO)-monthly/run \
	    task=monthly size=tiny trainer.total_steps=$(TASK_STEPS)
	$(BIN)/python launch/forecast_era5.py run_dir=$(DEMO)-monthly/run \
	    store=$(DEMO)-monthly/store out=$(DEMO)-monthly/forecast leads=6mo
	$(BIN)/python launch/evaluate_era5.py forecast=$(DEMO)-monthly/forecast \
	    store=$(DEMO)-monthly/store out=$(DEMO)-monthly/scores run_dir=$(DEMO)-monthly/run

# The figures of README and documentation, anew: the four systems, a minute each, and the weather
# demo, made where it is missing.
GALLERY ?= $(DEMO)-gallery
GALLERY_OPTIONS ?= minutes=1
gallery: $(READY) $(DEMO)/scores
	rm -rf $(GALLERY)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/gallery.py weather=$(DEMO) runs=$(GALLERY) $(GALLERY_OPTIONS)
$(DEMO)/scores:
	$(MAKE) demo

# The main job on ERA5 at 5.625°, read from the public bucket of WeatherBench 2: needs the network.
# What it will read, write and take is said first; what was stopped goes on by the same command.
# The period is divided 10 : 1 : 2, which makes the split of the published scores of 2006,2018.
ERA5 ?= gs://weatherbench2/datasets/era5/1959-2023_01_10-6h-64x32_equiangular_conservative.zarr
PERIOD ?= 2006,2018
SIZE ?= published
ERA5_OUT ?= era5
ERA5_RANKS ?= $(or $(filter-out 0,$(shell nvidia-smi -L 2>/dev/null | wc -l)),2)
ERA5_STEPS_tiny := 60
ERA5_STEPS_small := 20000
ERA5_STEPS_published := 100000
ERA5_STEPS ?= $(or $(ERA5_STEPS_$(SIZE)),100000)
CONVERT_ERA5 = $(BIN)/python launch/convert_era5.py source=weatherbench2 'source.root="$(ERA5)"' \
    store=$(ERA5_OUT)/store 'period=[$(PERIOD)]' split=null
TRAIN_ERA5 = store=$(ERA5_OUT)/store run_dir=$(ERA5_OUT)/run size=$(SIZE) \
    trainer.total_steps=$(ERA5_STEPS) resume=true
era5: $(READY)
	test -e $(ERA5_OUT)/store/manifest.json || $(CONVERT_ERA5) check=true
	test -e $(ERA5_OUT)/store/manifest.json || $(CONVERT_ERA5)
	$(BIN)/deepspeed --quiet --num_accelerators $(ERA5_RANKS) launch/check.py $(TRAIN_ERA5)
	$(BIN)/deepspeed --quiet --num_accelerators $(ERA5_RANKS) launch/train_era5.py $(TRAIN_ERA5)
	rm -rf $(ERA5_OUT)/forecast $(ERA5_OUT)/scores
	$(BIN)/python launch/forecast_era5.py run_dir=$(ERA5_OUT)/run store=$(ERA5_OUT)/store \
	    out=$(ERA5_OUT)/forecast leads=42h
	$(BIN)/python launch/evaluate_era5.py forecast=$(ERA5_OUT)/forecast store=$(ERA5_OUT)/store \
	    out=$(ERA5_OUT)/scores run_dir=$(ERA5_OUT)/run

test: $(READY)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# Only files that have such tests are read, by each worker.
SLOW_WORKERS ?= auto
SLOW_FILES = $(shell grep -rlE 'mark\.(slow|soak)' --include='test_*.py' tests)
test-slow: $(READY)
	$(BIN)/python -m pytest -n $(SLOW_WORKERS) --maxprocesses 4 --dist loadfile \
	    --no-loadscope-reorder -m "slow or soak" $(SLOW_FILES)

# Reports as a reader sees them. Debian's chromium is installed where there is none, by its root.
test-browser: $(READY)
	command -v chromium || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	    apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core; }
	BROWSER=required $(BIN)/python -m pytest -m browser tests/browser

# Tests of data with the packages of data at the lowest versions that are allowed, over the same
# torch. Without the longest ones, which try kills at every moment and random shapes.
FLOORS := .venv/floors
test-floors: $(READY)
	rm -rf $(FLOORS)
	$(BIN)/python .ci/floors.py > .venv/floors.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --target $(FLOORS) \
	    --resolution lowest-direct --requirements .venv/floors.txt
	PYTHONPATH=$(CURDIR)/$(FLOORS) $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile \
	    tests/climate/conventions tests/climate/sources tests/climate/store \
	    tests/climate/conversion tests/climate/verification/test_units.py \
	    tests/physics_systems/data/test_labels.py tests/physics_systems/data/test_trajectories.py \
	    --ignore tests/climate/conversion/test_conversion.py \
	    --ignore tests/climate/conversion/test_round_trip.py

# The wheel: built, installed elsewhere over the same packages, and the main job from it.
test-wheel: $(READY)
	$(BIN)/python .ci/wheel.py

# Damage, lies, gadgets and kills for all that is written here; by hand: FUZZ_SECONDS=1800.
FUZZ_SECONDS ?= 80
FUZZ_SEED ?= 1
fuzz: $(READY)
	$(BIN)/python -m tests.fuzz seconds=$(FUZZ_SECONDS) seed=$(FUZZ_SEED)

# How many small faults the fast tests notice: draws COUNT of them and tries each, as far as a
# BUDGET of seconds goes.
SEED ?= 1
COUNT ?= 120
BUDGET ?= inf
mutate: $(READY)
	$(BIN)/python -m tests.mutation seed=$(SEED) count=$(COUNT) budget=$(BUDGET)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The site: site/index.html. A warning is an error, as are a name without a docstring, a tutorial that
# fails, a broken link and a page that asks another machine for anything. Pages are read anew (-E), else
# a second try would pass over what the first one warned of; what tutorials have shown is kept in
# .docs-cache until their text changes; `make docs DOCS_EXECUTION=force` runs them all again.
SITE ?= site
docs: $(READY)
	rm -rf $(SITE)
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -q -E -W --keep-going -n -b html \
	    -d .docs-cache/doctrees docs $(SITE)
	$(BIN)/python docs/check_site.py $(SITE)

# The reference page of all options, from the schema; a test compares them.
docs-options: $(READY)
	PYTHONPATH=launch $(BIN)/python docs/options_page.py > docs/reference/options.md

clean:
	rm -rf .venv $(DEMO) $(DEMO)-* $(ERA5_OUT) $(SITE) .docs-cache jupyter_execute .pytest_cache .mypy_cache .ruff_cache .import_linter_cache *.egg-info
