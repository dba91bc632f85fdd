package report

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"io"
	"log"
	"math"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"unicode"

	"codeberg.org/go-fonts/liberation/liberationsansregular"
	"github.com/go-text/typesetting/bidi"
	"github.com/go-text/typesetting/di"
	"github.com/go-text/typesetting/font"
	"github.com/go-text/typesetting/font/opentype"
	"github.com/go-text/typesetting/fontscan"
	"github.com/go-text/typesetting/language"
	"github.com/go-text/typesetting/segmenter"
	"github.com/go-text/typesetting/shaping"
	"golang.org/x/image/math/fixed"
	"golang.org/x/text/unicode/norm"
	plotfont "gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// typesetter draws the text of figures, always in one line. It implements text.Handler.
//
// Text in Latin, Greek or Cyrillic letters of Liberation Sans is drawn by gonum's plain handler. It
// has the same bytes on every machine. Other text is shaped by go-text: in Liberation Sans where
// that has the letters, else in fonts of the machine. Text that no font shows is escaped: \u732b.
type typesetter struct {
	text.Plain
	machine func() fontSource // the fonts of the machine; nil: there are none

	mu         sync.Mutex // fonts cache what they read
	liberation func() *font.Face
	shaper     shaping.HarfbuzzShaper
}

func newTypesetter(machine func() fontSource) *typesetter {
	return &typesetter{
		Plain:      text.Plain{Fonts: plotfont.DefaultCache},
		machine:    sync.OnceValue(machine),
		liberation: sync.OnceValue(liberation),
	}
}

// letters is the typesetter of every figure.
var letters = newTypesetter(machineFonts)

func liberation() *font.Face {
	face, err := font.ParseTTF(bytes.NewReader(liberationsansregular.TTF))
	if err != nil {
		panic(err) // it is part of the program
	}
	return face
}

// fontSource finds a font for a rune.
type fontSource = shaping.FontmapScript

// machineFonts finds the fonts of the machine. That takes a tenth of a second or more, so it is done
// only for text that needs them.
func machineFonts() fontSource {
	// fontscan keeps an index in a folder. Nobody asked for a file that stays.
	dir, err := os.MkdirTemp("", "crnn-fonts")
	if err != nil {
		return nil
	}
	defer os.RemoveAll(dir)
	fonts := fontscan.NewFontMap(log.New(io.Discard, "", 0))
	if fonts.UseSystemFonts(dir) != nil {
		return nil // no fonts are a usual state of a server
	}
	fonts.SetQuery(fontscan.Query{Families: []string{fontscan.Emoji, fontscan.SansSerif}})
	return fonts
}

// faces chooses fonts: the first for what it has, others for the rest.
type faces struct {
	first  *font.Face
	others fontSource // nil: there are none
}

// ResolveFace implements shaping.Fontmap.
func (f faces) ResolveFace(r rune) *font.Face {
	if _, ok := f.first.NominalGlyph(r); ok || f.others == nil {
		return f.first
	}
	if face := f.others.ResolveFace(r); face != nil {
		return face
	}
	return f.first
}

// SetScript implements shaping.FontmapScript.
func (f faces) SetScript(s language.Script) {
	if f.others != nil {
		f.others.SetScript(s)
	}
}

// maxText is the largest number of runes that are drawn. No figure has room for more.
const maxText = 1000

// oneLine returns s without what would break a line: spaces of any kind become spaces, and other
// characters without a picture are escaped. Letters and their accents are joined: names of files
// have them apart on macOS.
func oneLine(s string) string {
	runes := []rune(s)
	if n := len(runes); n > maxText {
		runes = slices.Concat(runes[:maxText/2], []rune{'…'}, runes[n-maxText/2:])
	}
	var b strings.Builder
	for _, r := range norm.NFC.String(string(runes)) {
		switch {
		case unicode.IsPrint(r), r == '\u200c', r == '\u200d': // zero width (non-)joiner: part of words
			b.WriteRune(r)
		case unicode.Is(unicode.Zs, r):
			b.WriteByte(' ')
		default:
			b.WriteString(escaped(r))
		}
	}
	return b.String()
}

// escaped returns a rune as it is written in Go, such as \n or \u732b.
func escaped(r rune) string { return strings.Trim(strconv.QuoteRuneToASCII(r), "'") }

// layout returns how s is drawn: as a line of plain text, or as shaped runs from left to right. It
// also reports whether all of s is shown, with nothing escaped for want of a font.
func (t *typesetter) layout(s string) (line string, runs []shaping.Output, shown bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	line = oneLine(s)
	if t.plain(line) {
		return line, nil, true
	}
	if t.has(line) {
		runs, shown = t.shape(line, faces{first: t.liberation()})
		return line, runs, shown
	}
	if runs, shown = t.shape(line, faces{t.liberation(), t.machine()}); shown {
		return line, runs, true
	}
	line = t.escape(line)
	if t.plain(line) {
		return line, nil, false
	}
	runs, _ = t.shape(line, faces{first: t.liberation()})
	return line, runs, false
}

// plain reports whether gonum's handler draws s well: it places letters of Liberation Sans one
// after the other, from left to right.
func (t *typesetter) plain(s string) bool {
	simple := func(r rune) bool {
		return unicode.In(r, unicode.Latin, unicode.Greek, unicode.Cyrillic, unicode.Common)
	}
	return t.has(s) && !strings.ContainsFunc(s, func(r rune) bool { return !simple(r) })
}

// has reports whether Liberation Sans has all of s.
func (t *typesetter) has(s string) bool { return t.escape(s) == s }

// escape returns s with the runes escaped that Liberation Sans does not have.
func (t *typesetter) escape(s string) string {
	var b strings.Builder
	for _, r := range s {
		if _, ok := t.liberation().NominalGlyph(r); ok {
			b.WriteRune(r)
		} else {
			b.WriteString(escaped(r))
		}
	}
	return b.String()
}

// shapedSize is the size at which text is shaped, large so that rounding does not show.
const shapedSize = 1000

// shape returns s as runs from left to right, and reports whether fonts have a picture for all of it.
func (t *typesetter) shape(s string, fonts faces) (line []shaping.Output, complete bool) {
	runes := []rune(s)
	direction := baseDirection(runes)
	var split shaping.Segmenter
	complete = true
	for _, run := range split.Split(shaping.Input{
		Text: runes, RunEnd: len(runes), Direction: direction, Size: fixed.I(shapedSize), Language: "en",
	}, fonts) {
		out := t.shaper.Shape(run)
		for _, g := range out.Glyphs {
			complete = complete && (unicode.IsSpace(runes[g.TextIndex()]) || hasPicture(out.Face, g.GlyphID))
		}
		line = append(line, out)
	}
	var wrapper shaping.LineWrapper
	lines, _ := wrapper.WrapParagraph(shaping.WrapConfig{Direction: direction, BreakPolicy: shaping.Never},
		math.MaxInt32, runes, shaping.NewSliceIterator(line))
	if len(lines) != 1 {
		return nil, false
	}
	line = slices.Clone(lines[0])
	slices.SortStableFunc(line, func(a, b shaping.Output) int { return int(a.VisualIndex - b.VisualIndex) })
	return line, complete
}

// baseDirection returns the direction of text: that of its first letter that has one.
func baseDirection(s []rune) di.Direction {
	var p bidi.Paragraph
	runs := p.Segment(s, bidi.Neutral)
	for i := range runs.NumRuns() {
		if runs.Run(i).Level == 0 { // the level of text from left to right that nothing surrounds
			return di.DirectionLTR
		}
	}
	return di.DirectionRTL
}

// hasPicture reports whether drawGlyph can draw a glyph. Glyph 0 is the box for what a font lacks.
func hasPicture(face *font.Face, glyph font.GID) bool {
	if glyph == 0 {
		return false
	}
	_, outline := face.GlyphDataOutline(glyph)
	return outline || picture(face, glyph) != nil
}

// picture returns a glyph of a font that has pictures, such as colored emoji, or nil.
func picture(face *font.Face, glyph font.GID) image.Image {
	bitmap, ok := face.GlyphDataBitmap(glyph)
	if !ok || bitmap.Format != font.PNG {
		return nil
	}
	img, err := png.Decode(bytes.NewReader(bitmap.Data))
	if err != nil {
		return nil
	}
	return img
}

// Lines implements text.Handler.
func (t *typesetter) Lines(s string) []string { return []string{s} }

// Box implements text.Handler.
func (t *typesetter) Box(s string, f plotfont.Font) (width, height, depth vg.Length) {
	line, runs, _ := t.layout(s)
	if runs == nil {
		return t.Plain.Box(line, f)
	}
	for _, run := range runs {
		width += shapedLength(run.Advance, f.Size)
	}
	extents := t.Extents(f) // of Liberation Sans: all text of a figure has the same base line
	return width, extents.Ascent, extents.Descent
}

// shapedLength returns a length of shaped text at the given size of the font.
func shapedLength(v fixed.Int26_6, size vg.Length) vg.Length {
	return vg.Length(v) / (64 * shapedSize) * size
}

// Draw implements text.Handler.
func (t *typesetter) Draw(c vg.Canvas, s string, style text.Style, at vg.Point) {
	line, runs, _ := t.layout(s)
	if runs == nil {
		t.Plain.Draw(c, line, style, at)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	size := style.Font.Size
	var width vg.Length
	for _, run := range runs {
		width += shapedLength(run.Advance, size)
	}
	c.Push()
	defer c.Pop()
	c.SetColor(style.Color)
	c.Translate(at)
	c.Rotate(style.Rotation)
	// The base line is where the plain handler has it.
	extents := t.Extents(style.Font)
	dot := vg.Point{
		X: vg.Length(style.XAlign) * width,
		Y: vg.Length(style.YAlign)*(extents.Ascent+extents.Descent) - extents.Ascent + size,
	}
	for _, run := range runs {
		for _, g := range run.Glyphs {
			offset := vg.Point{X: shapedLength(g.XOffset, size), Y: shapedLength(g.YOffset, size)}
			drawGlyph(c, run.Face, g, size, dot.Add(offset))
			dot.X += shapedLength(g.Advance, size)
		}
	}
}

// drawGlyph draws a glyph with its origin at dot.
func drawGlyph(c vg.Canvas, face *font.Face, g shaping.Glyph, size vg.Length, dot vg.Point) {
	if g.GlyphID == 0 {
		return // the space of a font that has none
	}
	if img := picture(face, g.GlyphID); img != nil {
		corner := dot.Add(vg.Point{X: shapedLength(g.XBearing, size), Y: shapedLength(g.YBearing+g.Height, size)})
		extent := vg.Point{X: shapedLength(g.Width, size), Y: -shapedLength(g.Height, size)}
		c.DrawImage(vg.Rectangle{Min: corner, Max: corner.Add(extent)}, img)
		return
	}
	outline, _ := face.GlyphDataOutline(g.GlyphID)
	unit := size / vg.Length(face.Upem())
	point := func(p opentype.SegmentPoint) vg.Point {
		return dot.Add(vg.Point{X: unit * vg.Length(p.X), Y: unit * vg.Length(p.Y)})
	}
	var path vg.Path
	for _, s := range outline.Segments {
		switch s.Op {
		case opentype.SegmentOpMoveTo:
			path.Move(point(s.Args[0]))
		case opentype.SegmentOpLineTo:
			path.Line(point(s.Args[0]))
		case opentype.SegmentOpQuadTo:
			path.QuadTo(point(s.Args[0]), point(s.Args[1]))
		case opentype.SegmentOpCubeTo:
			path.CubeTo(point(s.Args[0]), point(s.Args[1]), point(s.Args[2]))
		}
	}
	c.Fill(path)
}

// classTitle returns the name of the class of a label, or a text with that name, as figures show it.
// If no font shows it, the label stands before it: nobody knows a class by its escaped letters. A
// label below 0 is not known.
func classTitle(name string, label int) string {
	line, _, shown := letters.layout(name)
	switch {
	case shown:
		return name
	case label < 0:
		return line
	}
	return fmt.Sprintf("%d: %s", label, line)
}

// classTitles returns the names of classes as figures show them.
func classTitles(classes []string) []string {
	titles := make([]string, len(classes))
	for label, name := range classes {
		titles[label] = classTitle(name, label)
	}
	return titles
}

// elide shortens name in its middle until it is no wider than width. It does not part a letter from
// its accents.
func elide(name string, style draw.TextStyle, width vg.Length) string {
	if style.Width(name) <= width {
		return name
	}
	var letters []string
	var split segmenter.Segmenter
	split.Init([]rune(name))
	for it := split.GraphemeIterator(); it.Next(); {
		letters = append(letters, string(it.Grapheme().Text))
	}
	short := func(keep int) string {
		return strings.Join(letters[:(keep+1)/2], "") + "…" + strings.Join(letters[len(letters)-keep/2:], "")
	}
	tooMany := sort.Search(len(letters), func(keep int) bool { return style.Width(short(keep)) > width })
	return short(max(0, tooMany-1))
}
