# `make help` lists what can be made. Everything lands in bin/, runs/ and .tools/.

.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

train: build ## fetch the data if missing and train the recipe; more flags in ARGS, as in: make train ARGS="--epochs 3"
	@bin/crnn train $(ARGS)

test: check-go ## everything the tests need, then all tests
	@scripts/test

build: check-go ## bin/crnn for this machine, with CUDA support; no GPU is needed for that
	@scripts/build bin

data: build ## the data set into the cache directory
	@bin/crnn data fetch

ptx: check-go ## PTX, Go wrappers and docs/kernels.md from kernels/*.cu
	@scripts/ptx

lint: check-go ## gofmt, spelling, lengths of lines, go vet, staticcheck
	@scripts/test format text vet staticcheck

cross: check-go ## pure Go programs for other systems, in bin/
	@scripts/cross bin

fuzz: check-go ## every fuzz test for FUZZTIME (default 5m)
	@FUZZTIME=$${FUZZTIME:-5m} scripts/test fuzz

clean: ## remove what was built and installed here; runs/ and the data stay
	rm -rf bin .tools

check-go:
	@scripts/check-go

.PHONY: help train test build data ptx lint cross fuzz clean check-go
