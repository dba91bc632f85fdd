//go:build unix

package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"crnn/model/safetensors"
	"crnn/rng"
)

// colours are the classes of the pictures of photos; their names must survive everywhere.
var colours = map[string]color.RGBA{
	"rot & gelb": {220, 120, 20, 255}, `"grün", hell`: {60, 220, 80, 255}, "青": {30, 60, 230, 255},
}

// photos makes a folder of pictures of different sizes, with a subfolder for each of three classes that
// a colour tells apart.
func photos(t *testing.T, perClass int) string {
	t.Helper()
	dir := t.TempDir()
	stream := rng.Stream{Seed: 11}
	for name, c := range colours {
		for i := range perClass {
			img := image.NewRGBA(image.Rect(0, 0, 20+int(stream.Below(30)), 20+int(stream.Below(30))))
			for p := 0; p < len(img.Pix); p += 4 {
				noise := uint8(stream.Below(25))
				copy(img.Pix[p:], []uint8{c.R + noise, c.G + noise, c.B + noise, 255})
			}
			var file bytes.Buffer
			if err := png.Encode(&file, img); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, name, fmt.Sprintf("photo %d.png", i))
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			write(t, path, file.Bytes())
		}
	}
	return dir
}

// A folder of photos becomes a trained model, and that a table of predictions, in three commands.
func TestFolderOfPhotos(t *testing.T) {
	dir, work := photos(t, 40), t.TempDir()
	env := []string{"XDG_CACHE_HOME=" + filepath.Join(work, "cache")}
	in := func(args ...string) result {
		return process{args: args, dir: work, env: env}.run(t)
	}
	refused := in("train", "--device", "cpu", "--data", dir, "--out", "run")
	differ := regexp.MustCompile(`the pictures differ in size .*such as (--image-size \d+x\d+)\n$`)
	advice := differ.FindStringSubmatch(refused.stderr)
	if refused.code != 1 || advice == nil {
		t.Fatalf("exit code %d\n%s", refused.code, refused.stderr)
	}
	size := strings.Fields(advice[1])
	train := append([]string{"train", "--device", "cpu", "--data", dir, "--out", "run", "--epochs", "8", "--lr", "0.003",
		"--hidden-size", "24", "--num-layers", "2", "--channels", "8,16", "--batch-size", "10"}, size...)
	trained := in(train...)
	if trained.code != 0 || !strings.Contains(trained.stderr, "3 classes") {
		t.Fatalf("exit code %d\n%s", trained.code, trained.stderr)
	}
	lines := strings.Split(strings.TrimSpace(trained.stdout), "\n")
	// The colours are far apart, so a network that is trained right tells them all.
	if want := "Test Accuracy of RNN model on the 12 test images: 100.00%"; lines[len(lines)-1] != want {
		t.Errorf("%q, want %q", lines[len(lines)-1], want)
	}
	f, err := safetensors.ReadFile(filepath.Join(work, "run", "best.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	var classes []string
	if err := json.Unmarshal([]byte(f.Metadata["crnn.classes"]), &classes); err != nil {
		t.Fatal(err)
	}
	// In the order of the names' bytes, as torchvision has them.
	if diff := cmp.Diff([]string{`"grün", hell`, "rot & gelb", "青"}, classes); diff != "" {
		t.Error(diff)
	}

	predicted := in("predict", "--device", "cpu", "--weights", "run", "--csv", "table.csv", "--top", "2", dir)
	if predicted.code != 0 || predicted.stdout != "" {
		t.Fatalf("exit code %d\n%s%s", predicted.code, predicted.stdout, predicted.stderr)
	}
	file, err := os.ReadFile(filepath.Join(work, "table.csv"))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(file)).ReadAll()
	if err != nil || len(rows) != 121 || len(rows[0]) != 5 {
		t.Fatalf("%d rows, error %v", len(rows), err)
	}
	for _, row := range rows[1:] {
		if filepath.Base(filepath.Dir(row[0])) != row[1] {
			t.Errorf("%q", row)
		}
	}

	// The pictures come from the cache now; the weights say their size.
	eval := in("eval", "--device", "cpu", "--weights", "run", "--data", dir, "--json")
	if !strings.Contains(eval.stdout, `"split":"test","count":12,`) || !strings.Contains(eval.stdout, `"accuracy":100}`) {
		t.Errorf("exit code %d\n%s%s", eval.code, eval.stdout, eval.stderr)
	}
	// A resumed run finds the same pictures and the same parts.
	more := in("train", "--resume", "run", "--epochs", "9")
	if more.code != 0 || !strings.Contains(more.stdout, "Epoch 9/9") || strings.Contains(more.stderr, "pictures read") {
		t.Errorf("exit code %d\n%s%s", more.code, more.stdout, more.stderr)
	}
}
