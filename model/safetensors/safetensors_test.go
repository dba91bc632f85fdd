package safetensors

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// encode puts the pieces of a file together.
func encode(header string, data string) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), data...)
}

func decode(b []byte) (*File, error) { return Read(bytes.NewReader(b), int64(len(b))) }

// golden is what Python's safetensors.numpy.save writes for
//
//	{"b": float32 [[1, -2]], "a": float32 [0.5], "n": int64 7, "z": bool [True], "e": float16 [0 x 3]}
//
// with the metadata {"k": "<é\n"}. The arrays come ordered by dtype and then by name.
var golden = encode(`{"__metadata__":{"k":"<é\n"},`+
	`"n":{"dtype":"I64","shape":[],"data_offsets":[0,8]},`+
	`"a":{"dtype":"F32","shape":[1],"data_offsets":[8,12]},`+
	`"b":{"dtype":"F32","shape":[1,2],"data_offsets":[12,20]},`+
	`"e":{"dtype":"F16","shape":[0,3],"data_offsets":[20,20]},`+
	`"z":{"dtype":"BOOL","shape":[1],"data_offsets":[20,21]}}      `,
	"\x07\x00\x00\x00\x00\x00\x00\x00"+"\x00\x00\x00\x3f"+"\x00\x00\x80\x3f\x00\x00\x00\xc0"+"\x01")

func goldenFile() *File {
	return &File{
		Metadata: map[string]string{"k": "<é\n"},
		Tensors: []Tensor{
			NewI64("n", nil, []int64{7}),
			NewF32("a", []int{1}, []float32{0.5}),
			NewF32("b", []int{1, 2}, []float32{1, -2}),
			{"e", F16, []int{0, 3}, []byte{}},
			{"z", BOOL, []int{1}, []byte{1}},
		},
	}
}

func TestReadWhatPythonWrites(t *testing.T) {
	got, err := decode(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(goldenFile(), got); diff != "" {
		t.Error(diff)
	}
}

func TestWriteWhatPythonWrites(t *testing.T) {
	f := goldenFile()
	// the input's order does not matter
	f.Tensors[0], f.Tensors[2], f.Tensors[4] = f.Tensors[4], f.Tensors[0], f.Tensors[2]
	var b bytes.Buffer
	if err := Write(&b, f); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(golden), b.String()); diff != "" {
		t.Error(diff)
	}
}

// The order in which safetensors 0.8.0 for Python writes arrays of these types.
func TestOrderOfTypes(t *testing.T) {
	want := strings.Fields("U64 I64 F64 C64 F32 U32 I32 BF16 F16 U16 I16 " +
		"F8_E5M2FNUZ F8_E4M3FNUZ F8_E8M0 F8_E4M3 F8_E5M2 I8 U8 BOOL")
	f := &File{}
	for _, name := range slices.Sorted(slices.Values(want)) {
		f.Tensors = append(f.Tensors, Tensor{Name: name, DType: DType(name), Shape: []int{0}})
	}
	var b bytes.Buffer
	if err := Write(&b, f); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range regexp.MustCompile(`"dtype":"(\w+)"`).FindAllStringSubmatch(b.String(), -1) {
		got = append(got, m[1])
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := &File{}
		if rapid.Bool().Draw(t, "with metadata") {
			f.Metadata = rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "metadata")
		}
		names := rapid.SliceOfNDistinct(rapid.String().Filter(func(s string) bool { return s != metadataKey }),
			0, 6, rapid.ID[string]).Draw(t, "names")
		for _, name := range names {
			dt := rapid.SampledFrom(dtypes).Draw(t, "dtype")
			shape := rapid.SliceOfN(rapid.IntRange(0, 4), 0, 3).Draw(t, "shape")
			n := dt.size
			for _, d := range shape {
				n *= d
			}
			if len(shape) == 0 {
				shape = nil
			}
			f.Tensors = append(f.Tensors, Tensor{name, dt.DType, shape, rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, "data")})
		}
		var b bytes.Buffer
		if err := Write(&b, f); err != nil {
			t.Fatal(err)
		}
		if n := binary.LittleEndian.Uint64(b.Bytes()); n%8 != 0 {
			t.Fatalf("header of %d bytes, no multiple of 8", n)
		}
		got, err := decode(b.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Tensors) != len(f.Tensors) {
			t.Fatalf("%d tensors came back of %d", len(got.Tensors), len(f.Tensors))
		}
		for _, want := range f.Tensors {
			if diff := cmp.Diff(&want, got.Get(want.Name)); diff != "" {
				t.Fatal(diff)
			}
		}
		if diff := cmp.Diff(f.Metadata, got.Metadata); diff != "" {
			t.Fatal(diff)
		}
		// A file cut anywhere, or longer than it should be, is never taken.
		cut := rapid.IntRange(0, b.Len()-1).Draw(t, "cut")
		if _, err := decode(b.Bytes()[:cut]); err == nil {
			t.Fatalf("no error for the first %d of %d bytes", cut, b.Len())
		}
		if _, err := decode(append(b.Bytes(), 0)); err == nil {
			t.Fatal("no error for a byte too many")
		}
	})
}

func TestValues(t *testing.T) {
	floats := []float32{0, float32(math.Copysign(0, -1)), 1.5, math.MaxFloat32, math.SmallestNonzeroFloat32,
		float32(math.Inf(-1))}
	f := NewF32("f", []int{len(floats)}, floats)
	got, err := f.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	for i := range floats {
		if math.Float32bits(got[i]) != math.Float32bits(floats[i]) {
			t.Errorf("element %d: %v, want %v", i, got[i], floats[i])
		}
	}
	ints := []int64{0, -1, math.MaxInt64, math.MinInt64}
	i := NewI64("i", []int{len(ints)}, ints)
	gotInts, err := i.Int64s()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(ints, gotInts); diff != "" {
		t.Error(diff)
	}
	doubles := []float64{0.1, -math.MaxFloat64}
	d := Tensor{"d", F64, []int{2},
		[]byte{0x9a, 0x99, 0x99, 0x99, 0x99, 0x99, 0xb9, 0x3f, 255, 255, 255, 255, 255, 255, 0xef, 255}}
	gotDoubles, err := d.Float64s()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(doubles, gotDoubles); diff != "" {
		t.Error(diff)
	}
	rounded, err := (&Tensor{"d", F64, []int{1}, d.Data[:8]}).Float32s()
	if err != nil || rounded[0] != 0.1 {
		t.Errorf("0.1 in F64 is read as %v (%v)", rounded, err)
	}
	if _, err := d.Float32s(); err == nil || !strings.Contains(err.Error(), `"d": element 1 is -1.797`) {
		t.Errorf("-MaxFloat64 as float32: error %v", err)
	}
	if _, err := f.Float64s(); err == nil {
		t.Error("F32 was read as F64")
	}
	if _, err := f.Int64s(); err == nil {
		t.Error("F32 was read as I64")
	}
	if _, err := i.Float32s(); err == nil {
		t.Error("I64 was read as F32")
	}
}

// Every value of 16 bits, by the formula of its format.
func TestHalfPrecision(t *testing.T) {
	for _, format := range []struct {
		DType
		exponentBits int
	}{{F16, 5}, {BF16, 8}} {
		all := Tensor{DType: format.DType}
		for bits := range 1 << 16 {
			all.Data = binary.LittleEndian.AppendUint16(all.Data, uint16(bits))
		}
		got, err := all.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		mantissaBits := 15 - format.exponentBits
		bias, top := 1<<(format.exponentBits-1)-1, 1<<format.exponentBits-1
		for bits, v := range got {
			sign := math.Copysign(1, float64(bits&(1<<15))*-2+1)
			exponent, mantissa := bits>>mantissaBits&top, bits&(1<<mantissaBits-1)
			fraction := float64(mantissa) / float64(int(1)<<mantissaBits)
			var want float64
			switch {
			case exponent == top && mantissa != 0:
				want = math.NaN()
			case exponent == top:
				want = sign * math.Inf(1)
			case exponent == 0:
				want = sign * fraction * math.Pow(2, float64(1-bias))
			default:
				want = sign * (1 + fraction) * math.Pow(2, float64(exponent-bias))
			}
			same := float64(v) == want && math.Signbit(float64(v)) == math.Signbit(want)
			if !same && !(math.IsNaN(want) && v != v) {
				t.Errorf("%s %#04x is %v, want %v", format.DType, bits, v, want)
			}
		}
	}
}

func TestWholeNumbers(t *testing.T) {
	for _, c := range []struct {
		DType
		data string
		want []int64
	}{
		{I32, "\x01\x02\x03\x04\xff\xff\xff\xff", []int64{0x04030201, -1}},
		{U32, "\x01\x02\x03\x04\xff\xff\xff\xff", []int64{0x04030201, math.MaxUint32}},
		{I16, "\x01\x02\xfe\xff", []int64{0x0201, -2}},
		{U16, "\x01\x02\xfe\xff", []int64{0x0201, 0xfffe}},
		{I8, "\x7f\x80", []int64{127, -128}},
		{U8, "\x7f\x80", []int64{127, 128}},
		{U64, "\x01\x02\x03\x04\x05\x06\x07\x08", []int64{0x0807060504030201}},
		{U64, "\x00\x00\x00\x00\x00\x00\x00\x80", nil},
		{BOOL, "\x01", nil},
		{F8E4M3, "\x01", nil},
	} {
		got, err := (&Tensor{DType: c.DType, Data: []byte(c.data)}).Int64s()
		if (err != nil) != (c.want == nil) {
			t.Errorf("%s %q: error %v", c.DType, c.data, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s %q: %s", c.DType, c.data, diff)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	const good = `"dtype":"F32","shape":[1],"data_offsets":[0,4]`
	for _, c := range []struct{ name, header, data, want string }{
		{"no object", `[]`, "", "does not begin with '{'"},
		{"leading space", ` {}`, "", "does not begin with '{'"},
		{"empty header", ``, "", "does not begin with '{'"},
		{"not UTF-8", "{\"a\xff\":{}}", "", "not UTF-8"},
		{"cut JSON", `{"a":{"dtype":"F32"`, "", "ends too early"},
		{"bad JSON", `{"a":{"dtype" "F32"}}`, "", "no JSON"},
		{"more after the object", `{}{}`, "", "more follows"},
		{"tensor is no object", `{"a":3}`, "", "found 3, expected {"},
		{"tensor is null", `{"a":null}`, "", "found null, expected {"},
		{"no dtype", `{"a":{"shape":[1],"data_offsets":[0,4]}}`, "1234", "expected dtype, shape and data_offsets"},
		{"no shape", `{"a":{"dtype":"F32","data_offsets":[0,4]}}`, "1234", "expected dtype, shape and data_offsets"},
		{"no offsets", `{"a":{"dtype":"F32","shape":[1]}}`, "1234", "expected dtype, shape and data_offsets"},
		{"unknown field", `{"a":{` + good + `,"Shape":[2]}}`, "1234", `unknown field "Shape"`},
		{"field twice", `{"a":{` + good + `,"shape":[1]}}`, "1234", `"shape" appears twice`},
		{"name twice", `{"a":{` + good + `},"\u0061":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, "12345678",
			`"a" appears twice`},
		{"metadata twice", `{"__metadata__":{},"__metadata__":{}}`, "", "appears twice"},
		{"metadata of numbers", `{"__metadata__":{"a":1}}`, "", "found 1, expected a string"},
		{"metadata key twice", `{"__metadata__":{"a":"","a":""}}`, "", "appears twice"},
		{"unknown dtype", `{"a":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}}`, "1234", `unknown dtype "F31"`},
		{"a line feed in the message", `{"a":{"dtype":"x\ny","shape":[1],"data_offsets":[0,4]}}`, "1234", `"x\ny"`},
		{"negative shape", `{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}`, "1234",
			"found -1, expected an integer"},
		{"fraction", `{"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}`, "1234", "found 1.0, expected an integer"},
		{"exponent", `{"a":{"dtype":"F32","shape":[1e0],"data_offsets":[0,4]}}`, "1234", "found 1e0, expected an integer"},
		{"string", `{"a":{"dtype":"F32","shape":["1"],"data_offsets":[0,4]}}`, "1234", `found "1", expected an integer`},
		{"dimension beyond 64 bits", `{"a":{"dtype":"F32","shape":[18446744073709551617],"data_offsets":[0,4]}}`, "1234",
			"expected an integer"},
		{"product overflows", `{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, "",
			"larger than any file"},
		{"bytes overflow", `{"a":{"dtype":"F32","shape":[4611686018427387905],"data_offsets":[0,4]}}`, "1234",
			"larger than any file"},
		{"three offsets", `{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}}`, "1234",
			"expected the start and the end"},
		{"backward offsets", `{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}`, "1234",
			"expected the start and the end"},
		{"length is not shape times dtype", `{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`, "1234",
			"take 8 bytes, but data_offsets [0 4] hold 4"},
		{"hole before", `{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, "12345678",
			`tensor "a": its data begins at 4, expected 0`},
		{"hole between", `{"a":{` + good + `},"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}`, "123456789012",
			`tensor "b": its data begins at 8, expected 4`},
		{"overlap", `{"a":{` + good + `},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}`, "123456",
			`tensor "b": its data begins at 2, expected 4`},
		{"shared data", `{"a":{` + good + `},"b":{` + good + `}}`, "1234", "its data begins at 0, expected 4"},
		{"data too short", `{"a":{` + good + `}}`, "123", "3 bytes of data follow the header, but its tensors take 4"},
		{"data too long", `{"a":{` + good + `}}`, "12345", "5 bytes of data follow the header, but its tensors take 4"},
		{"data without tensors", `{}`, "1", "1 bytes of data follow the header, but its tensors take 0"},
		{"huge tensor", `{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}`, "1234",
			"4 bytes of data follow"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := decode(encode(c.header, c.data))
			if err == nil {
				t.Fatalf("no error, read %v", f)
			}
			if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %q, want one line with %q", err, c.want)
			}
		})
	}
}

// What people give in place of a safetensors file.
func TestReadNamesOtherFiles(t *testing.T) {
	for text, want := range map[string]string{
		"PK\x03\x04 and the rest of what torch.save writes": "a zip archive, as torch.save writes it: expected",
		"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.":        "a pickle, as old versions of torch.save write it: expected",
		"root:x:0:0:root:/root:/bin/bash":                   "no safetensors file",
	} {
		if _, err := decode([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q in it", text, err, want)
		}
	}
}

func TestReadTakesWhatTheFormatAllows(t *testing.T) {
	for name, b := range map[string][]byte{
		"no tensors":     encode(`{}`, ""),
		"trailing space": encode(`{}      `, ""),
		"any order of data": encode(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},`+
			`"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, "ba"),
		"empty tensors between": encode(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},`+
			`"e":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},`+
			`"f":{"dtype":"F32","shape":[3,0],"data_offsets":[1,1]}}`, "a"),
	} {
		if _, err := decode(b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A forged length must not make the reader ask for memory that the file does not fill.
func TestForgedLengthsAllocateLittle(t *testing.T) {
	long := binary.LittleEndian.AppendUint64(nil, maxHeader)
	for name, b := range map[string][]byte{
		"header": append(long, '{'),
		"beyond": append(binary.LittleEndian.AppendUint64(nil, math.MaxUint64), '{'),
		"tensor": encode(`{"a":{"dtype":"F32","shape":[1000000000],"data_offsets":[0,4000000000]}}`, "1234"),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := decode(b); err == nil {
			t.Errorf("%s: no error", name)
		}
		runtime.ReadMemStats(&after)
		// A file of 100 bytes needs some kilobytes for its decoder; the forged lengths are 95 MiB
		// and more.
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			t.Errorf("%s: %d bytes allocated for a file of %d", name, n, len(b))
		}
	}
}

func TestReadFileNamesTheFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "w.safetensors")
	if err := os.WriteFile(path, golden[:100], 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, dir, filepath.Join(dir, "absent")} {
		if _, err := ReadFile(p); err == nil || !strings.Contains(err.Error(), p) {
			t.Errorf("error %v, want one that names %s", err, p)
		}
	}
	if err := os.WriteFile(path, golden, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFile(path); err != nil {
		t.Error(err)
	}
}

func TestWriteRefuses(t *testing.T) {
	for name, f := range map[string]*File{
		"name twice":     {Tensors: []Tensor{NewF32("a", nil, []float32{1}), NewF32("a", nil, []float32{1})}},
		"reserved name":  {Tensors: []Tensor{NewF32(metadataKey, nil, []float32{1})}},
		"unknown dtype":  {Tensors: []Tensor{{"a", "F31", nil, []byte{1}}}},
		"wrong length":   {Tensors: []Tensor{NewF32("a", []int{2}, []float32{1})}},
		"negative shape": {Tensors: []Tensor{NewF32("a", []int{-1, -1}, []float32{1})}},
	} {
		var b bytes.Buffer
		if err := Write(&b, f); err == nil || b.Len() != 0 {
			t.Errorf("%s: error %v after %d bytes, want an error before the first", name, err, b.Len())
		}
	}
}

// A file that was read can be written, and reads back the same.
func FuzzRead(f *testing.F) {
	f.Add(golden)
	f.Add(golden[:len(golden)-1])
	f.Add(encode(`{}`, ""))
	f.Add(encode(`{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, ""))
	f.Add(encode(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},`+
		`"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, "ba"))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := decode(b)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("error of several lines: %q", err)
			}
			return
		}
		var out bytes.Buffer
		if err := Write(&out, file); err != nil {
			t.Fatal(err)
		}
		again, err := decode(out.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		for i := range file.Tensors {
			if diff := cmp.Diff(&file.Tensors[i], again.Get(file.Tensors[i].Name)); diff != "" {
				t.Fatal(diff)
			}
		}
		if diff := cmp.Diff(file.Metadata, again.Metadata); diff != "" {
			t.Fatal(diff)
		}
	})
}
