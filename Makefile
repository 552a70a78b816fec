# `make help` names the targets. Everything runs inside .venv, made from the lock in requirements/.
PYTHON ?= python3
SNAKEMAKE = .venv/bin/snakemake

RUN ?= demo

CONFIG ?= config/paper.yaml
DEVICE ?= a100-80

.PHONY: help demo demo-all studies plan archive unlock linters check test fuzz test-slurm results docs rulegraph lock envs clean

help:
	@echo "make demo     install into .venv and run the main job (config/demo.yaml)"
	@echo "make demo-all continue with every table and figure of the paper, MEMIT beside ROME (config/demo_all.yaml)"
	@echo "make studies  continue with what lies behind the mask (config/demo_studies.yaml); hours on two cores"
	@echo "make plan     say what a run will take before it runs: CONFIG=config/paper.yaml DEVICE=a100-80"
	@echo "make archive  pack a finished run for reviewers: RUN=demo, with edits and masks too: WITH=\"edits masks\""
	@echo "make unlock   after a run's Snakemake was killed: cancel what it left in SLURM's queue, and unlock the folder: RUN=paper"
	@echo "make check    linters, types and the fast tests, in minutes: before each commit"
	@echo "make test     install into .venv and run every test"
	@echo "make fuzz     look for texts, facts and checkpoints that break a promise: the property-based tests, at length"
	@echo "make test-slurm  send all of config/test.yaml through SLURM on this machine (as root, Debian)"
	@echo "make results  copy the numbers of a finished run into docs/results/: RUN=demo"
	@echo "make docs     write numbers and settings into README and docs/, and build the site"
	@echo "make rulegraph  draw docs/rulegraph.svg again (needs Graphviz)"
	@echo "make lock     take the newest versions that pyproject.toml allows into requirements/ and envs/"
	@echo "make envs     write envs/ anew from the lock and from pyproject.toml's table of environments (no network)"
	@echo "make clean    remove results and caches, keep .venv"
	@echo
	@echo "One table or figure, with what it needs: .venv/bin/snakemake figure06 --configfile config/demo.yaml, where figure06 may be"
	@if [ -e .venv/.installed ]; then \
	  $(SNAKEMAKE) --list-target-rules --quiet --configfile config/demo.yaml config/demo_all.yaml config/demo_studies.yaml | \
	  grep -v '^Using' | paste -sd ' ' | fold -sw 110 | sed 's/^/  /'; else echo "  (after the first make demo or make test: every name)"; fi

PIP = .venv/bin/python -m pip install --quiet --disable-pip-version-check

# four calls, since pip checks hashes for all that a call installs or for nothing (requirements/write_lock.py)
.venv/.installed: pyproject.toml requirements/build.txt requirements/lock.txt requirements/torch.txt
	@PYTHONPATH=workflow_scripts $(PYTHON) -m onemask.config.place
	$(PYTHON) -m venv .venv
	$(PIP) --no-deps --require-hashes -r requirements/build.txt
	$(PIP) --no-deps --no-build-isolation --use-pep517 --require-hashes -r requirements/lock.txt
	$(PIP) -c requirements/torch.txt torch
	$(PIP) --no-deps --no-build-isolation -e .
	touch $@

lock: .venv/.installed
	.venv/bin/python requirements/write_lock.py
	.venv/bin/python requirements/write_environments.py

envs: .venv/.installed
	.venv/bin/python requirements/write_environments.py

demo: .venv/.installed
	$(SNAKEMAKE) --configfile config/demo.yaml

demo-all: .venv/.installed
	$(SNAKEMAKE) --configfile config/demo.yaml config/demo_all.yaml

studies: .venv/.installed
	$(SNAKEMAKE) --configfile config/demo.yaml config/demo_all.yaml config/demo_studies.yaml

plan: .venv/.installed
	@.venv/bin/python workflow_scripts/plan_run.py $(CONFIG) --device $(DEVICE)

archive: .venv/.installed
	.venv/bin/python workflow_scripts/make_archive.py $(RUN) $(if $(WITH),--with $(WITH))

unlock: .venv/.installed
	profiles/slurm/cancel.sh $(RUN)
	$(SNAKEMAKE) --unlock --configfile config/$(RUN).yaml

# EasyEdit, to compare with: without its dependencies, and the tests go on without it where it cannot be had
.venv/.easyeditor: .venv/.installed
	-$(PIP) --no-deps easyeditor==0.0.1.dev0 && touch $@

# packages from Debian, where root may install them
debian = { [ "$$(id -u)" = 0 ] && command -v apt-get && apt-get update -qq && \
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(1); }

# a browser to open the report with, else the tests of the report are skipped
.venv/.chromium: .venv/.installed
	-{ command -v chromium || command -v google-chrome || $(call debian,chromium); } && touch $@

# SLURM to send jobs through, else its tests are skipped
.venv/.slurm: .venv/.installed
	-{ command -v slurmctld && command -v slurmd && command -v munged || \
	  $(call debian,slurmctld slurmd slurm-client munge); } && touch $@

test-slurm: .venv/.installed .venv/.slurm
	ONEMASK_SLURM=all .venv/bin/python -m pytest tests/test_slurm.py

linters: .venv/.installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/ty check
	.venv/bin/snakefmt --check Snakefile rules
	.venv/bin/snakemake --lint --configfile config/test.yaml

check: linters
	.venv/bin/python -m pytest -n 2 -m "not slow"

# three processes on two cores: one mostly waits for SLURM
test: linters .venv/.easyeditor .venv/.chromium .venv/.slurm
	.venv/bin/python -m pytest -n 3

fuzz: .venv/.installed
	HYPOTHESIS_PROFILE=fuzz .venv/bin/python -m pytest -n 2 -m property

results: .venv/.installed
	.venv/bin/python workflow_scripts/publish_results.py $(RUN)

docs: .venv/.installed
	.venv/bin/python workflow_scripts/write_docs.py
	.venv/bin/mkdocs build --strict

rulegraph: .venv/.installed
	$(SNAKEMAKE) rulegraph --forcerun rulegraph --configfile config/demo.yaml

clean:
	rm -rf results site tests/.cache .snakemake
