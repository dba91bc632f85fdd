package model

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The sizes were worked out by hand: 784 input values; 25,088 outputs of each of the first three
// layers, 6,272 of the pooling, 12,544 and 3,136 in the second block, 56*128 + 5*128 of the RNN and
// 10 of the linear layer. Together 130,234 outputs, at twice 4 bytes each, make 0.99 MB; 209,482
// parameters make 0.80 MB.
const recipeSummary = `--------------------------------------------------------------------
        Layer (type)                    Output Shape         Param #
====================================================================
            Conv2d-1                [-1, 32, 28, 28]             832
       BatchNorm2d-2                [-1, 32, 28, 28]              64
              ReLU-3                [-1, 32, 28, 28]               0
         MaxPool2d-4                [-1, 32, 14, 14]               0
            Conv2d-5                [-1, 64, 14, 14]          51,264
       BatchNorm2d-6                [-1, 64, 14, 14]             128
              ReLU-7                [-1, 64, 14, 14]               0
         MaxPool2d-8                  [-1, 64, 7, 7]               0
               RNN-9   [[-1, 56, 128], [5, -1, 128]]         155,904
           Linear-10                        [-1, 10]           1,290
====================================================================
Total params: 209,482
Trainable params: 209,482
Non-trainable params: 0
--------------------------------------------------------------------
Input size (MB): 0.00
Forward/backward pass size (MB): 0.99
Params size (MB): 0.80
Estimated Total Size (MB): 1.79
--------------------------------------------------------------------
`

func TestSummaryOfTheRecipe(t *testing.T) {
	var b strings.Builder
	if err := Summary(&b, Default()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(recipeSummary, b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestSummaryFollowsTheSizes(t *testing.T) {
	c := Default()
	c.HiddenSize, c.NumLayers, c.InputSize = 64, 2, 112
	var b strings.Builder
	if err := Summary(&b, c); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		// 28 steps of 112; 64*112 + 64*64 + 64*64 + 64*64 weights and 4*64 biases.
		"RNN-9     [[-1, 28, 64], [2, -1, 64]]          19,712\n",
		"Linear-10                        [-1, 10]             650\n",
		"Total params: 72,650\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

func TestThousands(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 209482: "209,482", 1234567: "1,234,567"} {
		if got := thousands(n); got != want {
			t.Errorf("thousands(%d) = %s, want %s", n, got, want)
		}
	}
}
