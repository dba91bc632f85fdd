package report

import (
	"math"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gonum.org/v1/plot"
	"pgregory.net/rapid"
)

func labels(ticks []plot.Tick) []string {
	var list []string
	for _, tick := range ticks {
		list = append(list, tick.Label)
	}
	return list
}

func TestEpochTicks(t *testing.T) {
	for _, c := range []struct {
		min, max float64
		want     []string
	}{
		{0.5, 1.5, []string{"1"}},
		{0.97, 2.03, []string{"1", "2"}},
		{0.58, 15.42, []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15"}},
		{0, 31, []string{"2", "4", "6", "8", "10", "12", "14", "16", "18", "20", "22", "24", "26", "28", "30"}},
		{-4.97, 205.97, []string{"20", "40", "60", "80", "100", "120", "140", "160", "180", "200"}},
	} {
		if diff := cmp.Diff(c.want, labels(epochTicks(c.min, c.max))); diff != "" {
			t.Errorf("%g to %g: %s", c.min, c.max, diff)
		}
	}
}

func TestValueTicks(t *testing.T) {
	for _, c := range []struct {
		min, max float64
		want     []string
	}{
		{0, 1, []string{"0.0", "0.2", "0.4", "0.6", "0.8", "1.0"}},
		{0.138, 0.58, []string{"0.2", "0.3", "0.4", "0.5"}},
		{79.5, 95.2, []string{"80", "82", "84", "86", "88", "90", "92", "94"}},
		{90.012, 90.031, []string{"90.015", "90.020", "90.025", "90.030"}},
		{0, 1.05e38, []string{"0", "2e+37", "4e+37", "6e+37", "8e+37", "1e+38"}},
	} {
		if diff := cmp.Diff(c.want, labels(valueTicks(c.min, c.max))); diff != "" {
			t.Errorf("%g to %g: %s", c.min, c.max, diff)
		}
	}
}

// For any values, the axis holds them all, and its ticks are few, inside the axis, and labelled
// with their values.
func TestAxisOfAnyValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSpan()
		values := rapid.SliceOf(anyNumber).Draw(t, "values")
		for _, v := range values {
			s.include(v)
		}
		min, max := s.widened(0.06, 0.05*math.Abs(s.max))
		if !(min < max) {
			t.Fatalf("range %g to %g", min, max)
		}
		for _, v := range values {
			if drawable(v) && (v < min || v > max) {
				t.Fatalf("%g lies outside %g to %g", v, min, max)
			}
		}
		ticks := valueTicks(min, max)
		if len(ticks) > 10 {
			t.Fatalf("%d ticks", len(ticks))
		}
		for _, tick := range ticks {
			label, err := strconv.ParseFloat(tick.Label, 64)
			// Labels have the decimals of the step between ticks, which is 1/10 of the range or
			// more.
			if err != nil || math.Abs(label-tick.Value) > (max-min)/100 {
				t.Fatalf("tick %g of %g to %g is labelled %q", tick.Value, min, max, tick.Label)
			}
		}
	})
}
