package fetch

import (
	"bytes"
	"context"
	"crnn/data/known"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// debianPackage holds the data set; it is in Debian and in Ubuntu.
const debianPackage = "dataset-fashion-mnist"

// unpackPrefix begins the names of the folders for unpacking packages.
const unpackPrefix = ".package-"

// fromDebian takes files out of Debian's package. Nothing gets installed, and root is not
// needed: the package is downloaded and unpacked in a temporary folder.
func (f *fetcher) fromDebian(ctx context.Context, files []known.File) error {
	for _, tool := range []string{"apt-get", "dpkg-deb"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is not installed", tool)
		}
	}
	tmp, err := f.tempFolder()
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)

	if err := f.downloadPackage(ctx, tmp); err != nil {
		return err
	}
	packages, err := fs.Glob(os.DirFS(tmp), debianPackage+"_*.deb")
	if err != nil || len(packages) != 1 {
		return errors.New("apt-get download succeeds, but leaves no package")
	}
	if err := run(ctx, tmp, nil, "dpkg-deb", "-x", packages[0], "unpacked"); err != nil {
		return err
	}
	return f.installAll(filepath.Join(tmp, "unpacked", known.DebianDir), files)
}

// tempFolder makes a folder for unpacking packages. It is in f.dir, which has room for the data; /tmp may
// not.
func (f *fetcher) tempFolder() (string, error) {
	tmp, err := os.MkdirTemp(f.dir, unpackPrefix)
	if err != nil {
		return "", writeError(f.dir, err)
	}
	return filepath.Abs(tmp) // for tools that run in another folder
}

// downloadPackage leaves the package in dir. If the system's lists of packages are missing or old,
// it downloads its own lists, to leave the system unchanged.
func (f *fetcher) downloadPackage(ctx context.Context, dir string) error {
	err := aptGet(ctx, dir, "download", debianPackage)
	if err == nil || ctx.Err() != nil {
		return err
	}
	f.Log(err.Error() + ": trying with new lists of packages")
	lists, cache := filepath.Join(dir, "lists"), filepath.Join(dir, "cache")
	for _, folder := range []string{lists, filepath.Join(cache, "archives")} {
		if err := os.MkdirAll(filepath.Join(folder, "partial"), 0o755); err != nil {
			return writeError(folder, err)
		}
	}
	own := []string{"-o", "Dir::State::lists=" + lists, "-o", "Dir::Cache=" + cache}
	if err := aptGet(ctx, dir, append(own, "update")...); err != nil {
		return err
	}
	return aptGet(ctx, dir, append(own, "download", debianPackage)...)
}

func aptGet(ctx context.Context, dir string, args ...string) error {
	return run(ctx, dir, nil, "apt-get", append([]string{
		"-q", "-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=15", "-o", "Acquire::https::Timeout=15",
		// As root, apt-get would download as a user who may not write to the folder, and warn.
		"-o", "APT::Sandbox::User=root",
	}, args...)...)
}

// run runs a tool in dir, with env besides the environment. The error has one line of the tool's output.
func run(ctx context.Context, dir string, env []string, tool string, args ...string) error {
	cmd := exec.CommandContext(ctx, tool, args...)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "LC_ALL=C"), env...)
	cmd.WaitDelay = 5 * time.Second // in case children that were not killed hold the pipe
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		if strings.Contains(out.String(), "No space left on device") { // seldom in the last line
			return writeError(dir, syscall.ENOSPC)
		}
		return fmt.Errorf("%s: %s", tool, diagnosis(out.String(), err))
	}
	return nil
}

// diagnosis picks the first error of apt-get's output, or else the last line.
func diagnosis(output string, err error) string {
	last := err.Error()
	for line := range strings.Lines(output) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "E: ") {
			return line
		}
		if line != "" {
			last = line
		}
	}
	return last
}
