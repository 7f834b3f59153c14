# Measurements. Included by the Makefile of the project.

.PHONY: bench bench-quick bench-compare

bench: install ## every measurement against rclone, into docs/performance/; an hour on two cores. ROWS=w1-s3,w3 RUNS=9 for some
	$(BIN)/python -m tests.bench $(if $(ROWS),--rows $(ROWS)) $(if $(RUNS),--runs $(RUNS))

bench-quick: install ## a few rows in under two minutes; writes nothing
	$(BIN)/python -m tests.bench --quick $(if $(ROWS),--rows $(ROWS)) $(if $(RUNS),--runs $(RUNS))

bench-compare: install ## this tree against BASE=rev, the same rows in turns
	@test -n "$(BASE)" || { echo "say which revision: make bench-compare BASE=main~1"; exit 2; }
	$(BIN)/python -m tests.bench --base $(BASE) $(if $(ROWS),--rows $(ROWS)) $(if $(RUNS),--runs $(RUNS))
