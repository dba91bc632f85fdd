package main

import (
	"strings"

	"github.com/urfave/cli/v2"
	"github.com/xrash/smetrics"
)

// arrange checks a command line and puts the flags of a command before its other
// arguments, where the flag package looks for them: `crnn compare A B --out F` becomes
// `crnn compare --out F A B`.
func arrange(app *cli.App, args []string) ([]string, error) {
	if len(args) == 0 {
		return []string{"help"}, nil
	}
	if strings.HasPrefix(args[0], "-") {
		switch args[0] {
		case "-h", "-help", "--help":
			return []string{"help"}, nil
		case "-v", "-version", "--version":
			return []string{"version"}, nil
		}
		return nil, usagef("%s: a command comes first, as in `crnn train --epochs 3`; `crnn help` lists them", args[0])
	}
	cmd := app.Command(args[0])
	if cmd == nil {
		return nil, unknownCommand(app, args[0])
	}

	flags, rest := []string{cmd.Name}, []string{}
	for i := 1; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			rest = append(rest, args[i+1:]...)
			break
		}
		if len(arg) < 2 || arg[0] != '-' {
			rest = append(rest, arg)
			continue
		}
		name, _, hasValue := strings.Cut(strings.TrimPrefix(arg[1:], "-"), "=")
		f := lookupFlag(cmd, name)
		if f == nil {
			if name == "h" || name == "help" {
				return []string{"help", cmd.Name}, nil
			}
			return nil, usagef("unknown flag --%s of crnn %s%s; `crnn help %s` lists them",
				name, cmd.Name, didYouMean("--"+name, flagNames(cmd)), cmd.Name)
		}
		flags = append(flags, arg)
		if f.isBool() || hasValue {
			continue
		}
		if i++; i == len(args) {
			return nil, usagef("--%s needs a value: %s, %s", name, f.value, f.usage)
		}
		flags = append(flags, args[i])
	}
	return append(append(flags, "--"), rest...), nil
}

func lookupFlag(cmd *cli.Command, name string) *option {
	for _, f := range cmd.Flags {
		if o, ok := f.(*option); ok && o.name == name {
			return o
		}
	}
	return nil
}

func flagNames(cmd *cli.Command) (names []string) {
	for _, f := range cmd.Flags {
		names = append(names, "--"+f.Names()[0])
	}
	return names
}

func unknownCommand(app *cli.App, name string) error {
	var names []string
	for _, c := range app.Commands {
		names = append(names, c.Name)
	}
	return usagef("unknown command %q%s; `crnn help` lists them", name, didYouMean(name, names))
}

// noArguments refuses more than n arguments of a command.
func noArguments(c *cli.Context, n int) error {
	if c.NArg() <= n {
		return nil
	}
	return usagef("unexpected argument %q of crnn %s; `crnn help %s` shows its usage",
		c.Args().Get(n), c.Command.Name, c.Command.Name)
}

// didYouMean returns ` (did you mean NAME?)` for the name nearest to word, or "" if no name is
// near.
func didYouMean(word string, names []string) string {
	const far = 3 // edits; half of a short word may be wrong at most
	best, nearest := min(far, len(strings.Trim(word, "-"))/2)+1, ""
	for _, name := range names {
		if d := smetrics.WagnerFischer(word, name, 1, 1, 1); d < best {
			best, nearest = d, name
		}
	}
	if nearest == "" {
		return ""
	}
	return " (did you mean " + nearest + "?)"
}
