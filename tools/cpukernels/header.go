package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"regexp"
	"slices"
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

// field is a line of a struct: one or more names of a type, or one array.
type field struct {
	ctype, comment string
	names          []string
	array          string // "[3]", or empty
}

type function struct {
	comment    []string
	profile    string // Go expressions of name and FLOP, "a, b"; empty: it is not timed
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
	fieldLine     = regexp.MustCompile(`^\t(\w+) (\w+(?:, \w+)*)(\[\d+\])?;(?:\s+// (.*))?$`)
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
		case in == "" && strings.HasPrefix(trimmed, "#"):
			comment = nil
		case trimmed == "" && profile == "":
			comment = nil
		case strings.HasPrefix(trimmed, "//profile "):
			var err error
			if profile, err = profileOf(strings.TrimPrefix(trimmed, "//profile ")); err != nil {
				return nil, fmt.Errorf("kernels.h:%d: %w", i+1, err)
			}
		case strings.HasPrefix(trimmed, "//needs "):
			needs = strings.TrimPrefix(trimmed, "//needs ")
			if needs == "nothing" {
				needs = ""
			} else if macros[needs] == "" {
				return nil, unknown()
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
			if match == nil || goTypes[match[1]] == "" || match[3] != "" && strings.Contains(match[2], ",") {
				return nil, unknown()
			}
			s := &h.structs[len(h.structs)-1]
			s.fields = append(s.fields, field{match[1], match[4], strings.Split(match[2], ", "), match[3]})
		case in == "kernels" && trimmed == "const char *name;":
		case in == "kernels":
			whole := trimmed
			for !strings.HasSuffix(whole, ");") && i+1 < len(lines) {
				i++
				whole += " " + strings.TrimSpace(lines[i])
			}
			f, err := h.parseFunction(whole)
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

// macros are the macros that functions may need, and the method of Go's kernels that says so.
var macros = map[string]string{"BF16_TARGET": "hasBF16", "TILE_DOT": "hasTiles"}

// profileOf returns the Go expressions NAME, FLOP of a //profile, whose FLOP may be missing.
func profileOf(text string) (string, error) {
	call, err := parser.ParseExpr("f(" + text + ")")
	if err != nil {
		return "", fmt.Errorf("//profile %s: not expressions of Go: %w", text, err)
	}
	switch len(call.(*ast.CallExpr).Args) {
	case 1:
		return text + ", 0", nil
	case 2:
		return text, nil
	}
	return "", fmt.Errorf("//profile %s: not NAME[, FLOP]", text)
}

// known says whether a type is one of C's in goTypes or, behind a pointer, a struct above.
func (h *header) known(ctype string, pointer bool) bool {
	if goTypes[ctype] != "" {
		return true
	}
	return pointer && slices.ContainsFunc(h.structs, func(s structure) bool { return s.name == ctype })
}

func (h *header) parseFunction(text string) (function, error) {
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
		if p == nil || !h.known(p[1], p[2] == "*") {
			return function{}, fmt.Errorf("%s: not a parameter: %s", f.name, text)
		}
		f.parameters = append(f.parameters, parameter{p[1], p[2] == "*", p[3]})
	}
	return f, nil
}
