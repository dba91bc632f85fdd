package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"crnn/train"
)

func TestMetricsLines(t *testing.T) {
	dir := writeRun(t, t.TempDir(), "run", "", Metrics{
		Steps: []train.Step{{Step: 1, Epoch: 1, Loss: 2.5, LR: 0.0005}, {Step: 2, Epoch: 1, Loss: math.NaN(), LR: 0.0005}},
		Epochs: []train.Epoch{
			{Epoch: 1, Step: 2, TrainLoss: 0.5, TrainAccuracy: 80.25, ValLoss: ptr(0.375), ValAccuracy: ptr(86.5), LR: 0.0005,
				Seconds: 84.25},
			{Epoch: 2, Step: 4, TrainLoss: math.Inf(1), TrainAccuracy: 80.25, LR: 0.0005, Seconds: 84.25},
		},
		Tests: []train.Test{{Loss: 0.25, Accuracy: 90.25, Epoch: 1, Confusion: train.Confusion{{1}}}},
	})
	got, err := os.ReadFile(filepath.Join(dir, train.MetricsFile))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"event":"step","step":1,"epoch":1,"loss":2.5,"lr":0.0005}
{"event":"step","step":2,"epoch":1,"loss":null,"lr":0.0005}
{"event":"epoch","epoch":1,"step":2,"train_loss":0.5,"train_accuracy":80.25,` +
		`"val_loss":0.375,"val_accuracy":86.5,"lr":0.0005,"seconds":84.25}
{"event":"epoch","epoch":2,"step":4,"train_loss":null,"train_accuracy":80.25,"lr":0.0005,"seconds":84.25}
{"event":"test","loss":0.25,"accuracy":90.25,"epoch":1}
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}

// The lines are the JSON of train's events, with the kind before it.
func TestRecordsHaveTheFieldsOfEvents(t *testing.T) {
	for kind, e := range map[string]train.Event{
		"step": train.Step{Step: 1, Epoch: 2, Loss: 3, LR: 4},
		"epoch": train.Epoch{Epoch: 1, Step: 2, TrainLoss: 3, TrainAccuracy: 4, ValLoss: ptr(5), ValAccuracy: ptr(6),
			LR: 7, Seconds: 8},
		"test": train.Test{Loss: 1, Accuracy: 2, Epoch: 3},
	} {
		fields, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		got, err := encode(e)
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf(`{"event":%q,%s`, kind, fields[1:])
		if string(got) != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// anyNumber is any value of a figure; infinite values come back as NaN.
var anyNumber = rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), math.Inf(-1)}))

// anyMetrics draws a run: epochs of some steps each, all of them or none with validation.
func anyMetrics(t *rapid.T) Metrics {
	var m Metrics
	number := func(name string) float64 { return anyNumber.Draw(t, name) }
	perEpoch := rapid.Int64Range(1, 4).Draw(t, "steps of an epoch")
	validation := rapid.Bool().Draw(t, "validation")
	for epoch := 1; epoch <= rapid.IntRange(0, 4).Draw(t, "epochs"); epoch++ {
		for range perEpoch {
			m.Steps = append(m.Steps,
				train.Step{Step: int64(len(m.Steps) + 1), Epoch: epoch, Loss: number("loss"), LR: number("lr")})
		}
		e := train.Epoch{Epoch: epoch, Step: int64(len(m.Steps)), LR: number("lr"), Seconds: number("seconds"),
			TrainLoss: number("train loss"), TrainAccuracy: number("train accuracy")}
		if validation {
			e.ValLoss, e.ValAccuracy = ptr(number("val loss")), ptr(number("val accuracy"))
		}
		m.Epochs = append(m.Epochs, e)
	}
	if len(m.Epochs) > 0 && rapid.Bool().Draw(t, "test") {
		m.Tests = append(m.Tests, train.Test{Loss: number("loss"), Accuracy: number("accuracy"), Epoch: 1})
	}
	return m
}

// equal compares metrics, taking infinite numbers for NaN as their file does.
func equal(a, b Metrics) string {
	finite := func(v float64) float64 {
		if math.IsInf(v, 0) {
			return math.NaN()
		}
		return v
	}
	return cmp.Diff(a, b, cmpopts.EquateEmpty(), cmp.Comparer(func(x, y float64) bool {
		x, y = finite(x), finite(y)
		return x == y || math.IsNaN(x) && math.IsNaN(y)
	}))
}

func TestMetricsRoundTrip(t *testing.T) {
	base := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		m := anyMetrics(rt)
		dir := writeRun(t, base, "run", "", m)
		defer os.RemoveAll(dir)
		got, err := ReadMetrics(dir)
		if err != nil {
			rt.Fatal(err)
		}
		if diff := equal(m, got); diff != "" {
			rt.Error(diff)
		}
	})
}

// If the file of a run is cut anywhere, its whole lines are still read.
func TestReadMetricsOfACutFile(t *testing.T) {
	m := recipe(3)
	m.Steps = []train.Step{{Step: 1, Epoch: 1, Loss: 2.5, LR: 0.0005}}
	dir := writeRun(t, t.TempDir(), "run", "", m)
	path := filepath.Join(dir, train.MetricsFile)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for length := range len(whole) + 1 {
		if err := os.WriteFile(path, whole[:length], 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := ReadMetrics(dir)
		if err != nil {
			t.Fatalf("cut at %d: %v", length, err)
		}
		events := len(got.Steps) + len(got.Epochs) + len(got.Tests)
		// An object that lacks only its line break is whole as well.
		if want := bytes.Count(append(whole[:length:length], '\n'), []byte("}\n")); events != want {
			t.Fatalf("cut at %d: %d events, want %d", length, events, want)
		}
	}
}

func TestReadMetricsNamesTheDamagedLine(t *testing.T) {
	good := `{"event":"step","step":1,"epoch":1,"loss":2.5,"lr":0.0005}`
	for line, want := range map[string]string{
		``:                    "expected one JSON object",
		`{"event":"step","st`: "expected one JSON object",
		`3`:                   "expected one JSON object",
		`{"step":1}`:          `no "event"`,
		`{"event":"step"}`:    `a step has "step" and "epoch" from 1, "loss" and "lr"`,
		`{"event":"epoch"}`:   `an epoch has "epoch" and "step" from 1`,
		`{"event":"test"}`:    `a test has "loss", "accuracy" and "epoch"`,
		`{"event":"step","step":"1","epoch":1,"loss":2,"lr":1}`:   "cannot unmarshal",
		`{"event":"step","step":1,"epoch":1,"loss":1e999,"lr":1}`: "cannot unmarshal",
		`{"event":"step","step":-1,"epoch":1,"loss":1,"lr":1}`:    "a step has",
		`{"event":"epoch","epoch":1,"step":1,"train_loss":1,"train_accuracy":1,` +
			`"val_loss":1,"lr":1,"seconds":1}`: "or neither",
		`{"event":"step","x":"` + strings.Repeat("x", maxLine) + `"}`: "longer than",
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, train.MetricsFile)
		if err := os.WriteFile(path, []byte(good+"\n"+line+"\n"+good+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := ReadMetrics(dir)
		if err == nil {
			t.Errorf("%.60s: no error", line)
			continue
		}
		if got := err.Error(); !strings.HasPrefix(got, path+":2: damaged: ") || !strings.Contains(got, want) ||
			strings.Contains(got, "\n") {
			t.Errorf("%.60s: error %q, want one of line 2 with %q", line, got, want)
		}
	}
}

func TestReadMetricsSkipsUnknownEvents(t *testing.T) {
	dir := t.TempDir()
	text := `{"event":"new","step":{}}` + "\r\n" +
		`{"event":"step","step":1,"epoch":1,"loss":2.5,"lr":0.0005,"more":1}` + "\r\n"
	if err := os.WriteFile(filepath.Join(dir, train.MetricsFile), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := ReadMetrics(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := equal(Metrics{Steps: []train.Step{{Step: 1, Epoch: 1, Loss: 2.5, LR: 0.0005}}}, got); diff != "" {
		t.Error(diff)
	}
}

func TestReadMetricsOfNoRun(t *testing.T) {
	base := t.TempDir()
	file := filepath.Join(base, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(base, "folder")
	if err := os.MkdirAll(filepath.Join(folder, train.MetricsFile), 0o755); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{
		base: base + " is not the directory of a run: it holds no metrics.jsonl",
		file: file + " is a file: give the directory of a run, as crnn train makes it",
		filepath.Join(base, "absent"): filepath.Join(base, "absent") +
			" does not exist: give the directory of a run, as crnn train makes it",
		folder: filepath.Join(folder, train.MetricsFile) +
			" is not a file: give the directory of a run, as crnn train makes it",
	} {
		if _, err := ReadMetrics(dir); err == nil || err.Error() != want {
			t.Errorf("%s: error %v, want %s", dir, err, want)
		}
	}
}

// An epoch that ended twice, since the run was resumed from just before its end, counts once.
func TestReadMetricsOfAnEpochMadeTwice(t *testing.T) {
	m := recipe(3)
	again := m.Epochs[1]
	again.TrainLoss = 0.25
	dir := writeRun(t, t.TempDir(), "run", "", Metrics{Epochs: append(m.Epochs, again)})
	got, err := ReadMetrics(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := equal(Metrics{Epochs: []train.Epoch{m.Epochs[0], again}}, got); diff != "" {
		t.Error(diff)
	}
}

func TestTruncateMetrics(t *testing.T) {
	base := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		m := anyMetrics(rt)
		step := rapid.Int64Range(0, int64(len(m.Steps)+1)).Draw(rt, "step")
		damage := rapid.SampledFrom([]string{"", `{"event":"st`, "\x00\x00\x00"}).Draw(rt, "damage")
		dir := writeRun(t, base, "run", "", m)
		defer os.RemoveAll(dir)
		f, err := os.OpenFile(filepath.Join(dir, train.MetricsFile), os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			rt.Fatal(err)
		}
		f.WriteString(damage)
		f.Close()

		if err := TruncateMetrics(dir, step); err != nil {
			rt.Fatal(err)
		}
		var want Metrics
		for _, s := range m.Steps {
			if s.Step <= step {
				want.Steps = append(want.Steps, s)
			}
		}
		for _, e := range m.Epochs {
			if e.Step <= step {
				want.Epochs = append(want.Epochs, e)
			}
		}
		got, err := ReadMetrics(dir)
		if err != nil {
			rt.Fatal(err)
		}
		if diff := equal(want, got); diff != "" {
			rt.Error(diff)
		}
		// An appended event begins its own line.
		text, err := os.ReadFile(filepath.Join(dir, train.MetricsFile))
		if err != nil {
			rt.Fatal(err)
		}
		if len(text) > 0 && !bytes.HasSuffix(text, []byte("}\n")) {
			rt.Errorf("the file ends with %q", text[max(0, len(text)-20):])
		}
	})
}

func TestTruncateMetricsOfDamagedLines(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, train.MetricsFile)
	if err := TruncateMetrics(dir, 1); err != nil {
		t.Errorf("without a file: %v", err)
	}
	line := func(step int) string {
		return fmt.Sprintf(`{"event":"step","step":%d,"epoch":1,"loss":2.5,"lr":0.0005}`+"\n", step)
	}
	// Damage after the step is dropped with the rest; damage before it is an error.
	text := line(1) + line(2) + line(3) + "damage\n" + line(4)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := TruncateMetrics(dir, 5); err == nil || !strings.HasPrefix(err.Error(), path+":4: damaged: ") {
		t.Errorf("error %v, want one of line 4", err)
	}
	if got, _ := os.ReadFile(path); string(got) != text {
		t.Errorf("after an error the file holds %q", got)
	}
	if err := TruncateMetrics(dir, 2); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(path); string(got) != line(1)+line(2) {
		t.Errorf("the file holds %q", got)
	}
}

func TestBestEpoch(t *testing.T) {
	m := recipe(5)
	*m.Epochs[0].ValAccuracy = math.NaN()
	*m.Epochs[2].ValAccuracy = 95
	*m.Epochs[3].ValAccuracy = 95
	m.Epochs[4].ValLoss, m.Epochs[4].ValAccuracy = nil, nil
	if best := m.BestEpoch(); best == nil || best.Epoch != 3 {
		t.Errorf("best epoch %+v, want 3, the first of two equals", best)
	}
	m = withoutValidation(recipe(3))
	if best := m.BestEpoch(); best != nil {
		t.Errorf("best epoch %+v without validation", best)
	}
}

// Any line is either refused or read as an event that can be written again.
func FuzzDecode(f *testing.F) {
	for _, e := range append(recipe(1).events(), train.Step{Step: 1, Epoch: 1, Loss: math.NaN()}, train.Test{Epoch: 1}) {
		line, err := encode(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(line)
	}
	f.Add([]byte(`{"event":"epoch","val_loss":null}`))
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := decode(line)
		if err != nil || e == nil {
			return
		}
		again, err := encode(e)
		if err != nil {
			t.Fatal(err)
		}
		e2, err := decode(again)
		if err != nil {
			t.Fatalf("%s: %v", again, err)
		}
		var a, b Metrics
		a.add(e)
		b.add(e2)
		if diff := equal(a, b); diff != "" {
			t.Error(diff)
		}
	})
}
