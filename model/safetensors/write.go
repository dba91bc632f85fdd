package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// metadataKey is the name in the header that holds File.Metadata.
const metadataKey = "__metadata__"

// Write writes f, byte for byte as the reference implementation does: arrays ordered by
// dtype, largest first, and then by name, and the header padded to a multiple of 8 bytes.
func Write(w io.Writer, f *File) error {
	tensors := slices.Clone(f.Tensors)
	slices.SortFunc(tensors, func(a, b Tensor) int {
		if a.DType != b.DType {
			return a.DType.rank() - b.DType.rank()
		}
		return strings.Compare(a.Name, b.Name)
	})

	var header bytes.Buffer
	enc := json.NewEncoder(&header)
	enc.SetEscapeHTML(false)
	// put appends `sep"key":value`. The line feed that Encode adds is cut off.
	put := func(sep byte, key string, value any) error {
		header.WriteByte(sep)
		if err := enc.Encode(key); err != nil {
			return err
		}
		header.Truncate(header.Len() - 1)
		header.WriteByte(':')
		if err := enc.Encode(value); err != nil {
			return err
		}
		header.Truncate(header.Len() - 1)
		return nil
	}
	sep := byte('{')
	if f.Metadata != nil {
		if err := put(sep, metadataKey, f.Metadata); err != nil {
			return err
		}
		sep = ','
	}
	seen := map[string]bool{metadataKey: true}
	end := int64(0)
	for _, t := range tensors {
		n, err := dataLen(t.DType, t.Shape)
		switch {
		case err != nil:
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		case n != int64(len(t.Data)):
			return fmt.Errorf("tensor %q has %d bytes, but dtype %s and shape %v take %d",
				t.Name, len(t.Data), t.DType, t.Shape, n)
		case seen[t.Name]:
			return fmt.Errorf("tensor name %q is taken", t.Name)
		}
		seen[t.Name] = true
		info := struct {
			DType   DType    `json:"dtype"`
			Shape   []int    `json:"shape"`
			Offsets [2]int64 `json:"data_offsets"`
		}{t.DType, append([]int{}, t.Shape...), [2]int64{end, end + n}}
		if err := put(sep, t.Name, info); err != nil {
			return err
		}
		sep = ','
		end += n
	}
	if sep == '{' {
		header.WriteByte('{')
	}
	header.WriteByte('}')
	for header.Len()%8 != 0 {
		header.WriteByte(' ')
	}
	if header.Len() > maxHeader {
		return fmt.Errorf("header of %d bytes, at most %d are allowed", header.Len(), maxHeader)
	}

	if _, err := w.Write(binary.LittleEndian.AppendUint64(nil, uint64(header.Len()))); err != nil {
		return err
	}
	if _, err := header.WriteTo(w); err != nil {
		return err
	}
	for _, t := range tensors {
		if _, err := w.Write(t.Data); err != nil {
			return err
		}
	}
	return nil
}
