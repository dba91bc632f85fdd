package main

import (
	"strings"
	"testing"
)

func TestFetchProgressLines(t *testing.T) {
	var text strings.Builder
	p := &fetchProgress{w: &text}
	p.report("a.gz", 1e6, -1)
	p.report("a.gz", 2e6, 4e6)
	p.log("a mirror failed")
	p.report("a.gz", 4e6, 4e6)
	p.endLine()
	if want := "a mirror failed\na.gz: 4.0 MB\n"; text.String() != want {
		t.Errorf("%q, want %q", text.String(), want)
	}
}

func TestFetchProgressOnTerminal(t *testing.T) {
	var text strings.Builder
	p := &fetchProgress{w: &text, live: true}
	p.report("a.gz", 1e6, 4e6)
	p.report("a.gz", 2e6, 4e6) // too soon after the first to show
	p.log("a mirror failed")
	p.report("a.gz", 4e6, 4e6)
	p.endLine()
	if want := "\r\x1b[Ka.gz: 1.0 MB of 4.0 MB\na mirror failed\n\r\x1b[Ka.gz: 4.0 MB of 4.0 MB\n"; text.String() != want {
		t.Errorf("%q, want %q", text.String(), want)
	}
}
