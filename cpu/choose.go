package cpu

import "slices"

// forTests are the additional kernels of a build with the tag emulateamx. They are used only by name.
var forTests []kernels

// Kernels lists the kernels that this build holds and this processor runs, the fastest in fp32
// first; the last is always "go".
func Kernels() []string {
	var names []string
	for _, k := range slices.Concat(forTests, available()) {
		names = append(names, k.name())
	}
	return names
}

// kernelsFor returns the kernels of the given name or, if it is empty, the fastest for fp32 or bf16. It
// returns nil for an unknown name.
func kernelsFor(name string, bf16 bool) kernels {
	list := available()
	if name != "" {
		list = slices.Concat(forTests, list)
	}
	for _, k := range list {
		if k.name() == name || name == "" && k.hasTiles() && bf16 {
			return k
		}
	}
	if name == "" {
		return list[0]
	}
	return nil
}

// DefaultKernels returns the name of the kernels that New takes if Options name none.
func DefaultKernels(bf16 bool) string { return kernelsFor("", bf16).name() }
