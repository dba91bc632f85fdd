package probe

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every source is embedded, for the architecture of its first line, and needs the driver that it names.
func TestEverySourceIsBuilt(t *testing.T) {
	paths, err := filepath.Glob("*.cu")
	if err != nil || len(paths) != len(Built.Sources()) {
		t.Errorf("%d sources, error %v, and PTX of %v", len(paths), err, Built.Sources())
	}
	head := regexp.MustCompile(`^// architectures: (\d+)\n(// isa: 8\.1\n)?`)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		match := head.FindStringSubmatch(string(text))
		if match == nil {
			t.Fatalf("%s does not begin with its architecture", path)
		}
		ptx, _, ok := Built.PTX(strings.TrimSuffix(path, ".cu"), 120)
		if !ok || !strings.Contains(ptx, "\n.target sm_"+match[1]+"\n") {
			t.Errorf("%s is not built for sm_%s", path, match[1])
		}
		want := 12000
		if match[2] != "" {
			want = 12010
		}
		if got := CUDA(ptx); got != want {
			t.Errorf("%s needs CUDA %d, want %d", path, got, want)
		}
	}
}

// The formula of wave.cuh by hand: after one step, each layer has moved the words by 65 places.
func TestWaves(t *testing.T) {
	const shift = 65 * Layers
	for i, got := range Waves(7, 1) {
		if want := uint32(7 + (i+shift)%Width); got != want {
			t.Fatalf("word %d after one step is %d, want %d", i, got, want)
		}
	}
	// After two steps, each layer has once added its state of the first step, shifted by 33 and by 65 per layer.
	for i, got := range Waves(7, 2) {
		want := uint32(7 + Width + (i+shift)%Width)
		for range Layers {
			want += 31 * uint32(7+(i+33+shift)%Width)
		}
		if got != want {
			t.Fatalf("word %d after two steps is %d, want %d", i, got, want)
		}
	}
}
