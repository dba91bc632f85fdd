package picture

import (
	"bufio"
	"fmt"
	"image/color"
	"os"
	"path/filepath"
	"testing"
)

// fixture is a picture of testdata, and what Pillow shows of it. See testdata/make.py.
type fixture struct {
	name, path string
	Info
	tolerance int
	rgba      []uint8 // [Height, Width, 4], straight alpha
}

func fixtures(t testing.TB) []fixture {
	t.Helper()
	f, err := os.Open("testdata/expect.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []fixture
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var x fixture
		_, err := fmt.Sscan(lines.Text(), &x.name, &x.Format, &x.Width, &x.Height, &x.Gray, &x.tolerance)
		if err != nil {
			t.Fatal(err)
		}
		x.path = filepath.Join("testdata", x.name)
		if x.rgba, err = os.ReadFile(x.path + ".rgba"); err != nil {
			t.Fatal(err)
		}
		all = append(all, x)
	}
	return all
}

// shown returns what p shows: shape [Height, Width, 4], straight alpha.
func shown(p *Picture) []uint8 {
	b := p.stored.Bounds()
	out := make([]uint8, 4*b.Dx()*b.Dy())
	planes := make([][]uint8, 4)
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			var v [4]uint8
			switch c := p.stored.At(x, y).(type) {
			case color.NRGBA64:
				v = [4]uint8{uint8(c.R >> 8), uint8(c.G >> 8), uint8(c.B >> 8), uint8(c.A >> 8)}
			default:
				n := color.NRGBAModel.Convert(c).(color.NRGBA)
				v = [4]uint8{n.R, n.G, n.B, n.A}
			}
			for i := range planes {
				planes[i] = append(planes[i], v[i])
			}
		}
	}
	for i := range planes {
		for j, v := range turn(planes[i], b.Dx(), b.Dy(), p.orientation) {
			out[4*j+i] = v
		}
	}
	return out
}

// worst returns the largest difference of two pictures of straight alpha. What is transparent has no
// colour.
func worst(a, b []uint8) (difference, at int) {
	for i := range a {
		d := int(a[i]) - int(b[i])
		if i%4 != 3 && a[i|3] == 0 && b[i|3] == 0 {
			continue
		}
		if d = max(d, -d); d > difference {
			difference, at = d, i
		}
	}
	return difference, at
}

func TestPicturesAreThoseThatPillowShows(t *testing.T) {
	for _, x := range fixtures(t) {
		t.Run(x.name, func(t *testing.T) {
			info, err := Inspect(x.path)
			if err != nil {
				t.Fatal(err)
			}
			if info != x.Info {
				t.Errorf("Inspect: %+v, want %+v", info, x.Info)
			}
			p, err := Read(x.path)
			if err != nil {
				t.Fatal(err)
			}
			if p.Info != x.Info {
				t.Fatalf("%+v, want %+v", p.Info, x.Info)
			}
			got := shown(p)
			if len(got) != len(x.rgba) {
				t.Fatalf("%d bytes, want %d", len(got), len(x.rgba))
			}
			if d, i := worst(got, x.rgba); d > x.tolerance {
				i &^= 3
				t.Errorf("pixel %d,%d is %v, want %v within %d (%T)",
					i/4%x.Width, i/4/x.Width, got[i:i+4], x.rgba[i:i+4], x.tolerance, p.stored)
			}
		})
	}
}
