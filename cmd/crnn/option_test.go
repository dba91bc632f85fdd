package main

import (
	"math"
	"strings"
	"testing"
)

func TestOptionTypes(t *testing.T) {
	var (
		i int
		u uint64
		f float64
		b bool
		s string
	)
	for _, c := range []struct {
		text   string
		target any
		get    func() any
		want   any
	}{
		{"-7", &i, func() any { return i }, -7},
		{"18446744073709551615", &u, func() any { return u }, uint64(math.MaxUint64)},
		{"5e-4", &f, func() any { return f }, 5e-4},
		{"1", &b, func() any { return b }, true},
		{"a b", &s, func() any { return s }, "a b"},
	} {
		if expected := parse(c.text, c.target); expected != "" || c.get() != c.want {
			t.Errorf("%q into %T: %v, expected %q, want %v", c.text, c.target, c.get(), expected, c.want)
		}
	}
	for _, c := range []struct {
		text   string
		target any
	}{
		{"x", &i}, {"1.5", &i}, {"", &i}, {"99999999999999999999", &i},
		{"-1", &u}, {"x", &f}, {"", &f}, {"maybe", &b}, {"", &s},
	} {
		if expected := parse(c.text, c.target); expected == "" {
			t.Errorf("%q into %T was taken", c.text, c.target)
		}
	}
}

func TestOptionSources(t *testing.T) {
	text := func(s string) *string { return &s }
	for _, c := range []struct {
		name  string
		env   string
		given *string
		noEnv bool
		want  int
		bad   string // part of the error
	}{
		{"default", "", nil, false, 50, ""},
		{"environment", "7", nil, false, 7, ""},
		{"flag beats environment", "7", text("9"), false, 9, ""},
		{"not in the environment", "7", nil, true, 50, ""},
		{"bad environment", "many", nil, false, 50, `environment variable CRNN_BATCH_SIZE "many": expected a whole number`},
		{"bad flag", "7", text("x"), false, 50, `--batch-size "x": expected a whole number`},
		{"bad environment behind a flag", "many", text("9"), false, 9, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("CRNN_BATCH_SIZE", c.env)
			n := 50
			o := &option{name: "batch-size", target: &n, given: c.given, noEnv: c.noEnv}
			err := o.set()
			switch {
			case c.bad == "" && (err != nil || n != c.want):
				t.Errorf("%d, error %v, want %d", n, err, c.want)
			case c.bad != "" && (err == nil || !strings.Contains(err.Error(), c.bad) || exitCode(err) != exitUsage):
				t.Errorf("error %v, want one with %q", err, c.bad)
			}
		})
	}
}

// Every command must explain itself: what it does, each of its flags, and an example that
// the program would take.
func TestHelpIsComplete(t *testing.T) {
	var text strings.Builder
	app := newApp(&text, &text)
	for _, cmd := range app.Commands {
		text.Reset()
		printCommandHelp(&text, cmd)
		if cmd.Description == "" || cmd.Usage == "" {
			t.Errorf("crnn %s: no description", cmd.Name)
		}
		for _, f := range cmd.Flags {
			o := f.(*option)
			if o.usage == "" || o.category == "" || o.value == "" && !o.isBool() {
				t.Errorf("crnn %s --%s: not explained", cmd.Name, o.name)
			}
			if !strings.Contains(text.String(), "--"+o.name) {
				t.Errorf("crnn help %s lacks --%s", cmd.Name, o.name)
			}
		}
		for _, line := range strings.Split(cmd.UsageText, "\n") {
			words := strings.Fields(line)
			if len(words) < 2 || words[0] != "crnn" {
				t.Errorf("crnn %s: example %q", cmd.Name, line)
				continue
			}
			if _, err := arrange(app, words[1:]); err != nil {
				t.Errorf("crnn %s: example %q: %v", cmd.Name, line, err)
			}
		}
		for _, line := range strings.Split(text.String(), "\n") {
			if len([]rune(line)) > 120 {
				t.Errorf("crnn help %s: longer than 120 columns: %s", cmd.Name, line)
			}
		}
	}
}
