package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"crnn/model"
)

// profile fills in how long the kernels of a step run.
func (b *benchmark) profile(w *work) error {
	profiler, ok := w.be.(model.Profiler)
	if !ok {
		return fmt.Errorf("--profile: %s does not tell the time of its kernels: leave it out", b.Device)
	}
	times, err := profiler.Profile(w.step)
	if err != nil {
		return err
	}
	for _, t := range times {
		i := slices.IndexFunc(b.Kernels, func(k kernelTime) bool { return k.Name == t.Name && k.Operator == t.Operator })
		if i < 0 {
			i = len(b.Kernels)
			b.Kernels = append(b.Kernels, kernelTime{Operator: t.Operator, Name: t.Name})
		}
		k := &b.Kernels[i]
		k.Launches += t.Launches
		k.Microseconds += float64(t.Time) / float64(time.Microsecond)
		k.GFLOP += t.FLOP / 1e9
	}
	b.PeakGFLOPS = profiler.Peak() / 1e9
	return nil
}

// printKernels writes the profile: a line for each kernel, and where the processor's peak is
// known a roofline, with a line for each operator.
func (b *benchmark) printKernels(w io.Writer) error {
	total := kernelTime{}
	for _, k := range b.Kernels {
		total.add(k)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	if b.PeakGFLOPS == 0 {
		fmt.Fprint(t, "µs\tshare\tlaunches\t  kernel\n")
		for _, k := range b.Kernels {
			fmt.Fprintf(t, "%.1f\t%.0f %%\t%d\t  %s\n", k.Microseconds, 100*k.Microseconds/total.Microseconds, k.Launches, k.Name)
		}
		fmt.Fprintf(t, "%.1f\t\t\t  one after the other, each by itself\n", total.Microseconds)
		return t.Flush()
	}
	fmt.Fprint(t, "ms\tshare\tGFLOP\tGFLOP/s\tof peak\tcalls\t  operator and kernels\n")
	row := func(k kernelTime, name string) {
		fmt.Fprintf(t, "%.3f\t%.1f %%\t", k.Microseconds/1000, k.Microseconds/(10*b.StepMS))
		if k.GFLOP > 0 {
			speed := k.GFLOP / k.Microseconds * 1e6
			fmt.Fprintf(t, "%.3f\t%.0f\t%.0f %%\t", k.GFLOP, speed, 100*speed/b.PeakGFLOPS)
		} else {
			fmt.Fprint(t, "\t\t\t")
		}
		fmt.Fprintf(t, "%d\t  %s\n", k.Launches, name)
	}
	for first := 0; first < len(b.Kernels); {
		sum, end := kernelTime{}, first
		for end < len(b.Kernels) && b.Kernels[end].Operator == b.Kernels[first].Operator {
			sum.add(b.Kernels[end])
			end++
		}
		row(sum, b.Kernels[first].Operator)
		for _, k := range b.Kernels[first:end] {
			if end > first+1 {
				row(k, "    "+k.Name)
			}
		}
		first = end
	}
	fmt.Fprintf(t, "%.3f\t%.1f %%\t\t\t\t\t  waiting for threads, and between kernels\n", b.StepMS-total.Microseconds/1000, 100-total.Microseconds/(10*b.StepMS))
	row(kernelTime{Microseconds: 1000 * b.StepMS, GFLOP: total.GFLOP, Launches: total.Launches}, "a step")
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "peak: %.0f GFLOP/s, by multiply-adds in the registers of %d threads\n", b.PeakGFLOPS, b.Threads)
	return err
}

func (k *kernelTime) add(other kernelTime) {
	k.Launches += other.Launches
	k.Microseconds += other.Microseconds
	k.GFLOP += other.GFLOP
}
