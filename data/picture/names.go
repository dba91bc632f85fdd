package picture

import (
	"bytes"
	"path/filepath"
	"strings"
)

// readEndings are the endings of names, in lower case, of files that are read.
var readEndings = map[string]bool{
	".png": true, ".jpg": true, ".jpeg": true, ".jpe": true, ".jfif": true, ".gif": true, ".bmp": true,
	".webp": true, ".tif": true, ".tiff": true,
}

// unreadEndings are those of pictures that are not read.
var unreadEndings = map[string]string{
	".heic": "HEIC", ".heif": "HEIC", ".hif": "HEIC", ".avif": "AVIF", ".jxl": "JPEG XL",
	".jp2": "JPEG 2000", ".j2k": "JPEG 2000", ".jpf": "JPEG 2000", ".jpx": "JPEG 2000",
	".psd": "PSD", ".svg": "SVG", ".svgz": "SVG", ".pdf": "PDF", ".eps": "EPS", ".ico": "ICO", ".cur": "ICO",
	".tga": "TGA", ".pcx": "PCX", ".exr": "EXR", ".hdr": "HDR", ".dds": "DDS", ".qoi": "QOI", ".xcf": "XCF",
	".pbm": "PNM", ".pgm": "PNM", ".ppm": "PNM", ".pnm": "PNM", ".apng": "APNG",
	".dng": "raw", ".cr2": "raw", ".cr3": "raw", ".nef": "raw", ".arw": "raw", ".raf": "raw", ".orf": "raw", ".rw2": "raw",
}

// IsName reports whether a file's name ends as that of a picture that is read: .png .jpg .jpeg .jpe
// .jfif .gif .bmp .webp .tif .tiff, in any case. The first bytes of a file decide what it holds.
func IsName(name string) bool { return readEndings[ending(name)] }

// UnreadName returns the kind of picture that is not read and whose names end like name, such as
// HEIC, or "". A folder's scan skips such a file; a note should say so.
func UnreadName(name string) string { return unreadEndings[ending(name)] }

func ending(name string) string { return strings.ToLower(filepath.Ext(name)) }

// unreadFormats are told by how a file starts, so that a whole picture is not called damaged.
var unreadFormats = []struct{ name, start string }{
	{"a JPEG XL picture", "\xff\x0a"},
	{"a JPEG XL picture", "\x00\x00\x00\x0cJXL \r\n\x87\n"},
	{"a JPEG 2000 picture", "\x00\x00\x00\x0cjP  \r\n\x87\n"},
	{"a JPEG 2000 picture", "\xff\x4f\xff\x51"},
	{"an AVIF picture", "????ftypavif"},
	{"an AVIF picture", "????ftypavis"},
	{"a HEIC picture", "????ftyphei"},
	{"a HEIC picture", "????ftyphev"},
	{"a HEIC picture", "????ftypmif1"},
	{"a HEIC picture", "????ftypmsf1"},
	{"a PSD picture", "8BPS"},
	{"a PDF document", "%PDF-"},
	{"an EPS drawing", "%!PS"},
	{"an ICO picture", "\x00\x00\x01\x00"},
	{"an ICO picture", "\x00\x00\x02\x00"},
	{"an EXR picture", "\x76\x2f\x31\x01"},
	{"a DDS picture", "DDS "},
	{"a QOI picture", "qoif"},
	{"an XCF picture", "gimp xcf"},
	{"a BigTIFF picture", "II+\x00"},
	{"a BigTIFF picture", "MM\x00+"},
	{"a camera's raw picture", "II*\x00????CR"},   // CR2
	{"a camera's raw picture", "????ftypcrx "},    // CR3
	{"a camera's raw picture", "FUJIFILMCCD-RAW"}, // RAF
	{"a camera's raw picture", "IIRO"},            // ORF
	{"a camera's raw picture", "IIRS"},            // ORF
	{"a camera's raw picture", "MMOR"},            // ORF
	{"a camera's raw picture", "IIU\x00"},         // RW2
}

// unreadFormat names the format of a file that starts so if it is a picture that is not read.
func unreadFormat(start []byte) string {
	for _, f := range unreadFormats {
		if matches(start, f.start) {
			return f.name
		}
	}
	// SVG is text: perhaps a declaration and comments, then its root.
	text := bytes.TrimSpace(bytes.TrimPrefix(start, []byte("\ufeff")))
	if bytes.HasPrefix(text, []byte("<")) && bytes.Contains(text, []byte("<svg")) {
		return "an SVG drawing"
	}
	return ""
}
