package collector_test

import (
	"os"
	"runtime"
	"testing"
)

// TestMain lets every test work with two lanes, also on a machine whose processors are too few for them.
func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(max(4, runtime.GOMAXPROCS(0)))
	os.Exit(m.Run())
}
