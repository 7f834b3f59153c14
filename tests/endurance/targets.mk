# One very large object to every kind of destination. Included by the Makefile of the project.

.PHONY: endurance

endurance: install ## 5 GiB through each writer, killed in the middle and resumed, in flat memory; minutes, 6 GiB of memory. GIB=1 TO=s3,file
	$(BIN)/python -m tests.endurance $(if $(GIB),--gib $(GIB)) $(if $(TO),--to $(TO))
