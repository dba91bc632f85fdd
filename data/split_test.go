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

func TestSplitByClass(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		classes := rapid.IntRange(1, 6).Draw(t, "classes")
		labels := rapid.SliceOfN(rapid.Uint8Max(uint8(classes-1)), 0, 300).Draw(t, "labels")
		var indices []int32 // some of them, in any order
		for _, i := range rapid.Permutation(upTo(len(labels))).Draw(t, "order") {
			if rapid.IntRange(0, 9).Draw(t, "chosen") > 0 {
				indices = append(indices, i)
			}
		}
		before := slices.Clone(indices)
		fraction := rapid.Float64Range(0, 1).Draw(t, "fraction")
		seed, forTest := rapid.Uint64().Draw(t, "seed"), rapid.Bool().Draw(t, "test")
		first, second := SplitByClass(labels, indices, classes, fraction, seed, forTest)
		if !slices.Equal(indices, before) {
			t.Fatal("the argument was changed")
		}
		if !slices.IsSorted(first) || !slices.IsSorted(second) {
			t.Fatal("not in ascending order")
		}
		all := slices.Sorted(slices.Values(append(slices.Clone(first), second...)))
		if sorted := slices.Sorted(slices.Values(indices)); !slices.Equal(all, sorted) {
			t.Fatalf("both parts hold %v, want %v", all, sorted)
		}
		ofClass := func(part []int32, class int) (n int) {
			for _, i := range part {
				if int(labels[i]) == class {
					n++
				}
			}
			return n
		}
		for class := range classes {
			n, got := ofClass(indices, class), ofClass(second, class)
			want := int(math.Round(float64(n) * fraction))
			if fraction > 0 && n >= 3 {
				want = max(want, 1)
			}
			want = max(0, min(want, n-1))
			if got != want {
				t.Fatalf("%d of %d images of class %d, want %d", got, n, class, want)
			}
		}
		again, _ := SplitByClass(labels, slices.Sorted(slices.Values(indices)), classes, fraction, seed, forTest)
		if !slices.Equal(first, again) {
			t.Fatal("the split depends on the order of the indices")
		}
	})
}

// Seeds, classes and the two splits of a data set draw independently.
func TestSplitsByClassDiffer(t *testing.T) {
	labels := make([]uint8, 200)
	for i := range 100 {
		labels[i] = 1
	}
	seen := map[string]bool{}
	for seed := range uint64(5) {
		for _, forTest := range []bool{false, true} {
			_, second := SplitByClass(labels, upTo(200), 2, 0.1, seed, forTest)
			ofOne, ofZero := second[:10], second[10:]
			for i := range ofZero {
				ofZero[i] -= 100
			}
			seen[fmt.Sprint(ofOne)], seen[fmt.Sprint(ofZero)] = true, true
		}
	}
	if len(seen) != 20 {
		t.Errorf("20 draws are %d different ones", len(seen))
	}
}
