package main

import (
	"math"
	"strings"
	"testing"
)

func TestPrediction(t *testing.T) {
	// Two classes share all: e^0 : e^ln3 = 1 : 3; the others, 2000 below, get nothing.
	logits := make([]float32, 10)
	for i := range logits {
		logits[i] = -1000
	}
	logits[5], logits[9] = 1000, 1000+float32(math.Log(3))
	p := newPrediction(logits)
	p.File = "a.png"
	// A float32 near 1000 is a multiple of 2^-14, which bounds the error of the exponent.
	const tolerance = 1.0 / (1 << 14)
	if p.Class != "Ankle boot" || p.ClassIndex != 9 || math.Abs(p.Probability-0.75) > tolerance ||
		math.Abs(p.Probabilities[5]-0.25) > tolerance {
		t.Errorf("%+v", p)
	}
	var line strings.Builder
	printPrediction(&line, p)
	if want := "a.png: Ankle boot  (Ankle boot 75.0%, Sandal 25.0%, T-shirt/top 0.0%)\n"; line.String() != want {
		t.Errorf("%q, want %q", line.String(), want)
	}
}
