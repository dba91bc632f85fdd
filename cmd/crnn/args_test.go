package main

import (
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestArrange(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", "help"},
		{"--help", "help"},
		{"-h", "help"},
		{"--version", "version"},
		{"summary", "summary --"},
		{"bench --help --steps 3", "help bench"},
		{"bench --json -h", "help bench"},
		// Flags go before arguments, with the values that they take.
		{"compare a b --out f.png", "compare --out f.png -- a b"},
		{"compare a --out=f.png b", "compare --out=f.png -- a b"},
		{"predict x.png --json --weights w y.png", "predict --json --weights w -- x.png y.png"},
		{"predict -json x.png", "predict -json -- x.png"},
		// Text that looks like a flag may be a value, and after -- it is an argument.
		{"bench --steps -3", "bench --steps -3 --"},
		{"predict -- --json", "predict -- --json"},
		{"predict -", "predict -- -"},
	} {
		got, err := arrange(newApp(io.Discard, io.Discard), strings.Fields(c.in))
		if err != nil {
			t.Errorf("crnn %s: %v", c.in, err)
			continue
		}
		if diff := cmp.Diff(strings.Fields(c.want), got); diff != "" {
			t.Errorf("crnn %s: (-want +got)\n%s", c.in, diff)
		}
	}
}

func TestArrangeRefuses(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"trian", `unknown command "trian" (did you mean train?)`},
		{"xylophone", `unknown command "xylophone"; `},
		{"--epochs 3", "a command comes first"},
		{"bench --stepz 3", "unknown flag --stepz of crnn bench (did you mean --steps?)"},
		{"bench --frobnicate", "unknown flag --frobnicate of crnn bench; "},
		{"bench --steps", "--steps needs a value"},
	} {
		_, err := arrange(newApp(io.Discard, io.Discard), strings.Fields(c.in))
		if err == nil || !strings.Contains(err.Error(), c.want) || exitCode(err) != exitUsage {
			t.Errorf("crnn %s: error %v (exit code %d), want one with %q (2)", c.in, err, exitCode(err), c.want)
		}
	}
}
