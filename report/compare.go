package report

import (
	"fmt"
	"image/color"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"gonum.org/v1/plot/vg/draw"
)

// none stands in a table for a missing value.
const none = "-"

// WriteTable writes a header and one line per run: finished and requested epochs, the best
// validation accuracy and its epoch, figures of the last epoch, test accuracy, seconds of all
// epochs, and the settings in which the runs differ. Columns are aligned with spaces.
func WriteTable(w io.Writer, runs []Run) error {
	settings := differing(runs)
	table := [][]string{append([]string{"run", "epochs", "best val acc", "at epoch",
		"train loss", "train acc", "val loss", "test acc", "seconds"}, settings...)}
	for _, r := range runs {
		row := append([]string{r.Name}, r.figures()...)
		for _, key := range settings {
			row = append(row, r.setting(key))
		}
		table = append(table, row)
	}
	widths := make([]int, len(table[0]))
	for _, row := range table {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	firstSetting := len(widths) - len(settings)
	var text strings.Builder
	for _, row := range table {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 || i >= firstSetting { // words; all others are numbers
				line.WriteString(cell + pad + "  ")
			} else {
				line.WriteString(pad + cell + "  ")
			}
		}
		text.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// figures returns the cells of the table from "epochs" to "seconds".
func (r Run) figures() []string {
	loss := func(v float64) string { return fmt.Sprintf("%.3f", v) }
	percent := func(v float64) string { return fmt.Sprintf("%.2f%%", v) }

	epochs, bestAcc, bestEpoch := fmt.Sprint(len(r.Metrics.Epochs)), none, none
	trainLoss, trainAcc, valLoss, testAcc := none, none, none, none
	if asked := r.setting("epochs"); asked != none {
		epochs += "/" + asked
	}
	if best := r.Metrics.BestEpoch(); best != nil {
		bestAcc, bestEpoch = percent(*best.ValAccuracy), fmt.Sprint(best.Epoch)
	}
	if n := len(r.Metrics.Epochs); n > 0 {
		last := r.Metrics.Epochs[n-1]
		trainLoss, trainAcc = loss(last.TrainLoss), percent(last.TrainAccuracy)
		if last.ValLoss != nil {
			valLoss = loss(*last.ValLoss)
		}
	}
	if n := len(r.Metrics.Tests); n > 0 {
		testAcc = percent(r.Metrics.Tests[n-1].Accuracy)
	}
	var seconds float64
	for _, e := range r.Metrics.Epochs {
		seconds += e.Seconds
	}
	return []string{epochs, bestAcc, bestEpoch, trainLoss, trainAcc, valLoss, testAcc, fmt.Sprintf("%.1f", seconds)}
}

// setting returns the value of a setting.
func (r Run) setting(key string) string {
	if value, ok := r.Settings[key]; ok {
		return value
	}
	return none
}

// differing returns the names of the settings in which runs differ, in order, without the settings
// that other columns show.
func differing(runs []Run) []string {
	keys := make(map[string]bool)
	for _, r := range runs {
		for key := range r.Settings {
			if r.setting(key) != runs[0].setting(key) {
				keys[key] = true
			}
		}
		for key := range runs[0].Settings {
			if r.setting(key) != runs[0].setting(key) {
				keys[key] = true
			}
		}
	}
	delete(keys, "out")    // the run's name
	delete(keys, "epochs") // in the column of that name
	return slices.Sorted(maps.Keys(keys))
}

// Colors and markers of runs. Their numbers have no common divisor, so color and marker together
// tell as many runs apart as their product.
var (
	runColors  = []color.Color{blue, vermilion, green, purple, orange, skyBlue, color.Black}
	runMarkers = []draw.GlyphDrawer{draw.CircleGlyph{}, draw.BoxGlyph{}, draw.PyramidGlyph{}}
)

// runStyles returns the styles of the curves of run i.
func runStyles(i int) (training, validation curveStyle) {
	color := runColors[i%len(runColors)]
	return curveStyle{color: color, dashed: true}, curveStyle{color: color, marker: runMarkers[i%len(runMarkers)]}
}

// Comparison returns the figure of several runs: losses on the left, accuracies on the right, by
// epoch, dashed for training and solid for validation, in one color per run.
func Comparison(runs []Run) Figure {
	gray := color.Gray{0x77}
	dashes := curveStyle{color: gray, dashed: true}
	if slices.ContainsFunc(runs, func(r Run) bool { return len(r.Metrics.Epochs) == 1 }) {
		dashes.marker = ring{} // shown for a single epoch instead of a line
	}
	entries := []legendEntry{
		{name: "training", style: dashes},
		{name: "validation", style: curveStyle{color: gray, marker: runMarkers[0]}},
	}
	var losses, accuracies []*curve
	for i, r := range runs {
		training, validation := runStyles(i)
		loss, accuracy := newCurves(r.Metrics.Epochs, training, validation)
		losses, accuracies = append(losses, loss...), append(accuracies, accuracy...)
		entries = append(entries, legendEntry{name: r.Name, style: validation})
	}
	return twoPanels(losses, accuracies, entries)
}
