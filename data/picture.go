package data

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	stddraw "image/draw"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"math"
	"strings"

	"crnn/internal/osfile"

	"golang.org/x/image/draw"
)

// pictureFormats are decoded by name, not by image.Decode: its formats depend on which packages the
// program links.
var pictureFormats = []struct {
	name   string
	start  string // of the file
	config func(io.Reader) (image.Config, error)
	decode func(io.Reader) (image.Image, error)
}{
	{"PNG", "\x89PNG\r\n\x1a\n", png.DecodeConfig, png.Decode},
	{"JPEG", "\xff\xd8", jpeg.DecodeConfig, jpeg.Decode},
	{"GIF", "GIF8", gif.DecodeConfig, gif.Decode},
}

// Limits on what is decoded.
const (
	maxPixels = 100e6   // at most 800 MB when decoded
	maxSide   = 1 << 16 // JPEG and GIF have no longer sides
	// maxPixelsPerByte is the largest number of pixels per byte of a file. In PNG, deflate makes
	// 1032 bytes of one, of 8 pixels each in a picture of two colours; GIF and JPEG have fewer.
	maxPixelsPerByte = 1032 * 8
)

// LoadPicture reads a PNG, JPEG or GIF file as an image of the data set's kind: 28x28
// gray bytes, row-major, bright on dark. See DecodePicture. Errors are one line that
// begins with the path.
func LoadPicture(path string) ([]uint8, error) {
	f, info, err := osfile.Open(path, "a file")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	picture, err := DecodePicture(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, osfile.Cause(err))
	}
	return picture, nil
}

// DecodePicture reads the picture in r, a file of size bytes:
//
//   - Colours become gray by their luminance (Rec. 601); of an animation the first frame counts.
//   - Transparent parts become white behind a dark subject and black behind a light one,
//     so that the subject always stands out.
//   - If the border, one pixel wide, is light (its mean is above the middle), the picture is
//     inverted: the data set shows bright things on black. No image of Fashion-MNIST has
//     such a border, so all of them stay as they are.
//   - The longer side is scaled to 28 pixels (Catmull-Rom, averaging when it shrinks), and
//     the shorter one padded on both sides with the mean of the border. A picture of 28x28
//     pixels is not scaled.
func DecodePicture(r io.ReadSeeker, size int64) ([]uint8, error) {
	img, err := decodePicture(r, size)
	if err != nil {
		return nil, err
	}
	gray := flatten(img)
	background := borderMean(gray)
	if background > 127.5 {
		background = 255 - background
		for i, v := range gray.Pix {
			gray.Pix[i] = 255 - v
		}
	}
	return fit(gray, uint8(math.Round(background))).Pix, nil
}

func decodePicture(r io.ReadSeeker, size int64) (image.Image, error) {
	start := make([]byte, 8)
	if _, err := io.ReadFull(r, start); err == io.EOF {
		return nil, errors.New("the file is empty, expected a PNG, JPEG or GIF picture")
	} else if err != nil && err != io.ErrUnexpectedEOF {
		return nil, err
	}
	for _, format := range pictureFormats {
		if !strings.HasPrefix(string(start), format.start) {
			continue
		}
		damaged := func(err error) error {
			return fmt.Errorf("damaged %s picture: %w", format.name, err)
		}
		if _, err := r.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
		config, err := format.config(r)
		if err != nil {
			return nil, damaged(err)
		}
		if err := checkSize(config.Width, config.Height, size); err != nil {
			return nil, err
		}
		if _, err := r.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
		img, err := format.decode(r)
		if err != nil {
			return nil, damaged(err)
		}
		if img.Bounds().Empty() {
			return nil, damaged(errors.New("it has no pixels"))
		}
		return img, nil
	}
	return nil, errors.New("not a picture in a format that is understood (PNG, JPEG, GIF)")
}

// checkSize refuses a picture before memory for its pixels is allocated.
func checkSize(width, height int, fileSize int64) error {
	n := int64(width) * int64(height)
	switch {
	case width > maxSide || height > maxSide || n > maxPixels:
		return fmt.Errorf("the picture has %dx%d pixels, at most %.0f million in all "+
			"and %d on a side are read: scale it down",
			width, height, maxPixels/1e6, maxSide)
	case n > fileSize*maxPixelsPerByte:
		return fmt.Errorf("damaged picture: its header promises %dx%d pixels, which a file of %d bytes cannot hold",
			width, height, fileSize)
	}
	return nil
}

// flatten makes img gray and opaque.
func flatten(img image.Image) *image.Gray {
	gray, transparent, light := flattenOver(img, color.White)
	if transparent && light {
		gray, _, _ = flattenOver(img, color.Black)
	}
	return gray
}

// flattenOver draws img over a background. It reports whether any of the background shows
// through, and whether the mean of img's own luminance is above the middle.
func flattenOver(img image.Image, background color.Gray16) (gray *image.Gray, transparent, light bool) {
	const opaque = 0xffff
	b := img.Bounds()
	gray = image.NewGray(image.Rect(0, 0, b.Dx(), b.Dy()))
	row := image.NewRGBA64(image.Rect(0, 0, b.Dx(), 1))
	var sumY, sumA uint64
	for y := range b.Dy() {
		stddraw.Draw(row, row.Rect, img, image.Pt(b.Min.X, b.Min.Y+y), stddraw.Src)
		for x := range b.Dx() {
			c := row.RGBA64At(x, 0) // premultiplied with alpha
			// The weights of package image/color; they make 0x101*v of a gray v.
			luma := (19595*uint32(c.R) + 38470*uint32(c.G) + 7471*uint32(c.B) + 1<<15) >> 16
			alpha := uint32(c.A)
			sumY += uint64(luma)
			sumA += uint64(alpha)
			through := (opaque - alpha) * uint32(background.Y) / opaque
			gray.Pix[y*gray.Stride+x] = uint8((luma + through) >> 8)
		}
	}
	n := uint64(b.Dx()) * uint64(b.Dy())
	return gray, sumA < n*opaque, 2*sumY > sumA
}

// borderMean returns the mean of the outermost pixels.
func borderMean(g *image.Gray) float64 {
	w, h := g.Rect.Dx(), g.Rect.Dy()
	sum, n := 0.0, 0
	for y := range h {
		step := max(w-1, 1)
		if y == 0 || y == h-1 {
			step = 1
		}
		for x := 0; x < w; x += step {
			sum += float64(g.Pix[y*g.Stride+x])
			n++
		}
	}
	return sum / float64(n)
}

// fit scales g to the size of the data set's images, keeping its proportions.
func fit(g *image.Gray, background uint8) *image.Gray {
	w, h := g.Rect.Dx(), g.Rect.Dy()
	if w == imageWidth && h == imageHeight {
		return g
	}
	out := image.NewGray(image.Rect(0, 0, imageWidth, imageHeight))
	for i := range out.Pix {
		out.Pix[i] = background
	}
	scale := min(imageWidth/float64(w), imageHeight/float64(h))
	outW := max(1, int(math.Round(scale*float64(w))))
	outH := max(1, int(math.Round(scale*float64(h))))
	corner := image.Pt((imageWidth-outW)/2, (imageHeight-outH)/2)
	draw.CatmullRom.Scale(out, image.Rectangle{corner, corner.Add(image.Pt(outW, outH))}, g, g.Rect, draw.Src, nil)
	return out
}
