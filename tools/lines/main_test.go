package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTooLong(t *testing.T) {
	code, text := strings.Repeat("é", 120), strings.Repeat("é", 100)
	for _, c := range []struct {
		path, text string
		want       []string
	}{
		{"a.go", code + "\n" + code + "x", []string{"a.go:2: 121 characters, at most 120"}},
		{"dir/b.cuh", "\n" + code + "xy\n", []string{"dir/b.cuh:2: 122 characters, at most 120"}},
		{"kernels_gen.go", code + "x", nil},
		{"a.ptx", code + "x", nil},
		{"a.md", text + "\n" + text + "x\n", []string{"a.md:2: 101 characters, at most 100"}},
		{
			"a.md", "| " + text + "\n[a](" + text + ")\n    " + text + "\n```\n" + text + "x\n```\n" + text + "xy",
			[]string{"a.md:7: 102 characters, at most 100"},
		},
	} {
		if diff := cmp.Diff(c.want, tooLong(c.path, strings.NewReader(c.text))); diff != "" {
			t.Errorf("%s %q (-want +got):\n%s", c.path, c.text, diff)
		}
	}
}
