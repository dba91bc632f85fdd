package main

import (
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"crnn/data/picture"
	"crnn/internal/atomicfile"
	"crnn/internal/osfile"
	"crnn/model"
	"crnn/train"
)

// prediction is the network's result for a picture, in the form of --json.
type prediction struct {
	File          fileName      `json:"file"`
	Class         string        `json:"class"`
	ClassIndex    int           `json:"class_index"`
	Probability   float64       `json:"probability"`
	Probabilities []float64     `json:"probabilities"` // of every class, in order
	Top           []probability `json:"top,omitempty"` // the most probable classes, with --top
	Note          string        `json:"-"`             // for people
}

// probability is a class with its probability.
type probability struct {
	Class       string  `json:"class"`
	Probability float64 `json:"probability"`
}

// predictOptions are the flags of crnn predict that are no settings.
type predictOptions struct {
	weights string
	json    bool
	csv     string
	top     int
	invert  string
}

func predictCommand() *cli.Command {
	config := train.Default()
	o := predictOptions{invert: "auto"}
	options := append([]*option{
		weightsOption(&o.weights),
		{name: "invert", category: "Pictures", target: &o.invert, noEnv: true, value: "WHEN",
			usage: "invert: auto (pictures with a light border, if the data is bright on black), yes or no"},
		{name: "top", category: "Output", target: &o.top, noEnv: true, value: "N", initial: "3, in a CSV file 1",
			usage: "the number of most probable classes to show"},
		{name: "csv", category: "Output", target: &o.csv, noEnv: true, value: "FILE",
			usage: "write a table: file, class, probability, and so on for --top"},
		{name: "json", category: "Output", target: &o.json, noEnv: true,
			usage: "a JSON array with the probabilities of all classes; from 1,001 pictures on, an object per line"},
	}, settings(&config, computeSettings...)...)
	return newCommand("predict", "PATH…", "the class of pictures",
		"Prints the class of each picture and its three most probable classes. A PATH is a picture (PNG, JPEG,\n"+
			"GIF, BMP, WebP or TIFF), a folder of them, a pattern such as 'shoes/*.png', or - for one on standard\n"+
			"input. Pictures are prepared as the images were on which the weights were trained. A picture that\n"+
			"cannot be read is reported, the others go on, and the exit code is 1.\n"+
			"It reads no data set: it accepts --data only because every command that computes does.",
		"crnn predict --weights runs/latest shoe.png shirt.jpg\n"+
			"crnn predict --weights runs/latest --csv predictions.csv holiday/", options,
		func(c *cli.Context) error {
			if err := configure(&config, options); err != nil {
				return err
			}
			if err := o.check(c); err != nil {
				return err
			}
			return runPredict(c, config, o)
		})
}

func (o *predictOptions) check(c *cli.Context) error {
	switch {
	case c.NArg() == 0:
		return usagef("crnn predict needs a picture, as in: crnn predict --weights runs/latest/best.safetensors shoe.png")
	case o.invert != "auto" && o.invert != "yes" && o.invert != "no":
		return usagef("--invert %q: expected auto, yes or no", o.invert)
	case o.top < 0 || c.IsSet("top") && o.top < 1:
		return usagef("--top %d: expected at least 1", o.top)
	case o.json && o.csv != "":
		return usagef("--json and --csv exclude each other: give one of them")
	}
	return nil
}

func runPredict(c *cli.Context, config train.Config, o predictOptions) error {
	device, err := openDevice(config)
	if err != nil {
		return err
	}
	defer device.Close()
	state, err := readWeights(c, o.weights)
	if err != nil {
		return err
	}
	files, empty, err := listPictures(c.Args().Slice())
	if err != nil {
		return err
	}
	if len(files) == 0 && len(empty) == 1 {
		return empty[0]
	}
	for _, e := range empty {
		fmt.Fprintln(c.App.ErrWriter, errorLine(e))
	}
	p, err := newPredictor(device, state, len(files), picture.Invert(o.invert))
	if err != nil {
		return err
	}
	p.empty = len(empty)
	device.announce(c.App.ErrWriter)
	top := max(1, min(o.top, state.Classes)) // of a table
	switch o.csv {
	case "":
		return p.predict(c, files, o.writer(c.App.Writer, state, len(files)))
	case stdoutName:
		return p.predict(c, files, newCSVWriter(c.App.Writer, top))
	}
	// The pictures that cannot be read are an error at the end; the table holds the others.
	var failed error
	err = atomicfile.Output(o.csv, 0o644, func(w io.Writer) error {
		failed = p.predict(c, files, newCSVWriter(w, top))
		if e := (*unreadPictures)(nil); errors.As(failed, &e) {
			return nil
		}
		return failed
	})
	switch {
	case failed != nil:
		return failed
	case err != nil:
		return fmt.Errorf("--csv: cannot write %s: %w", shown(o.csv), osfile.Cause(err))
	}
	return nil
}

// predictionWriter takes predictions in the order of the pictures.
type predictionWriter interface {
	write(prediction) error
	end() error
}

// writer returns the writer that the options ask for.
func (o *predictOptions) writer(w io.Writer, state *model.State, pictures int) predictionWriter {
	if !o.json {
		top := o.top
		if top == 0 {
			top = 3
		}
		return textWriter{w, min(top, state.Classes)}
	}
	// An array of a million objects would be no use to anybody.
	const most = 1000
	return &jsonWriter{w: w, lines: pictures > most, top: min(o.top, state.Classes)}
}

// predictor runs a network over pictures.
type predictor struct {
	net     *model.Network
	images  model.Images
	state   *model.State
	invert  picture.Invert
	pixels  []uint8
	labels  []uint8 // unknown: only probabilities are needed
	indices []int32
	empty   int // folders and patterns without a picture, reported already
}

func newPredictor(device *device, state *model.State, pictures int, invert picture.Invert) (*predictor, error) {
	const most = 64
	p := &predictor{state: state, invert: invert}
	var err error
	if p.net, err = device.load(state, max(1, min(most, pictures))); err != nil {
		return nil, err
	}
	n := p.net.MaxBatch
	p.pixels, p.labels, p.indices = make([]uint8, n*state.Images.Bytes()), make([]uint8, n), make([]int32, n)
	for i := range p.indices {
		p.indices[i] = int32(i)
	}
	p.images, err = device.NewImages(p.pixels, p.labels, state.ImageChannels, state.ImageHeight, state.ImageWidth)
	return p, err
}

// unreadPictures is the error of a prediction that left out pictures.
type unreadPictures struct {
	count, total int
	empty        int // folders and patterns without a picture
}

func (e *unreadPictures) Error() string {
	switch {
	case e.empty == 0:
		return fmt.Sprintf("%d of %d pictures could not be read", e.count, e.total)
	case e.count == 0:
		return fmt.Sprintf("%d of the paths hold no picture", e.empty)
	}
	return fmt.Sprintf("%d of %d pictures could not be read, and %d of the paths hold no picture", e.count,
		e.total, e.empty)
}

// predict predicts the pictures of the files. A picture that cannot be read is reported, and is an
// *unreadPictures at the end. The only picture is the error itself.
func (p *predictor) predict(c *cli.Context, files []string, w predictionWriter) error {
	unread, total := 0, len(files)
	for len(files) > 0 {
		if err := c.Context.Err(); err != nil {
			return err
		}
		batch := files[:min(len(files), p.net.MaxBatch)]
		files = files[len(batch):]
		loaded := p.load(batch)
		var read []loadedPicture
		for _, l := range loaded {
			if l.err != nil {
				unread++
				if total == 1 && p.empty == 0 {
					return l.err
				}
				fmt.Fprintln(c.App.ErrWriter, errorLine(l.err))
				continue
			}
			copy(p.pixels[len(read)*p.state.Images.Bytes():], l.pixels)
			read = append(read, l)
		}
		if len(read) == 0 {
			continue
		}
		if err := p.images.Replace(p.pixels, p.labels); err != nil {
			return err
		}
		predictions, err := classify(p.net, p.images, p.indices[:len(read)], p.state.Images.Classes)
		for i, l := range read {
			if err != nil {
				break
			}
			predictions[i].File, predictions[i].Note = fileName(l.file), l.notes.String()
			if _, text := w.(textWriter); !text && predictions[i].Note != "" {
				fmt.Fprintf(c.App.ErrWriter, "%s: note: %s\n", shown(l.file), predictions[i].Note)
			}
			err = w.write(predictions[i])
		}
		if e := (*notFinite)(nil); errors.As(err, &e) {
			return fmt.Errorf("%s: the network's output for %s is not finite: these weights are of a run that diverged, "+
				"or damaged; take others", c.String("weights"), shown(read[e.index].file))
		}
		if err != nil {
			return err
		}
	}
	if err := w.end(); err != nil {
		return err
	}
	if unread > 0 || p.empty > 0 {
		return &unreadPictures{unread, total, p.empty}
	}
	return nil
}

// notFinite is the error of logits that are not finite numbers.
type notFinite struct{ index int }

func (e *notFinite) Error() string { return "the network's output is not finite" }

// classify returns the predictions for the images of the given indices, at most net.MaxBatch,
// without their files. If a logit is not finite, it returns a *notFinite.
func classify(net *model.Network, images model.Images, indices []int32, classes []string) ([]prediction, error) {
	if err := net.Predict(images, indices); err != nil {
		return nil, err
	}
	logits, err := net.Logits(len(indices))
	if err != nil {
		return nil, err
	}
	var predictions []prediction
	for i := range indices {
		row := logits[i*net.Classes : (i+1)*net.Classes]
		if slices.ContainsFunc(row, func(v float32) bool { return math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) }) {
			return nil, &notFinite{i}
		}
		predictions = append(predictions, newPrediction(row, classes))
	}
	return predictions, nil
}

func newPrediction(logits []float32, classes []string) prediction {
	p := prediction{Probabilities: softmax(logits)}
	p.Probability = slices.Max(p.Probabilities)
	p.ClassIndex = slices.Index(p.Probabilities, p.Probability)
	p.Class = classes[p.ClassIndex]
	order := make([]int, len(p.Probabilities))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(p.Probabilities[b], p.Probabilities[a]) })
	for _, class := range order {
		p.Top = append(p.Top, probability{classes[class], p.Probabilities[class]})
	}
	return p
}

// softmax returns exp(logits) divided by their sum.
func softmax(logits []float32) []float64 {
	p := make([]float64, len(logits))
	largest := float64(slices.Max(logits)) // subtracted, so that no exponential overflows
	sum := 0.0
	for i, z := range logits {
		p[i] = math.Exp(float64(z) - largest)
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
	return p
}

// textWriter writes a line per picture, such as
//
//	shoe.png: Sneaker  (Sneaker 97.1%, Ankle boot 2.2%, Sandal 0.5%)
type textWriter struct {
	w   io.Writer
	top int
}

func (t textWriter) write(p prediction) error {
	line := fmt.Sprintf("%s: %s  (", shown(string(p.File)), shown(p.Class))
	for i, of := range p.Top[:t.top] {
		if i > 0 {
			line += ", "
		}
		line += fmt.Sprintf("%s %.1f%%", shown(of.Class), 100*of.Probability)
	}
	line += ")"
	if p.Note != "" {
		line += "  note: " + p.Note
	}
	_, err := fmt.Fprintln(t.w, line)
	return err
}

func (t textWriter) end() error { return nil }

// fileName is the name of a file, which may be any bytes.
type fileName string

// MarshalJSON implements json.Marshaler. JSON holds no bytes that are not UTF-8: such a byte b becomes the
// escape \udcXX, as Python's json.dumps(os.fsdecode(name)) writes it, so that os.fsencode gives it back.
func (f fileName) MarshalJSON() ([]byte, error) {
	b := []byte{'"'}
	for rest := string(f); rest != ""; {
		r, n := utf8.DecodeRuneInString(rest)
		if r == utf8.RuneError && n == 1 {
			b = fmt.Appendf(b, `\udc%02x`, rest[0])
		} else {
			quoted, err := json.Marshal(rest[:n])
			if err != nil {
				return nil, err
			}
			b = append(b, quoted[1:len(quoted)-1]...)
		}
		rest = rest[n:]
	}
	return append(b, '"'), nil
}

// jsonWriter writes one array, or an object per line.
type jsonWriter struct {
	w     io.Writer
	lines bool
	top   int
	all   []prediction
}

func (j *jsonWriter) write(p prediction) error {
	p.Top = p.Top[:j.top]
	if j.lines {
		return writeJSON(j.w, p)
	}
	j.all = append(j.all, p)
	return nil
}

func (j *jsonWriter) end() error {
	if j.lines {
		return nil
	}
	if j.all == nil {
		j.all = []prediction{}
	}
	return writeJSON(j.w, j.all)
}

// csvWriter writes a table: file, class, probability, then class2, probability2 and so on.
type csvWriter struct {
	w   *csv.Writer
	top int
	err error // of the heading
}

func newCSVWriter(w io.Writer, top int) *csvWriter {
	t := &csvWriter{w: csv.NewWriter(w), top: top}
	heading := []string{"file", "class", "probability"}
	for i := 2; i <= top; i++ {
		heading = append(heading, fmt.Sprint("class", i), fmt.Sprint("probability", i))
	}
	t.err = t.w.Write(heading)
	return t
}

func (t *csvWriter) write(p prediction) error {
	if t.err != nil {
		return t.err
	}
	row := []string{string(p.File)}
	for _, of := range p.Top[:t.top] {
		row = append(row, of.Class, strconv.FormatFloat(of.Probability, 'f', 6, 64))
	}
	return t.w.Write(row)
}

func (t *csvWriter) end() error {
	t.w.Flush()
	return cmp.Or(t.err, t.w.Error())
}

// writeJSON writes v in one line.
func writeJSON(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) }
