package kernels

import (
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sources returns the names of the .cu files here and the architectures of their first lines.
func sources(t *testing.T) map[string][]int {
	t.Helper()
	paths, err := filepath.Glob("*.cu")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no .cu files: %v", err)
	}
	found := map[string][]int{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		first, _, _ := strings.Cut(string(text), "\n")
		list, ok := strings.CutPrefix(first, "// architectures: ")
		if !ok {
			t.Fatalf("%s begins with %q", path, first)
		}
		name := strings.TrimSuffix(path, ".cu")
		for _, word := range strings.Fields(list) {
			architecture, err := strconv.Atoi(word)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			found[name] = append(found[name], architecture)
		}
	}
	return found
}

func TestEverySourceIsBuilt(t *testing.T) {
	want := sources(t)
	got := map[string][]int{}
	for _, source := range Sources() {
		got[source] = Architectures(source)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("first lines of the sources (-) and embedded PTX (+); scripts/ptx builds it:\n%s", diff)
	}
	if !slices.IsSorted(Sources()) {
		t.Errorf("Sources() = %v, which is not sorted", Sources())
	}
}

func TestPTXIsTheNewestThatTheCardRuns(t *testing.T) {
	target := regexp.MustCompile(`(?m)^\.target sm_(\d+)$`)
	for source, built := range sources(t) {
		for capability := 50; capability <= 130; capability++ {
			want := 0
			for _, architecture := range built {
				if architecture <= capability {
					want = architecture
				}
			}
			text, architecture, ok := PTX(source, capability)
			if ok != (want > 0) || architecture != want {
				t.Fatalf("PTX(%q, %d) is of %d, %v; want %d", source, capability, architecture, ok, want)
			}
			if !ok {
				continue
			}
			if match := target.FindStringSubmatch(text); match == nil || match[1] != strconv.Itoa(want) {
				t.Fatalf("PTX(%q, %d) has the target %q; want sm_%d", source, capability, match, want)
			}
			// Drivers from CUDA 12.0 on take this version; no driver takes one newer than its own.
			if !strings.Contains(text, "\n.version 8.0\n") {
				t.Fatalf("%s for sm_%d is not of PTX ISA 8.0", source, want)
			}
		}
	}
	if _, _, ok := PTX("no such source", 90); ok {
		t.Error("PTX returned the code of an unknown source")
	}
}

// sizes of the wrappers' parameters in bytes, by their Go types.
var sizes = map[string]int{
	"F32": 8, "F64": 8, "I32": 8, "U32": 8, "U8": 8, "U16": 8, "I64": 8, "U64": 8, "Ptr": 8,
	"int32": 4, "uint32": 4, "float32": 4, "int64": 8, "uint64": 8, "float64": 8,
}

// wrapper is a launch wrapper as its Go source shows it.
type wrapper struct {
	source, kernel string
	parameters     []int // sizes in bytes
}

// wrappers reads the functions that return a Call from the Go files beside the sources.
func wrappers(t *testing.T) []wrapper {
	t.Helper()
	var found []wrapper
	for source := range sources(t) {
		file, err := parser.ParseFile(token.NewFileSet(), source+"_gen.go", nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, declaration := range file.Decls {
			function, ok := declaration.(*ast.FuncDecl)
			if !ok {
				continue
			}
			w := wrapper{source: source, parameters: []int{}}
			for _, field := range function.Type.Params.List {
				size := sizes[field.Type.(*ast.Ident).Name]
				if size == 0 {
					t.Fatalf("%s_gen.go: %s has a parameter of type %v", source, function.Name, field.Type)
				}
				for range field.Names {
					w.parameters = append(w.parameters, size)
				}
			}
			call := function.Body.List[0].(*ast.ReturnStmt).Results[0].(*ast.CompositeLit)
			for _, element := range call.Elts {
				pair := element.(*ast.KeyValueExpr)
				switch value := pair.Value.(type) {
				case *ast.CompositeLit: // Args
					if len(value.Elts) != len(w.parameters) {
						t.Errorf("%s passes on %d of %d arguments", function.Name, len(value.Elts), len(w.parameters))
					}
				case *ast.BasicLit:
					switch pair.Key.(*ast.Ident).Name {
					case "Source":
						if value.Value != strconv.Quote(source) {
							t.Errorf("%s names the source %s, not %s", function.Name, value.Value, source)
						}
					case "Name":
						w.kernel, _ = strconv.Unquote(value.Value)
					case "Count":
						if value.Value != strconv.Itoa(len(w.parameters)) {
							t.Errorf("%s counts %s of %d arguments", function.Name, value.Value, len(w.parameters))
						}
					}
				}
			}
			found = append(found, w)
		}
	}
	return found
}

// Every PTX has the kernels of the wrappers, with parameters of the same sizes.
func TestWrappersAreThoseOfThePTX(t *testing.T) {
	entry := regexp.MustCompile(`(?m)^\.visible \.entry (\w+)\(([^)]*)\)`)
	parameter := regexp.MustCompile(`\.param \.[a-z](\d+) `)
	want := map[string]map[string][]int{}
	for _, w := range wrappers(t) {
		if want[w.source] == nil {
			want[w.source] = map[string][]int{}
		}
		want[w.source][w.kernel] = w.parameters
	}
	for _, source := range Sources() {
		for _, architecture := range Architectures(source) {
			text, _, _ := PTX(source, architecture)
			got := map[string][]int{}
			for _, match := range entry.FindAllStringSubmatch(text, -1) {
				got[match[1]] = []int{}
				for _, p := range parameter.FindAllStringSubmatch(match[2], -1) {
					bits, _ := strconv.Atoi(p[1])
					got[match[1]] = append(got[match[1]], bits/8)
				}
			}
			if diff := cmp.Diff(want[source], got); diff != "" {
				t.Errorf("%s: bytes of parameters in the wrappers (-) and in the PTX for sm_%d (+):\n%s",
					source, architecture, diff)
			}
		}
	}
}

// Arguments have the order of the kernel's parameters. One of 4 bytes is in the lower half: drivers
// read as many bytes as the parameter has.
func TestCallHoldsTheBitsOfItsArguments(t *testing.T) {
	call := Adam(1<<40, 2, 3, 4, 5, 0.1, -0.5, float32(math.Inf(1)), 1e-8, -1)
	want := Call{Source: "adam", Name: "adam", Threads: 256, Count: 10}
	copy(want.Args[:], []uint64{1 << 40, 2, 3, 4, 5, 0x3dcccccd, 0xbf000000, 0x7f800000, 0x322bcc77, 0xffffffff})
	if call != want {
		t.Errorf("got %+v\nwant %+v", call, want)
	}
	if call == Adam(1<<40, 2, 3, 4, 5, 0.1, -0.5, float32(math.Inf(1)), 1e-8, -2) {
		t.Error("calls with different arguments are equal")
	}
}
