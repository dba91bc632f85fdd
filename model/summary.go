package model

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// summaryRow is a layer of the summary table.
type summaryRow struct {
	layer   string
	prefix  string  // of its parameters' names, empty for a layer without any
	outputs [][]int // shapes, -1 for the batch
}

// summaryRows lists the layers in the order in which a batch runs through them.
func (c Config) summaryRows() []summaryRow {
	var rows []summaryRow
	add := func(layer, prefix string, outputs ...[]int) {
		rows = append(rows, summaryRow{fmt.Sprintf("%s-%d", layer, len(rows)+1), prefix, outputs})
	}
	height, width := c.ImageHeight, c.ImageWidth
	for i, out := range c.Channels {
		name := fmt.Sprintf("layer%d.", i+1)
		full := []int{-1, out, height, width}
		height, width = height/2, width/2
		add("Conv2d", name+"0.", full)
		add("BatchNorm2d", name+"1.", full)
		add("ReLU", "", full)
		add("MaxPool2d", "", []int{-1, out, height, width})
	}
	// The RNN gives its last layer at every step, and every layer at the last step.
	add("RNN", "rnn.", []int{-1, c.SeqLen(), c.HiddenSize}, []int{c.NumLayers, -1, c.HiddenSize})
	add("Linear", "fc.", []int{-1, c.Classes})
	return rows
}

// Summary writes the table of layers, their output shapes (-1 stands for the batch) and
// their numbers of parameters, in the form that PyTorch users know from torchsummary.
//
// The sizes below the table are megabytes (2^20 bytes) of float32 for a batch of one image: the
// input; all layers' outputs twice, since training keeps each output and its gradient; and the
// parameters.
func Summary(w io.Writer, c Config) error {
	const row = "%20s  %30s %15s\n"
	const width = 68
	thin, thick := strings.Repeat("-", width), strings.Repeat("=", width)
	layout := c.Layout()

	var b strings.Builder
	fmt.Fprintf(&b, "%s\n"+row+"%s\n", thin, "Layer (type)", "Output Shape", "Param #", thick)
	outputs := 0
	for _, r := range c.summaryRows() {
		params := 0
		for _, p := range layout.Params {
			if r.prefix != "" && strings.HasPrefix(p.Name, r.prefix) {
				params += p.Len()
			}
		}
		var shapes []string
		for _, shape := range r.outputs {
			n := 1
			for _, d := range shape {
				if d > 0 {
					n *= d
				}
			}
			outputs += n
			shapes = append(shapes, shapeString(shape))
		}
		text := strings.Join(shapes, ", ")
		if len(shapes) > 1 {
			text = "[" + text + "]"
		}
		fmt.Fprintf(&b, row, r.layer, text, thousands(params))
	}
	total := layout.Trainable()
	fmt.Fprintf(&b, "%s\nTotal params: %s\nTrainable params: %s\nNon-trainable params: 0\n%s\n",
		thick, thousands(total), thousands(total), thin)
	megabytes := func(values int) float64 { return float64(values) * 4 / (1 << 20) }
	input, passes, params := megabytes(c.ImageHeight*c.ImageWidth*c.ImageChannels), megabytes(2*outputs), megabytes(total)
	fmt.Fprintf(&b, "Input size (MB): %.2f\nForward/backward pass size (MB): %.2f\n"+
		"Params size (MB): %.2f\nEstimated Total Size (MB): %.2f\n%s\n",
		input, passes, params, input+passes+params, thin)
	_, err := io.WriteString(w, b.String())
	return err
}

// shapeString writes a shape as Python does: [-1, 32, 28, 28].
func shapeString(shape []int) string {
	list := make([]string, len(shape))
	for i, d := range shape {
		list[i] = strconv.Itoa(d)
	}
	return "[" + strings.Join(list, ", ") + "]"
}

// thousands writes n with commas: 209,482.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
