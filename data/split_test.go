package data

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func upTo(n int) []int32 {
	a := make([]int32, n)
	for i := range a {
		a[i] = int32(i)
	}
	return a
}

func TestSplitOfTheRecipe(t *testing.T) {
	train, val := Split(60000, 0.1, 1)
	if len(train) != 54000 || len(val) != 6000 {
		t.Fatalf("%d and %d, want 54000 and 6000", len(train), len(val))
	}
	// The indices are random: their mean has standard deviation 60000/sqrt(12*6000) = 224, a little
	// less by drawing without replacement. The limit is four of them.
	sum := 0.0
	for _, i := range val {
		sum += float64(i)
	}
	if mean := sum / 6000; math.Abs(mean-30000) > 4*224 {
		t.Errorf("mean index %.0f of the validation part, want 30000", mean)
	}
	if _, other := Split(60000, 0.1, 2); slices.Equal(val, other) {
		t.Error("two seeds give the same split")
	}
}

func TestSplitDividesAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 1000).Draw(t, "n")
		fraction := rapid.Float64Range(0, 1).Draw(t, "fraction")
		seed := rapid.Uint64().Draw(t, "seed")
		train, val := Split(n, fraction, seed)
		if want := int(math.Round(float64(n) * fraction)); len(val) != want {
			t.Fatalf("%d for validation, want %d", len(val), want)
		}
		if !slices.IsSorted(train) || !slices.IsSorted(val) {
			t.Fatal("not in ascending order")
		}
		all := append(slices.Clone(train), val...)
		slices.Sort(all)
		if diff := cmp.Diff(upTo(n), all); diff != "" {
			t.Fatalf("train and validation together (-want +got):\n%s", diff)
		}
		train2, val2 := Split(n, fraction, seed)
		if !slices.Equal(train, train2) || !slices.Equal(val, val2) {
			t.Fatal("the same arguments give another split")
		}
	})
}

func TestOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		indices := rapid.SliceOfN(rapid.Int32Min(0), 0, 200).Draw(t, "indices")
		seed := rapid.Uint64().Draw(t, "seed")
		epoch := rapid.IntRange(0, 1000).Draw(t, "epoch")
		before := slices.Clone(indices)
		sorted := slices.Sorted(slices.Values(indices))

		order := Order(indices, seed, epoch, true)
		if !slices.Equal(indices, before) {
			t.Fatal("the argument was changed")
		}
		if !slices.Equal(order, Order(sorted, seed, epoch, true)) {
			t.Fatal("the order depends on the argument's order")
		}
		if file := Order(indices, seed, epoch, false); !slices.Equal(file, sorted) {
			t.Fatalf("without shuffle %v, want %v", file, sorted)
		}
		slices.Sort(order)
		if !slices.Equal(order, sorted) {
			t.Fatalf("holds %v, want %v", order, sorted)
		}
	})
}

func TestOrdersOfEpochsDiffer(t *testing.T) {
	all := upTo(1000)
	seen := map[string]bool{}
	for seed := range uint64(3) {
		for epoch := range 5 {
			seen[fmt.Sprint(Order(all, seed, epoch, true))] = true
		}
	}
	if len(seen) != 15 {
		t.Errorf("3 seeds and 5 epochs have %d orders, want 15", len(seen))
	}
}

func ExampleOrder() {
	train, val := Split(10, 0.2, 1)
	fmt.Println(len(train), len(val))
	fmt.Println(Order([]int32{7, 2, 5}, 1, 0, false))
	// Output:
	// 8 2
	// [2 5 7]
}
