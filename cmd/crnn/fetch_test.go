package main

import (
	"strings"
	"testing"

	"crnn/data"
	"crnn/data/known"
)

func TestNamesOfSets(t *testing.T) {
	for name, want := range map[string]string{"": "fashion-mnist", "CIFAR-10": "cifar10", "MNIST": "mnist"} {
		if set, err := namedSet(name); err != nil || set.Name != want {
			t.Errorf("%q: set %v, error %v, want %s", name, set, err, want)
		}
	}
	for _, name := range known.Names() {
		if set, err := namedSet(name); err != nil || set.Name != name {
			t.Errorf("%q: set %v, error %v", name, set, err)
		}
	}
	for name, want := range map[string]string{
		"emnist": "expected one of three sets of EMNIST: emnist-letters (26 classes), emnist-balanced (47) or " +
			"emnist-byclass (62)",
		"kmist": `"kmist": expected fashion-mnist, mnist, kmnist, emnist-letters, emnist-balanced, emnist-byclass ` +
			"or cifar10 (did you mean kmnist?)",
		"photos": "expected fashion-mnist, mnist",
	} {
		if _, err := namedSet(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %s", name, err, want)
		}
	}
}

func TestShellWord(t *testing.T) {
	for text, want := range map[string]string{
		"/data/été_1-2.x": "/data/été_1-2.x", "my data": "'my data'", "it's": `'it'\''s'`, "~/x": "'~/x'", "": "''",
		"a$b": "'a$b'",
	} {
		if got := shellWord(text); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

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

// With a name, stderr ends with the command that trains on the set; without one, nothing changes.
func TestFetchSaysHowToTrain(t *testing.T) {
	dir, err := data.Locate("") // it is all there
	if err != nil {
		t.Fatalf("the tests need the data set (make data): %v", err)
	}
	for _, test := range []struct {
		args   []string
		stderr string
	}{
		{[]string{"data", "fetch", "--data", dir}, ""},
		{[]string{"data", "fetch", "fashion-mnist", "--data", dir}, "crnn train --data " + shellWord(dir) + "\n"},
	} {
		var stdout, stderr strings.Builder
		code := run(t.Context(), test.args, &stdout, &stderr)
		if code != 0 || stdout.String() != dir+"\n" || stderr.String() != test.stderr {
			t.Errorf("%q: exit code %d, stdout %q, stderr %q, want %q",
				test.args, code, stdout.String(), stderr.String(), test.stderr)
		}
	}
}
