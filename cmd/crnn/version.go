package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"
)

// version is the release. commit can be set when linking (-X main.commit=…) if Go does not record
// it, as in a build from an archive.
var (
	version = "0.1.0"
	commit  = ""
)

func versionCommand() *cli.Command {
	return newCommand("version", "", "version, commit and build features",
		"Prints the version, the commit that it was built from, and the features of this build.",
		"crnn version", nil,
		func(c *cli.Context) error {
			if err := noArguments(c, 0); err != nil {
				return err
			}
			fmt.Fprintf(c.App.Writer, "crnn %s\ncommit %s\n%s %s/%s\nbuild features: %s\n",
				version, revision(), runtime.Version(), runtime.GOOS, runtime.GOARCH, buildFeatures())
			return nil
		})
}

// revision returns the commit of the build, as far as it is known.
func revision() string {
	if commit != "" {
		return commit
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	revision, modified := "unknown", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = " with changes"
		}
	}
	return revision + modified
}
