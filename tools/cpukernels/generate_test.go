package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const cpu = "../../cpu"

func headerText(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(cpu, "kernels.h"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestGeneratedFilesAreUpToDate(t *testing.T) {
	files, err := generate(headerText(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(cpu, name))
		if err != nil || string(got) != string(want) {
			t.Errorf("cpu/%s does not follow from kernels.h (error: %v): run go generate ./cpu", name, err)
		}
	}
}

func TestNames(t *testing.T) {
	for from, want := range map[string]string{
		"matmul": "matmul", "tile_rnn_forward": "tileRNNForward", "w_ih": "wIH", "k_1": "k1", "sum_gz": "sumGZ",
		"ADD_BIAS": "addBias",
	} {
		if got := camel(from); got != want {
			t.Errorf("camel(%q) = %q, want %q", from, got, want)
		}
	}
	want := " see bC and x.go, a_matrix.go, tileRows"
	if got := goComment(" see b_c and x.go, a_matrix.go, TILE_ROWS"); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// A mistake in the header is an error that names its line, and no guess.
func TestMistakes(t *testing.T) {
	text := headerText(t)
	for _, c := range []struct{ name, old, new, want string }{
		{"a pointer in a struct", "\tint64_t steps, samples;\n", "\tstruct other *o;\n", "not a form that is read here"},
		{"a type that is not known", "\tint64_t steps, samples;\n", "\tdouble steps;\n", "not a form that is read here"},
		{"an array beside a number", "\tint64_t count[3]; ", "\tint64_t count[3], other; ", "not a form that is read here"},
		{
			"a struct that is not known", "(*adam)(const struct adam_step *s,", "(*adam)(const struct other *s,",
			"adam: not a parameter",
		},
		{
			"a parameter of unknown type", "(float *dst, const float *src, int64_t n);", "(double *dst, int64_t n);",
			"narrow: not a parameter",
		},
		{
			"a profile of nothing", "\t//profile \"transpose\"\n", "\t//profile \"transpose\"\n\n",
			"not a pointer to a function",
		},
		{"a condition", "\t//needs BF16_TARGET\n", "#ifdef BF16_TARGET\n", "not a pointer to a function"},
		{"a macro that is not known", "\t//needs BF16_TARGET\n", "\t//needs OTHER\n", "not a form that is read here"},
		{"a profile of three", "\t//profile \"transpose\"\n", "\t//profile \"transpose\", 1, 2\n", "not NAME[, FLOP]"},
		{"a profile that is not Go", "\t//profile \"transpose\"\n", "\t//profile \"transpose\n", "not expressions of Go"},
		{"a value", "\tADD_NOTHING,", "\tADD_NOTHING = x,", "not a form that is read here"},
		{
			"a parameter", "float *dst, const float *src, int64_t n);", "float dst[3], const float *src, int64_t n);",
			"narrow: not a parameter",
		},
		{
			"no formula", "\t// transpose writes", "\n\tint64_t (*bare)(int64_t n);\n\t// transpose writes",
			"no formula above bare",
		},
		{"a statement", "#endif\n", "int x = 3;\n", "not a form that is read here"},
	} {
		broken := strings.Replace(text, c.old, c.new, 1)
		if broken == text {
			t.Fatalf("%s: %q is not in the header", c.name, c.old)
		}
		_, err := generate(broken)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "kernels.h:") {
			t.Errorf("%s: error %v, want kernels.h:LINE … %s", c.name, err, c.want)
		}
	}
	counted := strings.Replace(text, "\t//profile \"transpose\"\n", "\t//profile \"transpose\", int64(2*rows)\n", 1)
	files, err := generate(counted)
	if err != nil || !strings.Contains(string(files["profile_gen.go"]), `"transpose", int64(2*rows))`) {
		t.Errorf("operations that are an expression: error %v, and they are not counted", err)
	}
	if _, err := generate(""); err == nil {
		t.Error("an empty header is no error")
	}
}
