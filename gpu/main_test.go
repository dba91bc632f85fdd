//go:build cuda

package gpu

import (
	"fmt"
	"os"
	"testing"

	"gorgonia.org/cu"
)

// The tests of a process share the GPU's primary context, which takes a card some 0.3 s to make.
// TestMain holds it, so that Open only adds a user.
func TestMain(m *testing.M) {
	var device cu.Device
	held := false
	if _, err := Probe(0); err == nil {
		if device, err = cu.GetDevice(0); err == nil {
			_, err = device.RetainPrimaryCtx()
		}
		held = err == nil // otherwise the tests that open the GPU report the error
	}
	code := m.Run()
	if held {
		device.ReleasePrimaryCtx()
	}
	os.Exit(code)
}

// contextRuined is the exit code of a process whose GPU context a test has ruined.
const contextRuined = 3

// endIfRuined ends the process after an error that ruins the context, since it would fail every later
// test.
func endIfRuined(t testing.TB, err error) {
	if ruined(err) {
		fmt.Fprintf(os.Stderr, "%s ruined the GPU's context, so the tests end here: %v\n", t.Name(), err)
		os.Exit(contextRuined)
	}
}
