# make            set everything up and run the pipeline      make test       set everything up and run the tests
# make test-long  the long proofs                              make bench      benchmarks, as ratios
# make test-all   all but the sweeps, after `make` and `make firmware`
# make test-exhaustive  before a release: each sweep whole, of which the tests draw a sample by the commit
# make lock       renew requirements.lock                      make dag        redraw DOC/dag.md
# make hub-bench  what a hub bears on this machine, into reports/hub.json; three minutes
# make bench-site what a place teaches its device, into reports/places.json and DOC/pictures/places.png; hours
# make bench-scale  how stages grow, into reports/scale.json and DOC/pictures/scale.png; HOURS="1 4 16 64", a day or more
# make hub        after `make`: a hub, its console and three simulated devices on this machine; Ctrl-C ends them
# make firmware   build it for each port                       make parity     the firmware against Python, and its cost
# make firmware-test  its tests, with the cross compiler and QEMU
# make pictures   take the pictures in DOC anew; RECORDING=a real one to stand beside simulated ones, SITES=a folder of them
# make figures    write DOC/figures.md and README's table from the report files

# The one Python that requirements.lock has wheels for, as pyproject.toml says.
NEEDED := 3.11
PYTHON ?= $(shell command -v python$(NEEDED) || command -v python3)
UV := uv==0.13.9
READY := .venv/ready

# Nothing is sent anywhere: each of these switches a tool's telemetry off.
export DVC_NO_ANALYTICS := 1
export GX_ANALYTICS_ENABLED := false
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export DO_NOT_TRACK := 1
# Without bytecode every process would compile its imports again; empty is off.
export UV_COMPILE_BYTECODE := 1
export PYTHONDONTWRITEBYTECODE :=
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: all test test-all test-long test-exhaustive bench lock dag check pictures figures firmware firmware-test parity hub hub-bench bench-site bench-scale
# A file each at a time, in the order of tests/conftest.py: tests of a file share what is slow to make. Three processes on
# two cores: one works while others wait for servers, browsers and disks.
PYTEST := pytest -n 3 --dist loadfile --no-loadscope-reorder
PRESETS := host host-sanitize mps2-an386 mps2-an500 mps3-an547 nano33ble web runtime runtime-v3 runtime-aarch64
all: $(READY)
	@echo "Running the pipeline (dvc repro); what has not changed is skipped."
	@# DVC writes its lock in place: a kill may have cut it off. Finished stages come from its run cache.
	@! dvc stage list 2>&1 | grep -qE "dvc.lock' (is invalid|validation failed)" || git checkout dvc.lock
	@# The same of its list of who runs what; nobody does where that was cut off.
	@python -m json.tool .dvc/tmp/rwlock >/dev/null 2>&1 || rm -f .dvc/tmp/rwlock
	@# Where a remote is named, what others made is downloaded. A grep, since DVC takes a second to start.
	@if ! grep -qsE '^[[:space:]]*remote *=' .dvc/config .dvc/config.local; then echo dvc repro; dvc repro; \
	elif dvc fetch; then echo dvc repro --pull; dvc repro --pull; \
	else echo "DVC's remote gave nothing, as said above: what is missing is computed here."; dvc repro; fi
	@echo "Done. Read reports/index.html; the int8 model is models/quantized/model.tflite."

test: $(READY)
	@echo "Running the tests; the long proofs are in 'make test-long'."
	$(PYTEST) -m "not long and not firmware and not exhaustive"

# After `make firmware`.
test-all: $(READY)
	$(PYTEST) -m "not exhaustive"

test-long: $(READY)
	$(PYTEST) -m "long and not exhaustive"

test-exhaustive: $(READY)
	@test -d firmware/generated || (echo "firmware/generated is missing: run 'make firmware' first"; exit 1)
	$(PYTEST) -m "exhaustive or sweep"

bench: $(READY)
	python -m tests.bench

firmware: $(READY)
	@test -d firmware/generated || (echo "firmware/generated is missing: run 'make' first, or 'dvc pull'"; exit 1)
	python firmware/third_party/fetch.py
	cd firmware && for preset in $(PRESETS); do \
	  cmake --preset $$preset && cmake --build --preset $$preset || exit 1; done

firmware-test: $(READY)
	$(PYTEST) -m "firmware and not exhaustive"

parity: $(READY)
	gunshot firmware parity

check: $(READY)
	ruff check .
	ruff format --check .
	lint-imports

lock: $(READY)
	uv pip compile --universal --generate-hashes --no-emit-index-url --no-header --all-extras \
	  --python-version 3.11 pyproject.toml -o requirements.lock

# After `make`. Each picture is noted once it was taken: a test tells those that are older than what they show.
MADE := python DOC/pictures/made.py
pictures: $(READY)
	PICTURES=DOC/pictures pytest tests/pages/test_annotate.py tests/pages/test_dossier.py -k documentation
	$(MADE) annotate.png dossier.png
	PICTURES=DOC/pictures pytest tests/pages/test_demo.py -k documentation
	$(MADE) demo.png demo_phone.png
	PICTURES=DOC/pictures pytest tests/hub/test_console_page.py -k documentation
	$(MADE) console_case.png console_devices.png console_phone.png
	PICTURES=DOC/pictures pytest tests/flows/test_serve.py -k "waits_for_a_person and SQLite"
	$(MADE) review_form.png deployments.png
	python DOC/pictures/simulator.py $(RECORDING)
	$(MADE) simulator_angle.png simulator_distance.png simulator_scene.png $(if $(RECORDING),simulator_real.png)
	python DOC/pictures/drift.py
	$(MADE) drift.png
	python DOC/pictures/location.py
	$(MADE) location.png
	python DOC/pictures/fusion.py
	$(MADE) fusion.png
	python DOC/pictures/pages.py
	$(MADE) detect.png report.png explore.png
	$(if $(SITES),python DOC/pictures/sites.py $(SITES) && $(MADE) site.png)

hub-bench: $(READY)
	python -m tests.hub.load

bench-site: $(READY)
	python -m tests.site.bench
	python DOC/pictures/made.py places.png

bench-scale: $(READY)
	python -m tests.stages.scale $(HOURS)
	python DOC/pictures/made.py scale.png

hub: $(READY)
	@gunshot hub demo hub-demo

figures: $(READY)
	python DOC/figures.py

dag: $(READY)
	(echo "# The pipeline"; echo; echo "Made by \`make dag\` from dvc.yaml."; echo; dvc dag --md) > DOC/dag.md

$(READY): requirements.lock pyproject.toml
	@# One of another Python, or one that was left half made, is made anew.
	@.venv/bin/python -c 'import pip, sys; sys.exit("%d.%d" % sys.version_info[:2] != "$(NEEDED)")' 2>/dev/null || { \
	  found=$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null); \
	  test "$$found" = $(NEEDED) || { echo "Python $(NEEDED) is needed; PYTHON=$(PYTHON) is $${found:-none}. \
	Nothing was installed: make PYTHON=/path/to/python$(NEEDED)"; exit 1; }; \
	  echo "Making .venv with $(PYTHON), Python $$found."; \
	  $(PYTHON) -m venv --clear .venv || { echo "on Debian: apt install python$(NEEDED)-venv"; exit 1; }; }
	@echo "Installing what requirements.lock lists, 3.6 GB; this takes some minutes."
	.venv/bin/python -m pip install --quiet --disable-pip-version-check $(UV)
	.venv/bin/uv pip sync --python .venv/bin/python --require-hashes requirements.lock
	.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation -e .
	touch $(READY)
