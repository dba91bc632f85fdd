//go:build unix

package main

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"crnn/model"
	"crnn/model/safetensors"
)

// Mistakes on the command line, in the environment and in a config file.
func TestBadSettings(t *testing.T) {
	dataDir := smallData(t)
	config := func(text string) []string {
		path := filepath.Join(t.TempDir(), "c.yaml")
		write(t, path, []byte(text))
		return []string{"train", "--data", dataDir, "--config", path}
	}
	words := strings.Fields
	weights := filepath.Join(t.TempDir(), "w.safetensors")
	if err := model.WriteWeights(weights, model.NewState(model.Default(), 1)); err != nil {
		t.Fatal(err)
	}
	noDataFile := filepath.Join(t.TempDir(), "c.yaml")
	write(t, noDataFile, []byte("data: /does/not/exist\n"))
	noData := []string{"train", "--config", noDataFile}
	for _, c := range []struct {
		name string
		code int
		want string // names the culprit
		args []string
		env  []string
	}{
		{"unknown command", 2, `"trian" (did you mean train?)`, words("trian"), nil},
		{"unknown flag", 2, "--epoch of crnn train (did you mean --epochs?)", words("train --epoch 3"), nil},
		{"three dashes", 2, "unknown flag ---epochs of crnn train (did you mean --epochs?)", words("train ---epochs 3"), nil},
		{"dashes alone", 2, "unknown flag ---", words("data ---"), nil},
		{"flag without name", 2, "unknown flag --", words("data --=3"), nil},
		{"flag before command", 2, "--epochs", words("--epochs 3 train"), nil},
		{"flag without value", 2, "--epochs needs a value", words("train --epochs"), nil},
		{"not a number", 2, `--epochs "x": expected a whole number`, words("train --epochs x"), nil},
		{"not whole", 2, `--batch-size "1.5"`, words("train --batch-size 1.5"), nil},
		{"no epochs", 2, "--epochs 0", words("train --epochs 0"), nil},
		{"negative", 2, "--batch-size -1", words("train --batch-size -1"), nil},
		{"beyond int", 2, "--epochs", words("train --epochs 99999999999999999999"), nil},
		{"huge batch", 2, "--batch-size 2000000000", words("train --batch-size 2000000000"), nil},
		{"not a learning rate", 2, "--lr NaN", words("train --lr nan"), nil},
		{"infinite learning rate", 2, "--lr +Inf", words("train --lr inf"), nil},
		{"dropout of all", 2, "--dropout 1", words("train --dropout 1"), nil},
		{"validation on all", 2, "--val-fraction 1", words("train --val-fraction 1"), nil},
		{"unknown schedule", 2, "--lr-schedule linear", words("train --lr-schedule linear"), nil},
		{"input size that does not divide", 2, "--input-size 57: must divide 64*7*7", words("train --input-size 57"), nil},
		{"huge hidden size", 2, "--hidden-size 100000", words("train --hidden-size 100000"), nil},
		{"huge network", 2, "--hidden-size 8000", words("train --hidden-size 8000 --num-layers 200"), nil},
		{"early stopping without validation", 2, "--early-stopping 3",
			words("train --early-stopping 3 --val-fraction 0"), nil},
		{"bad seed", 2, `--seed "-1"`, words("train --seed -1"), nil},
		{"too many threads", 2, "--threads 100000", words("train --threads 100000"), nil},
		{"unknown device", 2, "--device gpu", words("train --device gpu"), nil},
		{"no GPU", 1, "--device cuda: " + noGPU(t), words("train --device cuda"), nil},
		{"no second GPU", 1, "--device cuda:1: " + noGPU(t), words("bench --device cuda:1"), nil},
		{"unknown precision", 2, "--precision fp8", words("bench --precision fp8"), nil},
		{"precision of a GPU", 2, "--precision tf32: the CPU computes in " + strings.Join(cpuPrecisions(""), " and ") +
			" only (not a GPU: ", words("eval --weights w --precision tf32"), nil},
		{"argument of train", 2, `unexpected argument "foo"`, words("train foo"), nil},
		{"argument of summary", 2, `unexpected argument "foo"`, words("summary foo"), nil},
		{"unknown word of data", 2, `"fech": expected fetch, verify, where, info or convert (did you mean fetch?)`,
			words("data fech"), nil},
		{"unknown split", 2, `--split "dev"`, words("eval --weights w --split dev"), nil},
		{"unknown mode", 2, `--mode "infer"`, words("bench --mode infer"), nil},
		{"batch of single images", 2, "--batch-size 50: --mode predict times a single image",
			words("bench --mode predict --batch-size 50"), nil},
		{"no steps", 2, "--steps 0", words("bench --steps 0"), nil},
		{"eval without weights", 2, "--weights", words("eval"), nil},
		{"predict without weights", 2, "--weights", words("predict a.png"), nil},
		{"predict without image", 2, "needs a picture", words("predict --weights w"), nil},
		{"compare without run", 2, "needs the directory of a run", words("compare"), nil},
		{"compare without directory", 1, "/does/not/exist", words("compare /does/not/exist"), nil},

		{"environment", 2, `environment variable CRNN_EPOCHS "x"`, words("train"), []string{"CRNN_EPOCHS=x"}},
		{"environment out of range", 2, "environment variable CRNN_EPOCHS 0", words("train"), []string{"CRNN_EPOCHS=0"}},
		{"data of the environment", 1, "crnn: environment variable CRNN_DATA: there is no directory /does/not/exist",
			words("train"), []string{"CRNN_DATA=/does/not/exist"}},
		{"data of the flag", 1, "crnn: --data: there is no directory /does/not/a",
			words("eval --weights " + weights + " --data /does/not/a"), []string{"CRNN_DATA=/does/not/b"}},

		{"no config", 2, "/does/not/exist", words("train --config /does/not/exist"), nil},
		{"unknown key", 2, `c.yaml:2: unknown key "epoch"`, config("lr: 0.1\nepoch: 3\n"), nil},
		{"key with dash", 2, "did you mean batch_size?", config("batch-size: 3\n"), nil},
		{"wrong type", 2, "c.yaml:1: epochs", config("epochs: many\n"), nil},
		{"out of range", 2, "c.yaml: epochs 0", config("epochs: 0\n"), nil},
		{"not YAML", 2, "c.yaml:1:", config("{{{{\n"), nil},
		{"list", 2, "c.yaml:1:", config("- epochs\n"), nil},

		{"no data of the config", 1, "c.yaml: data: there is no directory /does/not/exist", noData, nil},
		{"no data of the environment beside a config", 1, "environment variable CRNN_DATA: there is no directory /does/not/a",
			noData, []string{"CRNN_DATA=/does/not/a"}},
		{"no data", 1, "/does/not/exist", words("train --data /does/not/exist"), nil},
		{"empty data", 1, "train-images-idx3-ubyte", []string{"train", "--data", t.TempDir()}, nil},
		{"no init", 1, "/does/not/exist: no such file", words("train --init /does/not/exist"), nil},
		{"no run", 1, "--resume: ", words("train --resume /does/not/exist"), nil},
		{"directory without run", 1, "holds no run to resume", []string{"train", "--resume", t.TempDir()}, nil},
		{"setting of a resumed run", 2, "--lr cannot be changed", words("train --resume /does/not/exist --lr 1"), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := process{args: c.args, env: c.env, dir: t.TempDir()}
			p.refused(t, c.code, c.want)
			if left, _ := os.ReadDir(p.dir); len(left) > 0 {
				t.Errorf("left %v behind", left)
			}
		})
	}
}

// lastLineNames runs a command line that must fail, on smallData, whose warning comes before the
// error.
func lastLineNames(t *testing.T, code int, want string, args ...string) {
	t.Helper()
	r := process{args: args}.run(t)
	lines := strings.Split(strings.TrimSuffix(r.stderr, "\n"), "\n")
	last := lines[len(lines)-1]
	if r.code != code || !strings.HasPrefix(last, "crnn: ") || !strings.Contains(last, want) ||
		strings.Count(r.stderr, "crnn: ") > 1 {
		t.Errorf("crnn %s: exit code %d, want %d and an error that holds %q\n%s",
			strings.Join(args, " "), r.code, code, want, r.stderr)
	}
}

func TestUnwritable(t *testing.T) {
	dataDir := smallData(t)
	lastLineNames(t, 1, "/dev/null: not a directory", "train", "--data", dataDir, "--out", "/dev/null/run")
	lastLineNames(t, 1, "cannot write /dev/null/s.png: not a directory", "samples", "--data", dataDir, "--out",
		"/dev/null/s.png")
	lastLineNames(t, 1, "cannot write "+dataDir+": a directory", "samples", "--data", dataDir, "--out", dataDir)
	lastLineNames(t, 2, "--val-fraction 0.0001", "train", "--data", dataDir, "--val-fraction", "0.0001", "--out", "run")
}

// Data files that are not what they should be.
func TestBadData(t *testing.T) {
	const images, labels = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
	for _, c := range []struct {
		name  string
		file  string // the file that the error must name
		spoil func(dir string, file []byte) []byte
	}{
		{"empty", images, func(_ string, f []byte) []byte { return nil }},
		{"cut header", images, func(_ string, f []byte) []byte { return f[:9] }},
		{"cut", images, func(_ string, f []byte) []byte { return f[:len(f)-1] }},
		{"too long", images, func(_ string, f []byte) []byte { return append(f, 0) }},
		{"another magic", images, func(_ string, f []byte) []byte { f[2] = 9; return f }},
		{"forged number", images, func(_ string, f []byte) []byte { f[4] = 0x7f; return f }},
		{"forged size", images, func(_ string, f []byte) []byte { f[8], f[12] = 0x7f, 0x7f; return f }},
		{"another size", images, func(_ string, f []byte) []byte { return idx(f[16:], smallTrain, 14, 56) }},
		{"labels for images", images, func(dir string, _ []byte) []byte { return read(t, filepath.Join(dir, labels)) }},
		{"images for labels", labels, func(dir string, _ []byte) []byte { return read(t, filepath.Join(dir, images)) }},
		{"a label too large", labels, func(_ string, f []byte) []byte { f[len(f)-1] = 10; return f }},
		{"fewer labels", images, func(dir string, f []byte) []byte {
			writeIDX(t, filepath.Join(dir, labels), make([]byte, 100), 100)
			return f
		}},
		{"cut gzip", images, func(dir string, f []byte) []byte {
			write(t, filepath.Join(dir, images+".gz"), []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"))
			return f
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := smallData(t)
			path := filepath.Join(dir, c.file)
			write(t, path, c.spoil(dir, read(t, path)))
			r := process{args: []string{"train", "--data", dir}}.refused(t, 1, c.file)
			checkPeak(t, r)
		})
	}
}

// checkPeak fails if a process took more memory than files of a few kilobytes justify.
func checkPeak(t *testing.T, r result) {
	t.Helper()
	// The program itself takes 20 MB, and 50 MB more with the data set of 47 MB that it reads.
	const limit = 200 << 20
	if r.peak > limit {
		t.Errorf("%d bytes of memory", r.peak)
	}
}

// Weights that do not fit the network.
func TestBadWeights(t *testing.T) {
	sizes := model.Default()
	sizes.HiddenSize, sizes.NumLayers = 16, 2
	good := filepath.Join(t.TempDir(), "good.safetensors")
	if err := model.WriteWeights(good, model.NewState(sizes, 1)); err != nil {
		t.Fatal(err)
	}
	whole := read(t, good)
	tensors := func(change func(*safetensors.File)) func() []byte {
		return func() []byte {
			f, err := safetensors.Read(bytes.NewReader(whole), int64(len(whole)))
			if err != nil {
				t.Fatal(err)
			}
			change(f)
			var b bytes.Buffer
			if err := safetensors.Write(&b, f); err != nil {
				t.Fatal(err)
			}
			return b.Bytes()
		}
	}
	bytesOf := func(change func([]byte) []byte) func() []byte {
		return func() []byte { return change(bytes.Clone(whole)) }
	}
	for _, c := range []struct {
		name, want string
		content    func() []byte
	}{
		{"empty", "", bytesOf(func(b []byte) []byte { return nil })},
		{"cut in the header", "", bytesOf(func(b []byte) []byte { return b[:100] })},
		{"cut in the data", "", bytesOf(func(b []byte) []byte { return b[:len(b)-4] })},
		{"too long", "", bytesOf(func(b []byte) []byte { return append(b, 0, 0, 0, 0) })},
		{"forged length of the header", "", bytesOf(func(b []byte) []byte {
			binary.LittleEndian.PutUint64(b, 1<<62)
			return b
		})},
		{"header that is no JSON", "", bytesOf(func(b []byte) []byte { b[8] = '['; return b })},
		{"forged shape", "fc.weight", bytesOf(func(b []byte) []byte {
			return bytes.Replace(b, []byte(`"shape":[10,16]`), []byte(`"shape":[99,99]`), 1)
		})},
		{"tensor missing", "fc.bias", tensors(func(f *safetensors.File) {
			for i, t := range f.Tensors {
				if t.Name == "fc.bias" {
					f.Tensors = append(f.Tensors[:i], f.Tensors[i+1:]...)
					break
				}
			}
		})},
		{"tensor too many", "fc2.weight", tensors(func(f *safetensors.File) {
			f.Tensors = append(f.Tensors, safetensors.NewF32("fc2.weight", []int{1}, []float32{0}))
		})},
		{"another shape", "rnn.bias_hh_l1", tensors(func(f *safetensors.File) {
			*f.Get("rnn.bias_hh_l1") = safetensors.NewF32("rnn.bias_hh_l1", []int{17}, make([]float32, 17))
		})},
		{"another dtype", "rnn.bias_hh_l1", tensors(func(f *safetensors.File) {
			*f.Get("rnn.bias_hh_l1") = safetensors.NewI64("rnn.bias_hh_l1", []int{16}, make([]int64, 16))
		})},
		{"not finite", "fc.bias", tensors(func(f *safetensors.File) {
			copy(f.Get("fc.bias").Data, []byte{0, 0, 0xc0, 0x7f}) // a NaN
		})},
		{"a picture", "", func() []byte { return pngOf(t, 28) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "bad.safetensors")
			write(t, path, c.content())
			for _, args := range [][]string{
				{"eval", "--weights", path},
				{"predict", "--weights", path, "shoe.png"},
				{"train", "--init", path},
			} {
				r := process{args: args}.refused(t, 1, path)
				if !strings.Contains(r.stderr, c.want) {
					t.Errorf("the error does not name %s: %s", c.want, r.stderr)
				}
				checkPeak(t, r)
			}
		})
	}
	// The same number of pixels in another shape.
	tall := model.Default()
	tall.ImageHeight, tall.ImageWidth, tall.InputSize = 196, 4, 49
	path := filepath.Join(t.TempDir(), "w.safetensors")
	if err := model.WriteWeights(path, model.NewState(tall, 1)); err != nil {
		t.Fatal(err)
	}
	want := path + ": weights for images of 196x4x1, expected 28x28x1"
	lastLineNames(t, 1, want, "eval", "--weights", path, "--data", smallData(t))
	process{args: []string{"eval", "--weights", "/does/not/exist"}}.refused(t, 1, "/does/not/exist: no such file")
	process{args: []string{"eval", "--weights", t.TempDir()}}.refused(t, 1, "crnn: ")
	// Opening a pipe without a writer would wait for ever.
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	process{args: []string{"eval", "--weights", pipe}}.refused(t, 1, pipe)
}

func pngOf(t *testing.T, side int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, side, side))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Files that are not pictures.
func TestBadPictures(t *testing.T) {
	dir := t.TempDir()
	weights := filepath.Join(dir, "w.safetensors")
	if err := model.WriteWeights(weights, model.NewState(model.Default(), 1)); err != nil {
		t.Fatal(err)
	}
	good := pngOf(t, 40)
	write(t, filepath.Join(dir, "good.png"), good)
	forged := bytes.Clone(good)
	binary.BigEndian.PutUint32(forged[16:], 1<<30) // the width in the header
	for name, content := range map[string][]byte{
		"empty.png": nil, "text.png": []byte("hello"), "cut.png": good[:len(good)-20], "forged.png": forged,
	} {
		write(t, filepath.Join(dir, name), content)
	}
	for _, name := range []string{"empty.png", "text.png", "cut.png", "forged.png", "missing.png"} {
		t.Run(name, func(t *testing.T) {
			// Alone it is the error; among others it is reported, and they go on.
			r := process{args: []string{"predict", "--device", "cpu", "--weights", weights, name}, dir: dir}.refused(t, 1, name)
			checkPeak(t, r)
			r = process{args: []string{"predict", "--device", "cpu", "--weights", weights, name, "good.png"}, dir: dir}.run(t)
			lines := strings.Split(strings.TrimSpace(r.stderr), "\n")
			if r.code != 1 || len(lines) != 2 || !strings.HasPrefix(lines[0], "crnn: "+name+": ") ||
				lines[1] != "crnn: 1 of 2 pictures could not be read" || !strings.HasPrefix(r.stdout, "good.png: ") {
				t.Errorf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
			}
		})
	}
	// So are folders and patterns without a picture, and pictures of kinds that are not read.
	for _, name := range []string{"none", "phone"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"none", "q*.png", "photo.heic"} {
		if name == "photo.heic" {
			write(t, filepath.Join(dir, "phone", name), []byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic"))
			name = "phone"
		}
		r := process{args: []string{"predict", "--device", "cpu", "--weights", weights, name, "good.png"}, dir: dir}.run(t)
		lines := strings.Split(strings.TrimSpace(r.stderr), "\n")
		if r.code != 1 || len(lines) != 2 || !strings.HasPrefix(lines[0], "crnn: "+name) ||
			!strings.HasPrefix(r.stdout, "good.png: ") {
			t.Errorf("%s: exit code %d\n%s%s", name, r.code, r.stdout, r.stderr)
		}
		process{args: []string{"predict", "--device", "cpu", "--weights", weights, name}, dir: dir}.refused(t, 1, name)
	}
	if err := os.RemoveAll(filepath.Join(dir, "phone")); err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]string{
		"none":     "cannot write none: a directory, expected the name of a file",
		"no/o.csv": "cannot write no/o.csv: no such file",
	} {
		args := []string{"predict", "--device", "cpu", "--weights", weights, "--csv", target, "good.png"}
		process{args: args, dir: dir}.refused(t, 1, want)
	}
	// Links are followed, also from the table to its file; a link to a folder above is not.
	for link, target := range map[string]string{"linked": "real", "real/loop": ".", "table.csv": "real.csv"} {
		if err := os.MkdirAll(filepath.Join(dir, "real", "class"), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "real", "class", "a.png"), good)
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ csv, table string }{{"table.csv", "real.csv"}, {"-", ""}} {
		args := []string{"predict", "--device", "cpu", "--weights", weights, "--csv", c.csv, "linked/class", "linked"}
		r := process{args: args, dir: dir}.run(t)
		table := []byte(r.stdout)
		if c.table != "" {
			table, _ = os.ReadFile(filepath.Join(dir, c.table))
		}
		if !regexp.MustCompile(`^file,class,probability\nlinked/class/a\.png,.*\nlinked/class/a\.png,.*\n`).Match(table) {
			t.Errorf("--csv %s: exit code %d\n%s%s", c.csv, r.code, table, r.stderr)
		}
	}
	for _, name := range []string{"linked", "real", "table.csv", "real.csv", "none"} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	// A folder gives its pictures, by name.
	args := []string{"predict", "--device", "cpu", "--weights", weights, "--csv", "out.csv", "."}
	r := process{args: args, dir: dir}.run(t)
	table, err := os.ReadFile(filepath.Join(dir, "out.csv"))
	if r.code != 1 || !strings.Contains(r.stderr, "crnn: 4 of 5 pictures could not be read") || err != nil ||
		!regexp.MustCompile(`^file,class,probability\ngood\.png,[^,\n]+,0\.\d+\n$`).Match(table) {
		t.Errorf("exit code %d, error %v\n%s%s%s", r.code, err, r.stdout, r.stderr, table)
	}
}
