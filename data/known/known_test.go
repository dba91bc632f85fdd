package known

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// Every set has mirrors, and every file of it a checksum, its own or its archive's.
func TestKnownSetsCanBeFetched(t *testing.T) {
	sum := regexp.MustCompile(`^([0-9a-f]{64}|[0-9a-f]{32})$`)
	seen := map[string]string{}
	for _, k := range sets {
		if len(k.Mirrors) == 0 || k.Name != strings.ToLower(k.Name) || Find(k.Name) != k {
			t.Errorf("%s: mirrors %q", k.Name, k.Mirrors)
		}
		for _, m := range k.Mirrors {
			if !strings.HasPrefix(m, "http") || !strings.HasSuffix(m, "/") {
				t.Errorf("%s: mirror %s, want a folder's address", k.Name, m)
			}
		}
		for _, f := range k.Files {
			certain := f.Sum + f.Packed
			if certain == "" && k.Archive != nil && !k.Archive.IsZIP() {
				certain = fmt.Sprintf("%x", sha256.Sum256([]byte(k.Archive.Sum+f.Name)))
			}
			if !sum.MatchString(certain) || seen[certain] != "" {
				t.Errorf("%s: %s has checksum %q, which %s has", k.Name, f.Name, certain, seen[certain])
			}
			seen[certain] = k.Name + " " + f.Name
			if f.Size <= 16 || f.Count() < 10000 {
				t.Errorf("%s: %s has %d bytes, %d items", k.Name, f.Name, f.Size, f.Count())
			}
		}
	}
	for name, classes := range map[string]int{"kmnist": 10, "emnist-letters": 26, "emnist-balanced": 47,
		"emnist-byclass": 62, "cifar10": 10} {
		if k := Find(name); len(k.Classes) != classes || k.Names == "" {
			t.Errorf("%s: %d classes in %q, want %d", name, len(k.Classes), k.Names, classes)
		}
	}
	if room := FashionMNIST.Room(); room != 100e6 {
		t.Errorf("Fashion-MNIST needs %d bytes, want 100 MB", room)
	}
}
