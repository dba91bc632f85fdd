package fetch

import (
	"crnn/data/idx"
	"crnn/data/known"
	"crnn/tests/datatest"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"sync"
)

// testCatalog returns a data set of some 500 kB: its []known.File, and its compressed files by name.
func testCatalog() ([]known.File, map[string][]byte) {
	c, files := makeTestCatalog()
	return slices.Clone(c), maps.Clone(files)
}

var makeTestCatalog = sync.OnceValues(func() ([]known.File, map[string][]byte) {
	c := slices.Clone(known.FashionMNIST.Files)
	served := map[string][]byte{}
	counts := [2]int{600, 40}
	for i := range c {
		n := counts[i/2]
		raw := datatest.Images(datatest.Noise(n*datatest.ImageBytes, uint64(i)))
		if c[i].Kind == idx.Labels {
			labels := datatest.Noise(n, uint64(i))
			for j := range labels {
				labels[j] %= datatest.Classes
			}
			raw = datatest.Labels(labels...)
		}
		sum := sha256.Sum256(raw)
		c[i].Sum, c[i].Size = hex.EncodeToString(sum[:]), int64(len(raw))
		served[c[i].Name+".gz"] = datatest.Gzip(raw)
	}
	return c, served
})
