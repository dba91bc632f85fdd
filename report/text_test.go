package report

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"io"
	"log"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/go-text/typesetting/fontscan"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"pgregory.net/rapid"
)

const (
	arabic = "قطة" // "cat"; the letters of testdata/fonts/arabic.ttf
	emoji  = "🚀"   // the picture of testdata/fonts/emoji.ttf
)

// testFonts stands for the fonts of a machine.
func testFonts(t *testing.T) func() fontSource {
	t.Helper()
	fonts := fontscan.NewFontMap(log.New(io.Discard, "", 0))
	for _, name := range []string{"arabic.ttf", "emoji.ttf"} {
		b, err := os.ReadFile(filepath.Join("testdata", "fonts", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := fonts.AddFont(bytes.NewReader(b), name, ""); err != nil {
			t.Fatal(err)
		}
	}
	return func() fontSource { return fonts }
}

func noFonts() fontSource { return nil }

// useFonts makes figures use fonts instead of the machine's.
func useFonts(t *testing.T, fonts func() fontSource) {
	t.Helper()
	before := letters
	letters = newTypesetter(fonts)
	t.Cleanup(func() { letters = before })
}

// Text that Liberation Sans shows is the same on every machine: nobody looks for other fonts.
func TestTextOfLiberationSans(t *testing.T) {
	ts := newTypesetter(func() fontSource {
		t.Error("the fonts of the machine are sought")
		return nil
	})
	for _, c := range []struct {
		text, line string
		plain      bool
	}{
		{"Ankle boot", "Ankle boot", true},
		{"", "", true},
		{"90.33 % – 1 → 2…", "90.33 % – 1 → 2…", true},
		{"Žluťoučký kůň, Ελλάδα, Кошка, việt", "Žluťoučký kůň, Ελλάδα, Кошка, việt", true},
		{"cafe\u0301", "café", true},
		{"q\u0303", "q\u0303", false}, // Unicode has no letter for it: the accent must be placed
		{"חתול", "חתול", false},
		{"a\nb\tc\x00d\u202ee\u00a0f\u3000g", `a\nb\tc\x00d\u202ee f g`, true},
		{"\ue000", `\ue000`, true},
	} {
		line, runs, shown := ts.layout(c.text)
		if line != c.line || !shown || (runs == nil) != c.plain {
			t.Errorf("%q became %q: shown %t, plain %t, want %q, plain %t", c.text, line, shown, runs == nil, c.line, c.plain)
		}
	}
}

func TestTextThatNoFontShows(t *testing.T) {
	useFonts(t, noFonts)
	for text, want := range map[string]string{
		"猫 cat":       `3: \u732b cat`,
		emoji:         `3: \U0001f680`,
		"a\nb" + "猫":  `3: a\nb\u732b`,
		"חתול 猫":      `3: חתול \u732b`,
		"Sneaker":     "Sneaker",
		"a\nb":        "a\nb", // shown escaped, but readable
		"Coat: 6,000": "Coat: 6,000",
	} {
		if got := classTitle(text, 3); got != want {
			t.Errorf("the class %q is called %q, want %q", text, got, want)
		}
	}
	if got, want := classTitle("猫", -1), `\u732b`; got != want {
		t.Errorf("without label: %q, want %q", got, want)
	}
	// A font that lacks one letter does not show the word.
	useFonts(t, testFonts(t))
	if got, want := classTitle(arabic+"ب", 3), `3: \u0642\u0637\u0629\u0628`; got != want {
		t.Errorf("with a letter that the fonts lack: %q, want %q", got, want)
	}
}

// Letters of right-to-left scripts are joined and placed from right to left.
func TestTextIsShaped(t *testing.T) {
	ts := newTypesetter(testFonts(t))
	_, runs, shown := ts.layout(arabic)
	if !shown || len(runs) != 1 || len(runs[0].Glyphs) != 3 {
		t.Fatalf("%d runs, shown %t", len(runs), shown)
	}
	for i, g := range runs[0].Glyphs {
		letter := []rune(arabic)[2-i]
		if g.TextIndex() != 2-i {
			t.Errorf("glyph %d from the left is letter %d", i, g.TextIndex())
		}
		if alone, _ := runs[0].Face.NominalGlyph(letter); g.GlyphID == alone {
			t.Errorf("%c is not joined to its neighbours", letter)
		}
	}
	for text, want := range map[string][]string{ // pieces from left to right
		"cat " + arabic: {"cat ", arabic},
		arabic + " cat": {"cat", arabic + " "},
		"חתול":          {"חתול"},
		"a" + emoji:     {"a", emoji},
	} {
		_, runs, shown := ts.layout(text)
		var got []string
		for _, run := range runs {
			got = append(got, string([]rune(text)[run.Runes.Offset:run.Runes.Offset+run.Runes.Count]))
		}
		if !shown || fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			t.Errorf("%q is drawn as %q, shown %t, want %q", text, got, shown, want)
		}
	}
	_, runs, _ = ts.layout("חתול") // Liberation Sans has the letters
	if g := runs[0].Glyphs; g[0].TextIndex() != 3 || g[3].TextIndex() != 0 {
		t.Error("Hebrew is drawn from left to right")
	}
}

// inked returns the part of f that is not white.
func inked(f Figure) image.Rectangle {
	var r image.Rectangle
	for y := range f.image.Rect.Dy() {
		for x := range f.image.Rect.Dx() {
			if f.image.RGBAAt(x, y) != (color.RGBA{0xff, 0xff, 0xff, 0xff}) {
				r = r.Union(image.Rect(x, y, x+1, y+1))
			}
		}
	}
	return r
}

// Shaped text is drawn where the plain text of its size would be: in the box around its point.
func TestShapedTextFillsItsBox(t *testing.T) {
	useFonts(t, testFonts(t))
	for _, text := range []string{arabic, "cat " + arabic, "חתול", emoji, "q\u0303", "cat"} {
		for _, rotation := range []float64{0, math.Pi / 2} {
			for _, x := range []draw.TextStyle{{XAlign: draw.XLeft}, {XAlign: draw.XCenter}, {XAlign: draw.XRight}} {
				canvas, f := newCanvas(400, 400)
				style := textStyle(14)
				style.XAlign, style.Rotation = x.XAlign, rotation
				width := style.Width(text)
				canvas.FillText(style, f.at(200, 200), text)

				// The letters may reach over the box by little, since it holds advances.
				const over = 3
				length, side := int(width.Dots(dpi)), int(sizeTitle.Dots(dpi))
				start := int(float64(x.XAlign) * float64(length))
				box := image.Rect(200+start, 200-side, 200+start+length, 200+side)
				if rotation != 0 {
					box = image.Rect(200-side, 200-start-length, 200+side, 200-start)
				}
				ink := inked(f)
				if !ink.In(box.Inset(-over)) || max(ink.Dx(), ink.Dy()) < length*3/4 {
					t.Errorf("%q, aligned %g, rotated %.1f: ink %v, want it in %v", text, x.XAlign, rotation, ink, box)
				}
			}
		}
	}
}

// Colored pictures keep their colors.
func TestEmojiIsColored(t *testing.T) {
	useFonts(t, testFonts(t))
	canvas, f := newCanvas(60, 60)
	canvas.FillText(textStyle(20), f.at(30, 30), emoji)
	reds := 0
	for y := range 60 {
		for x := range 60 {
			if c := f.image.RGBAAt(x, y); c.R > 0xb0 && c.G < 0x80 && c.B < 0x80 {
				reds++
			}
		}
	}
	if reds < 20 {
		t.Errorf("%d red pixels in the picture of a rocket with a red nose", reds)
	}
}

// No text breaks a line, or shows the box of a missing letter.
func TestAnyTextIsDrawn(t *testing.T) {
	ts := newTypesetter(testFonts(t))
	known := []rune("aé猫قطةש\u0301\u200d\ufe0f\n\x1b\u202e 🚀🏽 \ufffd…")
	rapid.Check(t, func(t *rapid.T) {
		text := string(rapid.SliceOf(rapid.OneOf(rapid.Rune(), rapid.SampledFrom(known))).Draw(t, "text"))
		if rapid.Bool().Draw(t, "bytes") {
			text += string(rapid.SliceOf(rapid.Byte()).Draw(t, "more"))
		}
		line, runs, _ := ts.layout(text)
		for _, r := range line {
			if !unicode.IsPrint(r) && r != '\u200c' && r != '\u200d' {
				t.Fatalf("%q is drawn with %q", text, r)
			}
			if _, ok := ts.liberation().NominalGlyph(r); runs == nil && !ok {
				t.Fatalf("%q is drawn as a box", r)
			}
		}
		for _, run := range runs {
			for _, g := range run.Glyphs {
				if r := []rune(line)[g.TextIndex()]; g.GlyphID == 0 && r != ' ' {
					t.Fatalf("%q is drawn as a box", r)
				}
			}
		}
		width, _, _ := ts.Box(text, textStyle(12).Font)
		if !(width >= 0 && width < 1e6) {
			t.Fatalf("%q is %g wide", text, width)
		}
	})
}

func TestVeryLongText(t *testing.T) {
	ts := newTypesetter(testFonts(t))
	for _, letter := range []string{"a", "א", "猫", arabic} {
		line, _, _ := ts.layout(strings.Repeat(letter, 100_000))
		if n := len([]rune(line)); n > 10*maxText {
			t.Errorf("%d runes are drawn of a long text of %q", n, letter)
		}
	}
}

// The fonts of this machine are used if there are any. They leave nothing behind.
func TestMachineFonts(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	ts := newTypesetter(machineFonts)
	if line, runs, shown := ts.layout("猫"); shown != (runs != nil) || (!shown && line != `\u732b`) {
		t.Errorf("drawn as %q, shown %t, %d runs", line, shown, len(runs))
	}
	if left := files(t, dir); len(left) != 0 {
		t.Errorf("%d files are left", len(left))
	}
}

func TestElideKeepsAccents(t *testing.T) {
	const letter = "q\u0303"
	style := textStyle(sizeLabel)
	name := strings.Repeat(letter, 40)
	short := elide(name, style, 100)
	before, after, ok := strings.Cut(short, "…")
	if !ok || style.Width(short) > 100 || style.Width(short) < 70 {
		t.Errorf("%q is %g wide, want less than 100", short, style.Width(short))
	}
	if strings.Count(before+after, letter)*len(letter) != len(before+after) {
		t.Errorf("%q has letters without their accents", short)
	}
	var width vg.Length = 1
	if short := elide(name, style, width); short != "…" {
		t.Errorf("%q, want … where nothing fits", short)
	}
}
