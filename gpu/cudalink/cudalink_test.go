//go:build cuda

package cudalink_test

import (
	"sync"
	"testing"

	"crnn/gpu/cudalink"

	"gorgonia.org/cu"
)

// Status loads the library, not earlier and only once, on a machine with or without a driver.
func TestStatus(t *testing.T) {
	if n, err := cu.NumDevices(); err == nil || err.Error() != "NotInitialized" {
		t.Errorf("before Status: %d devices, error %v", n, err)
	}
	first := cudalink.Status()
	if (first.Path == "") != (first.Error != "") || first.Error != "" && first.Init != 0 {
		t.Errorf("%+v", first)
	}
	var wait sync.WaitGroup
	for range 8 {
		wait.Add(1)
		go func() {
			defer wait.Done()
			if again := cudalink.Status(); again != first {
				t.Errorf("%+v, then %+v", first, again)
			}
		}()
	}
	wait.Wait()
	if version := cu.Version(); (version > 0) != (first.Path != "") {
		t.Errorf("version %d of %+v", version, first)
	}
	if name := cudalink.Lacking(); name != "" {
		t.Errorf("%s is said to be lacking", name)
	}
}
