package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"crnn/data"
	"crnn/report"
	"crnn/train"
)

// namePath makes the first argument behind the word the data set of config.
func namePath(c *cli.Context, config *train.Config) error {
	path := c.Args().Get(1)
	if path == "" {
		return nil
	}
	if c.IsSet("data") {
		return usagef("%s and --data %s: expected one data set", path, config.Data)
	}
	config.Data = path
	// Later errors would name --data or the environment as the source of the path.
	return data.Check(path)
}

// dataInfo describes the data set, and writes a contact sheet if out is not empty.
func dataInfo(c *cli.Context, config train.Config, asJSON bool, out string) error {
	if err := namePath(c, &config); err != nil {
		return err
	}
	set, err := readData(c, config)
	var sizes *data.Sizes
	if err != nil {
		headers, found := readHeaders(c, config)
		if found == nil {
			return err
		}
		if out != "" {
			return fmt.Errorf("--out %s: %w", out, err)
		}
		set, sizes = headers, found
		for _, note := range set.Notes {
			fmt.Fprintln(c.App.ErrWriter, note)
		}
	}
	plan, refusal := config.Plan(set)
	if sizes == nil && refusal == nil {
		_, refusal = config.SizesFor(set)
	}
	info := set.Describe(readOptions(config), plan.Train, plan.Val)
	if sizes != nil {
		info.Sizes = sizes
		info.Warnings = append(info.Warnings, "the pictures have no common size that a network can take: pass --image-size "+
			"HxW, to which all are scaled, such as --image-size "+sizes.Suggested)
	}
	if refusal != nil {
		info.Warnings = append(info.Warnings, "crnn train refuses this: "+refusal.Error())
	}
	if out != "" {
		figure, err := contactSheet(set.Train, info, plan.Train)
		if err != nil {
			return err
		}
		if err := saveFigure(c, figure, out); err != nil {
			return err
		}
	}
	if asJSON {
		encoder := json.NewEncoder(c.App.Writer)
		encoder.SetEscapeHTML(false)
		return encoder.Encode(info)
	}
	printInfo(c.App.Writer, info)
	return nil
}

// readHeaders reads a folder of pictures that could not be read for want of a common size. Otherwise it
// returns nil.
func readHeaders(c *cli.Context, config train.Config) (*data.Dataset, *data.Sizes) {
	path, err := data.Locate(config.Data)
	if err != nil || config.ImageSize != (train.ImageSize{}) || c.Context.Err() != nil {
		return nil, nil
	}
	set, sizes, err := data.ReadHeaders(c.Context, path, readOptions(config))
	if err != nil || sizes.Suggested == "" {
		return nil, nil
	}
	return set, sizes
}

// forms says what the forms of data are.
var forms = map[data.Form]string{
	data.FormIDX: "four IDX files", data.FormFolder: "a folder of pictures for each class",
	data.FormCIFAR: "CIFAR's binary files", data.FormCSV: "a line of a CSV file per image",
}

// printInfo writes what a data set holds as text.
func printInfo(w io.Writer, info *data.Info) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-12s"+format+"\n", append([]any{name}, args...)...)
	}
	line("data set", "%s", info.Path)
	line("form", "%s: %s", info.Form, forms[info.Form])
	switch s := info.Sizes; {
	case s != nil:
		line("heights", "%d to %d", s.Heights[0], s.Heights[1])
		line("widths", "%d to %d", s.Widths[0], s.Widths[1])
		line("channels", "%d", info.Channels)
	default:
		line("size", "%dx%dx%d", info.Height, info.Width, info.Channels)
	}
	line("classes", "%d", len(info.Classes))
	if len(info.Mean) > 0 {
		line("mean", "%s", decimals(info.Mean))
		line("std", "%s", decimals(info.Std))
	}
	all := data.ClassCount{Name: "(all)"}
	for _, class := range info.Classes {
		all.Train, all.Val, all.Test = all.Train+class.Train, all.Val+class.Val, all.Test+class.Test
	}
	if d := info.Duplicates; d != nil {
		example := ""
		if d.Count > 0 {
			example = fmt.Sprintf(", such as %s = %s", d.Test, d.Train)
		}
		line("duplicates", "test images equal to a training image: %d of %d%s", d.Count, all.Test, example)
	}
	fmt.Fprintln(w)
	printClasses(w, info.Classes, all)
	if len(info.Warnings) > 0 {
		fmt.Fprintln(w)
	}
	for _, warning := range info.Warnings {
		fmt.Fprintln(w, "warning:", warning)
	}
}

// decimals writes the values of the channels.
func decimals(values []float64) string {
	var texts []string
	for _, v := range values {
		texts = append(texts, fmt.Sprintf("%.4f", v))
	}
	return strings.Join(texts, " ")
}

// mostClasses is the largest number of classes that all get a line of the table.
const mostClasses = 40

// printClasses writes a table of the numbers of images. Of very many classes it shows the largest and
// the smallest. Names come last, where their widths do not matter.
func printClasses(w io.Writer, classes []data.ClassCount, all data.ClassCount) {
	row := func(c data.ClassCount) { fmt.Fprintf(w, "%8d %8d %8d  %s\n", c.Train, c.Val, c.Test, shown(c.Name)) }
	fmt.Fprintf(w, "%8s %8s %8s  %s\n", "train", "val", "test", "class")
	few := len(classes) <= mostClasses
	if !few {
		classes = slices.Clone(classes)
		slices.SortStableFunc(classes, func(a, b data.ClassCount) int { return cmp.Compare(b.Train, a.Train) })
	}
	const ends = mostClasses / 4 // classes shown of each end
	for i, c := range classes {
		switch {
		case few || i < ends || i >= len(classes)-ends:
			row(c)
		case i == ends:
			fmt.Fprintf(w, "%8s %8s %8s  %d more classes; --json lists them all\n", "...", "...", "...", len(classes)-2*ends)
		}
	}
	row(all)
}

// contactSheet returns the figure of some training images of each class.
func contactSheet(set *data.Set, info *data.Info, training []int32) (report.Figure, error) {
	byClass := make([][]int32, len(set.Classes))
	for _, i := range training {
		byClass[set.Labels[i]] = append(byClass[set.Labels[i]], i)
	}
	rows := make([]report.Row, len(set.Classes))
	most := report.SheetImages(len(set.Classes))
	for class, of := range byClass {
		c := info.Classes[class]
		rows[class].Title, rows[class].Note = c.Name, fmt.Sprintf(": %d train, %d val, %d test", c.Train, c.Val, c.Test)
		for _, i := range evenly(of, most) {
			rows[class].Images = append(rows[class].Images, set.Image(int(i)))
		}
	}
	return report.ContactSheet(set.Description, rows)
}

// evenly returns n of the indices, or all if there are no more, with even gaps between them and half a
// gap at the ends.
func evenly(indices []int32, n int) []int32 {
	n = min(n, len(indices))
	chosen := make([]int32, n)
	for i := range chosen {
		chosen[i] = indices[(2*i+1)*len(indices)/(2*n)]
	}
	return chosen
}

// dataConvert writes the data set as IDX files.
func dataConvert(c *cli.Context, config train.Config) error {
	path, dir := c.Args().Get(1), c.Args().Get(2)
	if path == "" || dir == "" {
		return usagef("crnn data convert needs PATH, the data set, and DIR, a new directory for four IDX files")
	}
	if err := namePath(c, &config); err != nil {
		return err
	}
	if err := data.CheckTarget(path, dir); err != nil {
		return err
	}
	set, err := loadData(c, config)
	if err != nil {
		return err
	}
	notes, err := set.Convert(c.Context, dir)
	if err != nil {
		return err
	}
	for _, note := range notes {
		fmt.Fprintln(c.App.ErrWriter, note)
	}
	fmt.Fprintln(c.App.Writer, dir)
	return nil
}
