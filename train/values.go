package train

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// The types in this file are settings whose text is more than a number. An error of UnmarshalText
// describes the expected text.

// ImageSize is the size that images are scaled to; the zero value is the data's own.
type ImageSize struct{ Height, Width int }

// MarshalText implements encoding.TextMarshaler: 64x48, or nothing.
func (s ImageSize) MarshalText() ([]byte, error) {
	if s == (ImageSize{}) {
		return nil, nil
	}
	return fmt.Appendf(nil, "%dx%d", s.Height, s.Width), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *ImageSize) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*s = ImageSize{}
		return nil
	}
	h, w, found := strings.Cut(strings.ToLower(string(text)), "x")
	height, err1 := strconv.Atoi(h)
	width, err2 := strconv.Atoi(w)
	if !found || err1 != nil || err2 != nil {
		return errors.New("height x width in pixels, such as 64x48")
	}
	*s = ImageSize{height, width}
	return nil
}

func (s ImageSize) String() string { b, _ := s.MarshalText(); return string(b) }

// Channels are the numbers of outputs of the two convolutions.
type Channels [2]int

// MarshalText implements encoding.TextMarshaler: 32,64.
func (c Channels) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%d,%d", c[0], c[1]), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *Channels) UnmarshalText(text []byte) error {
	parts := strings.Split(string(text), ",")
	for i := range c {
		n, err := 0, error(nil)
		if len(parts) == len(c) {
			n, err = strconv.Atoi(strings.TrimSpace(parts[i]))
		}
		if len(parts) != len(c) || err != nil {
			return errors.New("the channels of both convolutions, such as 32,64")
		}
		c[i] = n
	}
	return nil
}

func (c Channels) String() string { b, _ := c.MarshalText(); return string(b) }

// InputSize is the number of features per time step; 0 is auto: model.Config.AutoInputSize.
type InputSize int

// MarshalJSON implements json.Marshaler: a number, or "auto".
func (s InputSize) MarshalJSON() ([]byte, error) {
	if s == 0 {
		return []byte(`"auto"`), nil
	}
	return strconv.AppendInt(nil, int64(s), 10), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *InputSize) UnmarshalJSON(text []byte) error {
	return s.UnmarshalText([]byte(strings.Trim(string(text), `"`)))
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *InputSize) UnmarshalText(text []byte) error {
	if string(text) == "auto" {
		*s = 0
		return nil
	}
	n, err := strconv.Atoi(string(text))
	if err != nil || n < 1 {
		return errors.New("auto or a whole number above 0")
	}
	*s = InputSize(n)
	return nil
}

func (s InputSize) String() string {
	if s == 0 {
		return "auto"
	}
	return strconv.Itoa(int(s))
}
