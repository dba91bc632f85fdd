package data

import "testing"

// fashionDir returns the directory of the real data set.
func fashionDir(t testing.TB) string {
	t.Helper()
	dir, err := Locate("")
	if err != nil {
		t.Fatalf("the tests need Fashion-MNIST, run make data: %v", err)
	}
	return dir
}
