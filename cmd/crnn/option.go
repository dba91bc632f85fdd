package main

import (
	"encoding"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"
)

// option is a flag and an environment variable: --batch-size is CRNN_BATCH_SIZE too. Its value is
// kept as text until set writes it to the target. So a config file can set the target before.
type option struct {
	name     string
	category string // heading in the help text
	value    string // placeholder for the value in the help text, such as N
	usage    string
	target   any    // *int, *uint64, *float64, *string, *bool or encoding.TextUnmarshaler; holds the default
	noEnv    bool   // flag only, for example if it names a file of this call
	initial  string // shown as the default instead of the target's value

	given *string // on the command line
}

// env returns the name of the environment variable, empty if there is none.
func (o *option) env() string {
	if o.noEnv {
		return ""
	}
	return "CRNN_" + strings.ToUpper(strings.ReplaceAll(o.name, "-", "_"))
}

// lookup returns the text from the flag, or else from the environment.
func (o *option) lookup() (text, source string, ok bool) {
	if o.given != nil {
		return *o.given, "--" + o.name, true
	}
	if name := o.env(); name != "" {
		if text := os.Getenv(name); text != "" {
			return text, "environment variable " + name, true
		}
	}
	return "", "", false
}

// isSet reports whether the flag or the environment gives a value.
func (o *option) isSet() bool {
	_, _, ok := o.lookup()
	return ok
}

// set writes the value from the flag or the environment, if any, to the target.
func (o *option) set() error {
	text, source, ok := o.lookup()
	if !ok {
		return nil
	}
	if expected := parse(text, o.target); expected != "" {
		return usagef("%s %q: expected %s", source, text, expected)
	}
	return nil
}

// parse reads text into *target. If text does not fit, parse returns a description of the expected
// value.
func parse(text string, target any) (expected string) {
	var err error
	switch target := target.(type) {
	case encoding.TextUnmarshaler:
		if err := target.UnmarshalText([]byte(text)); err != nil {
			return err.Error()
		}
		expected = "a value"
	case *int:
		expected = "a whole number"
		*target, err = strconv.Atoi(text)
	case *uint64:
		expected = "a whole number from 0 to 2^64-1"
		*target, err = strconv.ParseUint(text, 10, 64)
	case *float64:
		expected = "a number"
		*target, err = strconv.ParseFloat(text, 64)
	case *bool:
		expected = "true or false"
		*target, err = strconv.ParseBool(text)
	case *string:
		expected = "a value"
		*target = text
	default:
		panic(fmt.Sprintf("option of type %T", target))
	}
	if err == nil && text != "" {
		return ""
	}
	return expected
}

// setOptions sets every option of a command.
func setOptions(options []*option) error {
	for _, o := range options {
		if err := o.set(); err != nil {
			return err
		}
	}
	return nil
}

// The methods of cli.Flag.

func (o *option) Names() []string { return []string{o.name} }
func (o *option) IsSet() bool     { return o.given != nil }
func (o *option) String() string  { return o.helpLine() }

func (o *option) Apply(set *flag.FlagSet) error {
	set.Var(optionValue{o}, o.name, o.usage)
	return nil
}

// defaultText returns the default as the help text shows it, empty for none.
func (o *option) defaultText() string {
	if o.initial != "" {
		return o.initial
	}
	if o.isBool() {
		return ""
	}
	return fmt.Sprint(reflect.ValueOf(o.target).Elem())
}

func (o *option) isBool() bool {
	_, ok := o.target.(*bool)
	return ok
}

// optionValue keeps the value from the command line.
type optionValue struct{ o *option }

func (v optionValue) Set(text string) error { v.o.given = &text; return nil }
func (v optionValue) IsBoolFlag() bool      { return v.o != nil && v.o.isBool() }
func (v optionValue) String() string {
	if v.o == nil || v.o.given == nil {
		return ""
	}
	return *v.o.given
}
