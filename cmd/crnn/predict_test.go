package main

import (
	"bytes"
	"encoding/csv"
	"math"
	"strings"
	"testing"
)

// The probabilities of three classes, and what is shown of them.
func TestPredictionsAreWritten(t *testing.T) {
	classes := []string{"cat", "a \"dog\"", "naïve\nbird"}
	p := newPrediction([]float32{1, 3, 2}, classes)
	p.File, p.Note = "my picture.png", "inverted"
	sum := math.Exp(-2) + 1 + math.Exp(-1)
	if p.ClassIndex != 1 || p.Class != classes[1] || math.Abs(p.Probability-1/sum) > 1e-15 || len(p.Top) != 3 ||
		p.Top[1].Class != classes[2] {
		t.Errorf("%+v", p)
	}
	var text bytes.Buffer
	if err := (textWriter{&text, 2}).write(p); err != nil {
		t.Fatal(err)
	}
	want := `my picture.png: a "dog"  (a "dog" 66.5%, "naïve\nbird" 24.5%)  note: inverted` + "\n"
	if text.String() != want {
		t.Errorf("%q, want %q", text.String(), want)
	}

	var table bytes.Buffer
	w := newCSVWriter(&table, 2)
	if err := w.write(p); err != nil {
		t.Fatal(err)
	}
	if err := w.end(); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&table).ReadAll()
	if err != nil || len(rows) != 2 || strings.Join(rows[0], ",") != "file,class,probability,class2,probability2" ||
		strings.Join(rows[1], "|") != "my picture.png|a \"dog\"|0.665241|naïve\nbird|0.244728" {
		t.Errorf("%q, error %v", rows, err)
	}
}

// Python gets the bytes of a name back by os.fsencode.
func TestNamesInJSON(t *testing.T) {
	for name, want := range map[fileName]string{
		"a b.png": `"a b.png"`, "ü\"\n猫": `"ü\"\n猫"`, "a\xffb\xc3.png": `"a\udcffb\udcc3.png"`, "�": `"�"`, "": `""`,
	} {
		if got, err := name.MarshalJSON(); err != nil || string(got) != want {
			t.Errorf("%q: %s, error %v, want %s", string(name), got, err, want)
		}
	}
	var b strings.Builder
	if err := writeJSON(&b, prediction{File: "a\xff"}); err != nil || !strings.Contains(b.String(), `"a\udcff"`) {
		t.Errorf("%s, error %v", b.String(), err)
	}
}
