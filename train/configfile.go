package train

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"crnn/internal/atomicfile"
)

// Build names the program version and the device of a run, for its configuration file.
type Build struct {
	Version    string `yaml:"version"`
	DeviceName string `yaml:"device_name"`
}

// maxConfigFile is many times the size of a configuration file, in bytes. The YAML parser
// takes time that grows with the square of the size: seconds for ten times as much.
const maxConfigFile = 1 << 13

// SaveConfig writes a configuration file that LoadConfig reads: every setting of c, and b. Out goes
// to a comment, so that a repeated run gets its own directory.
func SaveConfig(path string, c Config, b Build) error {
	out := c.Out
	c.Out = ""
	text := fmt.Sprintf("# The settings of the run in %q; `crnn train --config` on this file repeats it.\n", out) +
		settings(reflect.ValueOf(b)) + settings(reflect.ValueOf(c))
	return atomicfile.Write(path, 0o644, func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	})
}

// settings returns the fields of a struct as lines of YAML. Strings are written as in JSON: that is
// YAML too, without YAML's special meanings of plain words.
func settings(v reflect.Value) string {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	for i := range v.NumField() {
		text.WriteString(v.Type().Field(i).Tag.Get("yaml") + ": ")
		enc.Encode(v.Field(i).Interface()) // no string, boolean or finite number is an error
	}
	return text.String()
}

// LoadConfig reads a YAML file of settings under the names of the flags of crnn train, with `_` for
// `-`. Default gives the settings that the file lacks; set holds the keys that the file has.
// `version` and `device_name`, which SaveConfig writes, are allowed too. Values are checked for
// their type, not for their range (see Validate). An error names file, line and key.
func LoadConfig(path string) (c Config, set map[string]bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return c, nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxConfigFile+1))
	if err != nil {
		return c, nil, err
	}
	if len(text) > maxConfigFile {
		return c, nil, fmt.Errorf("%s: longer than %d bytes, no configuration file", path, maxConfigFile)
	}
	c, set, line, err := parseConfig(text)
	if err != nil {
		return c, nil, fmt.Errorf("%s:%d: %w", path, line, err)
	}
	return c, set, nil
}

// parseConfig also returns the line of its error.
func parseConfig(text []byte) (c Config, set map[string]bool, line int, err error) {
	c, set = Default(), map[string]bool{}
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		line, err = syntaxError(err)
		return c, nil, line, err
	}
	target := reflect.ValueOf(&c).Elem()
	for i, doc := range file.Docs {
		if doc.Body == nil {
			continue // nothing but comments
		}
		mapping, ok := doc.Body.(*ast.MappingNode)
		if !ok || i > 0 {
			return c, nil, lineOf(doc.Body), errors.New("expected one list of settings such as `epochs: 15`")
		}
		for _, entry := range mapping.Values {
			line := lineOf(entry)
			key := entry.Key.String()
			text, ok := scalar(entry.Value)
			if !ok {
				return c, nil, line, fmt.Errorf("%s: expected a single value", key)
			}
			if _, known := buildFields[key]; known {
				continue
			}
			field, known := configFields[key]
			if !known {
				return c, nil, line, unknownKey(key)
			}
			if expected := assign(target.Field(field), text); expected != "" {
				return c, nil, line, fmt.Errorf("%s: %.100q, expected %s", key, text, expected)
			}
			set[key] = true
		}
	}
	return c, set, 0, nil
}

// fieldsOf maps the YAML keys of a struct to the indices of its fields.
func fieldsOf(t reflect.Type) map[string]int {
	fields := map[string]int{}
	for i := range t.NumField() {
		fields[t.Field(i).Tag.Get("yaml")] = i
	}
	return fields
}

var (
	configFields = fieldsOf(reflect.TypeFor[Config]())
	buildFields  = fieldsOf(reflect.TypeFor[Build]())
)

func unknownKey(key string) error {
	if fixed := strings.ReplaceAll(key, "-", "_"); fixed != key {
		if _, known := configFields[fixed]; known {
			return fmt.Errorf("unknown key %.100q, did you mean %s?", key, fixed)
		}
	}
	return fmt.Errorf("unknown key %.100q: keys are the flags of crnn train with _ for -", key)
}

// scalar returns a value as it is written, without quotes. Anchors, aliases and tags are not
// accepted: a list of settings does not need them.
func scalar(n ast.Node) (text string, ok bool) {
	switch n := n.(type) {
	case *ast.NullNode:
		return "", true
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// assign sets a field from text. If text does not fit, assign returns a description of the expected
// value.
func assign(field reflect.Value, text string) (expected string) {
	if v, ok := field.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if err := v.UnmarshalText([]byte(text)); err != nil {
			return err.Error()
		}
		return ""
	}
	switch field.Kind() {
	case reflect.String:
		field.SetString(text)
	case reflect.Bool:
		if text != "true" && text != "false" {
			return "true or false"
		}
		field.SetBool(text == "true")
	case reflect.Int:
		n, err := strconv.ParseInt(text, 10, strconv.IntSize)
		if err != nil {
			return "a whole number"
		}
		field.SetInt(n)
	case reflect.Uint64:
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return "a whole number from 0 to 18446744073709551615"
		}
		field.SetUint(n)
	case reflect.Float64:
		x, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return "a number"
		}
		field.SetFloat(x)
	}
	return ""
}

func lineOf(n ast.Node) int {
	if token := n.GetToken(); token != nil && token.Position != nil {
		return token.Position.Line
	}
	return 1
}

// syntaxError returns the line of the parser's error, and the error without the excerpt of the file
// in its text.
func syntaxError(err error) (int, error) {
	var e yaml.Error
	if !errors.As(err, &e) {
		return 1, err
	}
	line := 1
	if token := e.GetToken(); token != nil && token.Position != nil {
		line = token.Position.Line
	}
	return line, errors.New(e.GetMessage())
}
