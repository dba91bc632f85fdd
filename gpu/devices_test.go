package gpu

import (
	"slices"
	"testing"
)

func TestUsable(t *testing.T) {
	for _, c := range []struct {
		device     Device
		precisions int
		want       string
	}{
		{Device{Name: "NVIDIA H100", Capability: 90}, 3, ""},
		{Device{Name: "NVIDIA RTX PRO 6000", Capability: 120}, 3, ""},
		{Device{Name: "Tesla T4", Capability: 75}, 1, ""},
		{Device{Index: 2, Name: "Tesla V100", Capability: 70}, 1,
			"cuda:2 (Tesla V100) is too old: its compute capability is 7.0, and 7.5 is needed: " +
				"use a card of the Turing generation (2018) or newer"},
		{Device{Name: "NVIDIA A100", UUID: "GPU-1", Capability: 80, prohibited: true}, 3,
			"cuda:0 (NVIDIA A100) may not be used: its compute mode is Prohibited: " +
				"change that with `nvidia-smi -i GPU-1 -c DEFAULT`, as root"},
	} {
		got := ""
		if err := c.device.Usable(); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%+v: %q, want %q", c.device, got, c.want)
		}
		if p := c.device.Precisions(); len(p) != c.precisions || !slices.Contains(p, "fp32") {
			t.Errorf("%+v: %v", c.device, p)
		}
	}
}

func TestOutOfRange(t *testing.T) {
	got := outOfRange(3, []Device{{Index: 0, Name: "A"}, {Index: 1, Name: "B"}}).Error()
	if want := "there is no cuda:3, only cuda:0 (A), cuda:1 (B): take one of these"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
