package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"crnn/internal/osfile"
)

// maxHeader is the largest header that the format allows.
const maxHeader = 100_000_000

// ReadFile reads a file. It is as strict as the reference implementation, and also refuses
// duplicate names and unknown fields in the header. An error names the file and, if known, the
// offset of the fault.
func ReadFile(path string) (*File, error) {
	f, info, err := osfile.Open(path, "a safetensors file")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	file, err := Read(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return file, nil
}

// Read reads a file of the given size in bytes from r. It allocates no more than a small
// multiple of size, whatever the header says.
func Read(r io.Reader, size int64) (*File, error) {
	var prefix [8]byte
	if size < int64(len(prefix)) {
		return nil, fmt.Errorf("%d bytes, too short for a safetensors file", size)
	}
	if _, err := io.ReadFull(r, prefix[:]); err != nil {
		return nil, err
	}
	if string(prefix[:4]) == "PK\x03\x04" {
		return nil, errors.New("a zip archive, as torch.save writes it: expected a safetensors file, " +
			"which safetensors.torch.save_file(model.state_dict(), FILE) writes")
	}
	n := binary.LittleEndian.Uint64(prefix[:])
	rest := size - int64(len(prefix))
	// Protocols 2 to 5 of pickle begin so. A header of 640 bytes does too, but is not that long.
	if n > maxHeader && prefix[0] == 0x80 && prefix[1] >= 2 && prefix[1] <= 5 {
		return nil, errors.New("a pickle, as old versions of torch.save write it: expected a safetensors file, " +
			"which safetensors.torch.save_file(model.state_dict(), FILE) writes")
	}
	if n > maxHeader {
		return nil, fmt.Errorf("offset 0: no safetensors file (such as best.safetensors): "+
			"it does not begin with the length of a header, at most %d", maxHeader)
	}
	if n > uint64(rest) {
		return nil, fmt.Errorf("offset 0: the header should be %d bytes long, but %d bytes follow: cut, "+
			"or no safetensors file", n, rest)
	}
	header := make([]byte, n)
	if _, err := io.ReadFull(r, header); err != nil {
		return nil, err
	}
	length := rest - int64(n)
	file, ends, err := parseHeader(header)
	if err != nil {
		return nil, err
	}
	if end := ends[len(ends)-1]; end != length {
		return nil, fmt.Errorf("offset %d: %d bytes of data follow the header, but its tensors take %d: cut, "+
			"or bytes were added",
			size-length, length, end)
	}
	data := make([]byte, length)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, err
	}
	for i := range file.Tensors {
		file.Tensors[i].Data = data[ends[i]:ends[i+1]:ends[i+1]]
	}
	return file, nil
}

// parseHeader returns the arrays, without their data, in the order of the data. Array i takes the
// bytes from ends[i] to ends[i+1].
func parseHeader(header []byte) (file *File, ends []int64, err error) {
	if len(header) == 0 || header[0] != '{' {
		return nil, nil, errors.New("offset 8: the header does not begin with '{': no safetensors file")
	}
	if !utf8.Valid(header) {
		return nil, nil, errors.New("offset 8: the header is not UTF-8: no safetensors file")
	}
	p := parser{json.NewDecoder(bytes.NewReader(header))}
	p.UseNumber()
	type entry struct {
		Tensor
		start, end int64
	}
	var entries []entry
	file = &File{}
	err = p.object(func(name string) error {
		if name == metadataKey {
			file.Metadata = map[string]string{}
			return p.object(func(key string) (err error) {
				file.Metadata[key], err = p.str()
				return err
			})
		}
		e := entry{Tensor: Tensor{Name: name}}
		if err := p.tensor(&e.Tensor, &e.start, &e.end); err != nil {
			return fmt.Errorf("tensor %.100q: %w", name, err)
		}
		entries = append(entries, e)
		return nil
	})
	if err == nil {
		if _, end := p.Token(); end != io.EOF {
			err = errors.New("more follows the header's object")
		}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("offset %d: %w", 8+p.InputOffset(), err)
	}

	slices.SortStableFunc(entries, func(a, b entry) int {
		// An empty array may share its start with the next one.
		return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.end, b.end))
	})
	ends = []int64{0}
	for _, e := range entries {
		end := ends[len(ends)-1]
		if e.start != end {
			return nil, nil, fmt.Errorf("tensor %.100q: its data begins at %d, expected %d, where the tensor before it ends",
				e.Name, e.start, end)
		}
		file.Tensors = append(file.Tensors, e.Tensor)
		ends = append(ends, e.end)
	}
	return file, ends, nil
}

// parser reads the few forms of JSON that a header has. It refuses what encoding/json lets pass:
// keys given twice, keys in other case, numbers that are no integers.
type parser struct{ *json.Decoder }

// delim reads one of { } [ ].
func (p parser) delim(want json.Delim) error {
	t, err := p.Token()
	if err != nil {
		return jsonError(err)
	}
	if t != want {
		return fmt.Errorf("found %s, expected %v", show(t), want)
	}
	return nil
}

// show returns a token as an error names it, on one line and not too long.
func show(t json.Token) string {
	switch t := t.(type) {
	case nil:
		return "null"
	case string:
		return fmt.Sprintf("%.100q", t)
	case json.Number:
		return fmt.Sprintf("%.100s", t)
	}
	return fmt.Sprint(t)
}

func jsonError(err error) error {
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the header's JSON ends too early")
	}
	return fmt.Errorf("the header is no JSON: %w", err)
}

// object reads an object. It calls value for each key, which reads the key's value.
func (p parser) object(value func(key string) error) error {
	if err := p.delim('{'); err != nil {
		return err
	}
	seen := map[string]bool{}
	for p.More() {
		key, err := p.str()
		if err != nil {
			return err
		}
		if seen[key] {
			return fmt.Errorf("name %.100q appears twice", key)
		}
		seen[key] = true
		if err := value(key); err != nil {
			return err
		}
	}
	return p.delim('}')
}

func (p parser) str() (string, error) {
	t, err := p.Token()
	if err != nil {
		return "", jsonError(err)
	}
	s, ok := t.(string)
	if !ok {
		return "", fmt.Errorf("found %s, expected a string", show(t))
	}
	return s, nil
}

// integers reads an array of integers that are not negative and fit an int.
func (p parser) integers() ([]int, error) {
	if err := p.delim('['); err != nil {
		return nil, err
	}
	var list []int
	for p.More() {
		t, err := p.Token()
		if err != nil {
			return nil, jsonError(err)
		}
		number, ok := t.(json.Number)
		n, err := strconv.ParseUint(string(number), 10, 64)
		if !ok || err != nil || n > math.MaxInt {
			return nil, fmt.Errorf("found %s, expected an integer from 0 to %d", show(t), math.MaxInt)
		}
		list = append(list, int(n))
	}
	return list, p.delim(']')
}

// tensor reads the description of an array.
func (p parser) tensor(t *Tensor, start, end *int64) error {
	var hasType, hasShape, hasOffsets bool
	err := p.object(func(key string) error {
		switch key {
		case "dtype":
			s, err := p.str()
			t.DType, hasType = DType(s), true
			return err
		case "shape":
			shape, err := p.integers()
			t.Shape, hasShape = shape, true
			return err
		case "data_offsets":
			list, err := p.integers()
			if err != nil {
				return err
			}
			if len(list) != 2 || list[0] > list[1] {
				return fmt.Errorf("data_offsets %v, expected the start and the end of the data", list)
			}
			*start, *end, hasOffsets = int64(list[0]), int64(list[1]), true
			return nil
		}
		return fmt.Errorf("unknown field %.100q", key)
	})
	if err != nil {
		return err
	}
	if !hasType || !hasShape || !hasOffsets {
		return errors.New("expected dtype, shape and data_offsets")
	}
	n, err := dataLen(t.DType, t.Shape)
	if err != nil {
		return err
	}
	if n != *end-*start {
		return fmt.Errorf("dtype %s and shape %v take %d bytes, but data_offsets [%d %d] hold %d",
			t.DType, t.Shape, n, *start, *end, *end-*start)
	}
	return nil
}
