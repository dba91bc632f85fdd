package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"
)

func helpCommand(app *cli.App) *cli.Command {
	return newCommand("help", "[COMMAND]", "what the commands do and the flags they take",
		"Prints the commands, or what one of them does and its flags.",
		"crnn help train", nil,
		func(c *cli.Context) error {
			switch c.NArg() {
			case 0:
				printAppHelp(c.App.Writer, app)
				return nil
			case 1:
				name := c.Args().First()
				cmd := app.Command(name)
				if cmd == nil {
					return unknownCommand(app, name)
				}
				printCommandHelp(c.App.Writer, cmd)
				return nil
			}
			return noArguments(c, 1)
		})
}

func printAppHelp(w io.Writer, app *cli.App) {
	fmt.Fprintf(w, "crnn - %s\n\nUsage: crnn COMMAND [FLAGS] [ARGUMENTS]\n\nCommands:\n", app.Usage)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, c := range app.Commands {
		fmt.Fprintf(t, "  %s\t%s\n", c.Name, c.Usage)
	}
	t.Flush()
	fmt.Fprint(w, `
Examples:
  crnn train                                          # the recipe: 15 epochs, fetches the data
  crnn eval --weights runs/latest/best.safetensors    # its accuracy on the test images
  crnn predict --weights runs/latest/best.safetensors shoe.png

Settings of training, network, device and data can also come from environment variables, such as
CRNN_BATCH_SIZE for --batch-size; a flag wins. Options of a single call, such as --weights,
--split or --json, are flags only.

`+"`crnn help COMMAND`"+` says more about a command.
`)
}

func printCommandHelp(w io.Writer, cmd *cli.Command) {
	usage := "crnn " + cmd.Name
	if len(cmd.Flags) > 0 {
		usage += " [FLAGS]"
	}
	if cmd.ArgsUsage != "" {
		usage += " " + cmd.ArgsUsage
	}
	fmt.Fprintf(w, "crnn %s - %s\n\nUsage: %s\n\n%s\n", cmd.Name, cmd.Usage, usage, strings.TrimSpace(cmd.Description))

	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	heading := ""
	var environment []string
	for _, f := range cmd.Flags {
		o := f.(*option)
		if o.category != heading {
			heading = o.category
			fmt.Fprintf(t, "\n%s:\n", heading)
		}
		fmt.Fprintln(t, "  "+o.helpLine())
		if name := o.env(); name != "" {
			environment = append(environment, name)
		}
	}
	t.Flush()
	switch n := len(environment); {
	case n > 5:
		fmt.Fprint(w, "\nEvery flag is also an environment variable, "+
			"such as CRNN_BATCH_SIZE for --batch-size. A flag wins.\n")
	case n > 0:
		fmt.Fprintf(w, "\nIn the environment: %s. A flag wins.\n", strings.Join(environment, ", "))
	}
	fmt.Fprintf(w, "\nExample:\n  %s\n", strings.ReplaceAll(strings.TrimSpace(cmd.UsageText), "\n", "\n  "))
}

// helpLine returns the flag, a tab, and its description.
func (o *option) helpLine() string {
	line := "--" + o.name
	if o.value != "" {
		line += " " + o.value
	}
	line += "\t" + o.usage
	if text := o.defaultText(); text != "" {
		line += " (default " + text + ")"
	}
	return line
}
