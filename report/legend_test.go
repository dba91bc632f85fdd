package report

import (
	"fmt"
	"strings"
	"testing"

	"gonum.org/v1/plot/vg"
	"pgregory.net/rapid"
)

// For any names, every entry is in the legend, in order, and no row is too wide.
func TestLegendFitsItsWidth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const width vg.Length = 200
		var entries []legendEntry
		for i := range rapid.IntRange(0, 8).Draw(t, "entries") {
			name := fmt.Sprint(i, strings.Repeat("ä-", rapid.IntRange(0, 40).Draw(t, "length")))
			entries = append(entries, legendEntry{name: name})
		}
		var names []string
		for _, row := range newLegend(width, entries) {
			used := legendSpace * vg.Length(len(row)-1)
			for _, e := range row {
				used += e.width()
				names = append(names, e.name)
			}
			if used > width {
				t.Errorf("a row of %d entries is %g wide, more than %g", len(row), used, width)
			}
		}
		if len(names) != len(entries) {
			t.Fatalf("%d entries, want %d", len(names), len(entries))
		}
		for i, name := range names {
			whole := entries[i].name
			start, end, elided := strings.Cut(name, "…")
			if !strings.HasPrefix(whole, start) || !strings.HasSuffix(whole, end) || (!elided && name != whole) {
				t.Errorf("%q became %q", whole, name)
			}
		}
	})
}
