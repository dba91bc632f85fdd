package main

import (
	"fmt"
	"regexp"
	"strings"
)

// header is what kernels.h states.
type header struct {
	enums     []enum
	structs   []structure
	functions []function
}

type enum struct {
	comment []string
	values  []enumValue
}

type enumValue struct{ name, value, comment string }

type structure struct {
	comment []string
	name    string
	fields  []field
}

// field is a line of a struct: one or more names of a type.
type field struct {
	ctype, comment string
	names          []string // in C, as in count[3]
}

type function struct {
	comment    []string
	profile    string // Go expressions of name and FLOP; empty: it is not timed
	needs      string // the macro that it needs; empty: none
	result     string // C type; empty: void
	name       string
	parameters []parameter
}

type parameter struct {
	ctype   string // without const and *
	pointer bool
	name    string
}

var (
	structLine    = regexp.MustCompile(`^struct (\w+) \{$`)
	fieldLine     = regexp.MustCompile(`^\t(\w+) ([\w\[\], ]+);(?:\s+// (.*))?$`)
	enumValueLine = regexp.MustCompile(`^\t(\w+)(?: = (\d+))?,(?:\s+// (.*))?$`)
	functionText  = regexp.MustCompile(`^(void|int64_t) \(\*(\w+)\)\((.*)\);$`)
	parameterText = regexp.MustCompile(`^(?:const )?(?:struct )?(\w+) (\*?)(\w+)$`)
)

// parse reads the forms of C that kernels.h is written in; any other is an error with its line.
func parse(text string) (*header, error) {
	h := &header{}
	var comment []string
	var profile, needs string
	lines := strings.Split(text, "\n")
	in := "" // the enum, struct or table that the line lies in
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		trimmed := strings.TrimSpace(line)
		unknown := func() error { return fmt.Errorf("kernels.h:%d: not a form that is read here: %s", i+1, trimmed) }
		switch {
		case trimmed == "" || strings.HasPrefix(trimmed, "#"):
			comment, profile = nil, ""
		case strings.HasPrefix(trimmed, "//profile "):
			profile = strings.TrimPrefix(trimmed, "//profile ")
		case strings.HasPrefix(trimmed, "//needs "):
			needs = strings.TrimPrefix(trimmed, "//needs ")
			if needs == "nothing" {
				needs = ""
			}
		case strings.HasPrefix(trimmed, "//"):
			comment = append(comment, strings.TrimPrefix(trimmed, "//"))
		case in == "" && trimmed == "enum {":
			in = "enum"
			h.enums = append(h.enums, enum{comment: comment})
		case in == "" && trimmed == "struct kernels {":
			in = "kernels"
		case in == "" && structLine.MatchString(line):
			in = "struct"
			h.structs = append(h.structs, structure{comment: comment, name: structLine.FindStringSubmatch(line)[1]})
		case in == "" && strings.HasPrefix(line, "extern const struct kernels "):
		case in != "" && line == "};":
			in, comment = "", nil
		case in == "enum":
			match := enumValueLine.FindStringSubmatch(line)
			if match == nil {
				return nil, unknown()
			}
			e := &h.enums[len(h.enums)-1]
			e.values = append(e.values, enumValue{match[1], match[2], match[3]})
		case in == "struct":
			match := fieldLine.FindStringSubmatch(line)
			if match == nil {
				return nil, unknown()
			}
			s := &h.structs[len(h.structs)-1]
			s.fields = append(s.fields, field{match[1], match[3], strings.Split(match[2], ", ")})
		case in == "kernels" && trimmed == "const char *name;":
		case in == "kernels":
			whole := trimmed
			for !strings.HasSuffix(whole, ");") && i+1 < len(lines) {
				i++
				whole += " " + strings.TrimSpace(lines[i])
			}
			f, err := parseFunction(whole)
			if err != nil {
				return nil, fmt.Errorf("kernels.h:%d: %w", i+1, err)
			}
			if len(comment) == 0 {
				return nil, fmt.Errorf("kernels.h:%d: no formula above %s", i+1, f.name)
			}
			f.comment, f.profile, f.needs = comment, profile, needs
			h.functions = append(h.functions, f)
			comment, profile = nil, ""
		default:
			return nil, unknown()
		}
	}
	if len(h.functions) == 0 {
		return nil, fmt.Errorf("kernels.h: no function in struct kernels")
	}
	return h, nil
}

func parseFunction(text string) (function, error) {
	match := functionText.FindStringSubmatch(text)
	if match == nil {
		return function{}, fmt.Errorf("not a pointer to a function: %s", text)
	}
	f := function{name: match[2]}
	if match[1] != "void" {
		f.result = match[1]
	}
	for _, text := range strings.Split(match[3], ", ") {
		p := parameterText.FindStringSubmatch(text)
		if p == nil {
			return function{}, fmt.Errorf("%s: not a parameter: %s", f.name, text)
		}
		f.parameters = append(f.parameters, parameter{p[1], p[2] == "*", p[3]})
	}
	return f, nil
}
