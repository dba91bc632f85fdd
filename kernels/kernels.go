// Package kernels holds the CUDA kernels: their sources (*.cu), the PTX built from them by
// scripts/ptx, which is embedded, and a typed function for every kernel that describes its launch.
// It needs no GPU, driver or C compiler.
package kernels

import (
	"embed"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Addresses of arrays in device memory, by the type of their elements: float, double, int,
// unsigned, unsigned char, unsigned short or bfloat16, long long, unsigned long long. Ptr is the
// address of anything else, such as a struct. 0 is a null pointer.
type (
	F32 uint64
	F64 uint64
	I32 uint64
	U32 uint64
	U8  uint64
	U16 uint64
	I64 uint64
	U64 uint64
	Ptr uint64
)

// MaxArgs is the number of arguments that a Call has room for.
const MaxArgs = 24

// Call is a kernel with its arguments and the size of its blocks: all but the size of its grid.
// Calls compare with ==.
type Call struct {
	Source  string          // the kernel's file: "conv" for conv.cu and its PTX
	Name    string          // the kernel's name in the PTX
	Threads int             // of a block, from __launch_bounds__
	Cluster int             // blocks of a cluster, from __cluster_dims__; 0 without clusters
	Args    [MaxArgs]uint64 // Count arguments, then zeros; a value of 4 bytes is in the lower half
	Count   int
}

// Built is the PTX of a folder of sources, as scripts/ptx builds it.
type Built struct {
	files         embed.FS
	architectures map[string][]int // by source, ascending; 80 stands for compute capability 8.0
}

//go:embed ptx
var files embed.FS

var built = Embedded(files)

// Embedded returns the PTX in files, which are named ptx/SOURCE.sm_NN.ptx.
func Embedded(files embed.FS) Built {
	names, _ := fs.Glob(files, "ptx/*.ptx") // only a malformed pattern gives an error
	b := Built{files, map[string][]int{}}
	for _, name := range names {
		source, architecture, _ := strings.Cut(strings.TrimSuffix(path.Base(name), ".ptx"), ".sm_")
		number, err := strconv.Atoi(architecture)
		if err != nil {
			panic("kernels: " + name + " is not named ptx/SOURCE.sm_NN.ptx")
		}
		b.architectures[source] = append(b.architectures[source], number)
	}
	for source := range b.architectures {
		slices.Sort(b.architectures[source])
	}
	return b
}

// Sources returns the names of all sources, sorted.
func Sources() []string { return built.Sources() }

// Sources returns the names of all sources, sorted.
func (b Built) Sources() []string { return slices.Sorted(maps.Keys(b.architectures)) }

// Architectures returns what a source is built for, ascending: 75 stands for compute capability
// 7.5. It returns nil for an unknown source.
func Architectures(source string) []int { return built.Architectures(source) }

// Architectures returns what a source is built for, as the function of this name does.
func (b Built) Architectures(source string) []int { return slices.Clone(b.architectures[source]) }

// PTX returns the code of a source for a card of the given compute capability (75 for 7.5), and
// the architecture it is built for: the newest that the card can run. ok is false for an unknown
// source, and for a source that is built for newer cards only.
func PTX(source string, capability int) (text string, architecture int, ok bool) {
	return built.PTX(source, capability)
}

// PTX returns the code of a source, as the function of this name does.
func (b Built) PTX(source string, capability int) (text string, architecture int, ok bool) {
	for _, built := range b.architectures[source] {
		if built <= capability {
			architecture = built
		}
	}
	if architecture == 0 {
		return "", 0, false
	}
	code, err := b.files.ReadFile("ptx/" + source + ".sm_" + strconv.Itoa(architecture) + ".ptx")
	if err != nil {
		return "", 0, false
	}
	return string(code), architecture, true
}
