package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"crnn/model"
)

// profile fills in the times of the kernels in a step.
func (b *benchmark) profile(w *work) error {
	profiler, ok := w.be.(model.Profiler)
	if !ok {
		return fmt.Errorf("--profile: %s does not tell the time of its kernels: leave it out", b.Device)
	}
	var failed error
	times, err := profiler.Profile(func() { failed = cmp.Or(failed, w.step()) })
	if err = cmp.Or(failed, err); err != nil {
		return err
	}
	for _, t := range times {
		i := slices.IndexFunc(b.Kernels, func(k kernelTime) bool { return k.Name == t.Name && k.Operator == t.Operator })
		if i < 0 {
			i = len(b.Kernels)
			b.Kernels = append(b.Kernels, kernelTime{Operator: t.Operator, Name: t.Name})
		}
		b.Kernels[i].add(kernelTime{
			Launches: t.Launches, Microseconds: float64(t.Time) / float64(time.Microsecond), GFLOP: t.FLOP / 1e9,
		})
	}
	b.PeakGFLOPS = profiler.Peak() / 1e9
	return nil
}

func (k *kernelTime) add(other kernelTime) {
	k.Launches += other.Launches
	k.Microseconds += other.Microseconds
	k.GFLOP += other.GFLOP
}

// printKernels writes the profile: one line per kernel, or a roofline if the processor's peak is
// known.
func (b *benchmark) printKernels(w io.Writer) error {
	total := kernelTime{Name: "a step"}
	for _, k := range b.Kernels {
		total.add(k)
	}
	if b.PeakGFLOPS > 0 {
		return b.printRoofline(w, total)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "µs\tshare\tlaunches\t  kernel\n")
	for _, k := range b.Kernels {
		fmt.Fprintf(t, "%.1f\t%.0f %%\t%d\t  %s\n", k.Microseconds, 100*k.Microseconds/total.Microseconds, k.Launches, k.Name)
	}
	fmt.Fprintf(t, "%.1f\t\t\t  one after the other, each by itself\n", total.Microseconds)
	return t.Flush()
}

// printRoofline writes one line per operator of a step, with its kernels below it, the longest
// first. Lines of kernels that compute products show a speed, for comparison with the processor's
// peak.
func (b *benchmark) printRoofline(w io.Writer, total kernelTime) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "ms\tshare\tGFLOP\tGFLOP/s\tof peak\tcalls\t  operator and kernels\n")
	row := func(k kernelTime) {
		fmt.Fprintf(t, "%.3f\t%.1f %%\t", k.Microseconds/1000, 100*k.Microseconds/total.Microseconds)
		if k.GFLOP > 0 {
			speed := k.GFLOP / k.Microseconds * 1e6
			fmt.Fprintf(t, "%.4f\t%.0f\t", k.GFLOP, speed)
			if b.Precision == "fp32" { // the peak is measured in fp32; with bfloat16 it is higher
				fmt.Fprintf(t, "%.0f %%", 100*speed/b.PeakGFLOPS)
			}
			fmt.Fprint(t, "\t")
		} else {
			fmt.Fprint(t, "\t\t\t")
		}
		if k.Launches > 0 {
			fmt.Fprint(t, k.Launches)
		}
		fmt.Fprintf(t, "\t  %s\n", k.Name)
	}
	for rest := b.Kernels; len(rest) > 0; {
		operator := kernelTime{Name: rest[0].Operator}
		end := 0
		for ; end < len(rest) && rest[end].Operator == operator.Name; end++ {
			operator.add(rest[end])
		}
		row(operator)
		if end > 1 {
			for _, k := range slices.SortedStableFunc(slices.Values(rest[:end]), func(a, b kernelTime) int {
				return cmp.Compare(b.Microseconds, a.Microseconds)
			}) {
				k.Name = "    " + k.Name
				row(k)
			}
		}
		rest = rest[end:]
	}
	row(total)
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "peak: %.0f GFLOP/s in fp32, by multiply-adds in the registers of %d threads\n",
		b.PeakGFLOPS, b.Threads)
	return err
}
