package data

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"crnn/data/imageset"
	"crnn/data/picture"
	"crnn/internal/osfile"
)

// A folder of pictures has a subfolder for each class, as torchvision, Keras, fastai and Ultralytics
// expect it. Above them there may be train/, val/ and test/. Below a class, pictures may lie in any
// subfolders. Classes are ordered by the bytes of their names, as torchvision orders them.
type folder struct {
	root    string
	classes []string // names
	parts   [3][]pictureFile
	skipped []string // files that are no pictures, by name, in the order of the walk
	notes   []string
}

// The parts of a folder. Without folders for them, all pictures are in partTrain.
const (
	partTrain = iota
	partVal
	partTest
)

// pictureFile is a picture of a class.
type pictureFile struct {
	path  string // below root
	class int
	size  int64
	time  int64 // of its last change, in nanoseconds
}

// partNames are the names of folders of parts, in lower case.
var partNames = map[string]int{
	"train": partTrain, "training": partTrain,
	"val": partVal, "valid": partVal, "validation": partVal,
	"test": partTest, "testing": partTest,
}

// findFolder looks for pictures below path. It reads names, not pictures.
func findFolder(path string) (*folder, error) {
	t := &folder{root: path}
	var subfolders []string
	for range 4 { // archives put a folder, sometimes two, around the data
		var err error
		var pictures bool
		if subfolders, pictures, err = list(t.root); err != nil {
			return nil, err
		}
		if len(subfolders) != 1 || pictures {
			break
		}
		if below, some, err := list(filepath.Join(t.root, subfolders[0])); err != nil || some || len(below) == 0 {
			break // a single class
		}
		t.root = filepath.Join(t.root, subfolders[0])
	}
	if len(subfolders) == 0 {
		return nil, notFoundError(fmt.Sprintf("%s holds no data set: expected four IDX files (train-images-idx3-ubyte …), "+
			"a subfolder of pictures for each class, CIFAR's .bin files, or NAME_train.csv and NAME_test.csv; "+
			"crnn data fetch gets Fashion-MNIST", path))
	}
	parts := map[int]string{}
	for _, name := range subfolders {
		if part, ok := partNames[strings.ToLower(name)]; ok {
			parts[part] = name
		}
	}
	if parts[partTrain] == "" {
		parts = map[int]string{partTrain: "."}
	}
	byClass := map[string][]pictureFile{} // class is the part here
	for part, name := range parts {
		if err := t.walk(byClass, part, name); err != nil {
			return nil, err
		}
	}
	t.classes = slices.Sorted(maps.Keys(byClass))
	if err := t.checkClasses(); err != nil {
		return nil, err
	}
	for class, name := range t.classes {
		for _, f := range byClass[name] {
			part := f.class
			f.class = class
			t.parts[part] = append(t.parts[part], f)
		}
	}
	for _, files := range t.parts {
		slices.SortFunc(files, func(a, b pictureFile) int {
			return cmp.Or(cmp.Compare(a.class, b.class), cmp.Compare(a.path, b.path))
		})
	}
	t.noteSkipped()
	return t, nil
}

// list returns the names of the visible subfolders of dir, sorted, and whether pictures lie in it.
func list(dir string) (subfolders []string, pictures bool, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, false, fmt.Errorf("%s: %w", dir, osfile.Cause(err))
	}
	for _, e := range entries {
		if hidden(e.Name()) {
			continue
		}
		if info, err := os.Stat(filepath.Join(dir, e.Name())); err == nil && info.IsDir() {
			subfolders = append(subfolders, e.Name())
		} else if picture.IsName(e.Name()) {
			pictures = true
		}
	}
	return subfolders, pictures, nil
}

// hidden reports whether systems put files of that name beside the user's.
func hidden(name string) bool { return strings.HasPrefix(name, ".") || name == "__MACOSX" }

// walk adds the pictures of a part, whose classes are the subfolders of dir below root.
func (t *folder) walk(byClass map[string][]pictureFile, part int, dir string) error {
	classes, pictures, err := list(filepath.Join(t.root, dir))
	if err != nil {
		return err
	}
	if pictures && len(classes) == 0 {
		return fmt.Errorf("%s: pictures without classes: expected a subfolder of pictures for each class",
			filepath.Join(t.root, dir))
	}
	if pictures {
		t.notes = append(t.notes, fmt.Sprintf("%s: the pictures beside the folders of the classes are left out",
			filepath.Join(t.root, dir)))
	}
	for _, class := range classes {
		byClass[class] = slices.Clip(byClass[class]) // a class without a picture exists too
		var above []fs.FileInfo
		err := t.walkClass(filepath.Join(dir, class), above, func(f pictureFile) {
			f.class = part
			byClass[class] = append(byClass[class], f)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// walkClass calls add for each picture in dir below root and its subfolders. Links are followed, but
// not into a folder that is above already.
func (t *folder) walkClass(dir string, above []fs.FileInfo, add func(pictureFile)) error {
	full := filepath.Join(t.root, dir)
	info, err := os.Stat(full)
	if err != nil {
		return fmt.Errorf("%s: %w", full, osfile.Cause(err))
	}
	for _, a := range above {
		if os.SameFile(a, info) {
			t.notes = append(t.notes, fmt.Sprintf("%s: a link to a folder above it; left out", full))
			return nil
		}
	}
	above = append(slices.Clip(above), info)
	entries, err := os.ReadDir(full)
	if err != nil {
		return fmt.Errorf("%s: %w", full, osfile.Cause(err))
	}
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		if hidden(e.Name()) {
			continue
		}
		info, err := e.Info()
		if e.Type()&fs.ModeSymlink != 0 {
			info, err = os.Stat(filepath.Join(t.root, name))
		}
		switch {
		case err != nil && e.Type()&fs.ModeSymlink != 0:
			t.notes = append(t.notes, fmt.Sprintf("%s: %v; left out", filepath.Join(t.root, name), osfile.Cause(err)))
		case err != nil:
			return fmt.Errorf("%s: %w", filepath.Join(t.root, name), osfile.Cause(err))
		case info.IsDir():
			if err := t.walkClass(name, above, add); err != nil {
				return err
			}
		case picture.IsName(e.Name()):
			add(pictureFile{path: name, size: info.Size(), time: info.ModTime().UnixNano()})
		default:
			t.skipped = append(t.skipped, name)
		}
	}
	return nil
}

// checkClasses returns an error unless the number of classes is possible.
func (t *folder) checkClasses() error {
	switch n := len(t.classes); {
	case n > imageset.MaxClasses:
		return fmt.Errorf("%s: %d folders of classes (%s, %s …), at most %d are possible",
			t.root, n, t.classes[0], t.classes[1], imageset.MaxClasses)
	case n < imageset.MinClasses:
		return fmt.Errorf("%s: a single class (%s), expected a subfolder for each of at least two", t.root, t.classes[0])
	}
	return nil
}

// noteSkipped notes the files that are no pictures.
func (t *folder) noteSkipped() {
	if len(t.skipped) == 0 {
		return
	}
	byKind := map[string]int{}
	for _, name := range t.skipped {
		if kind := picture.UnreadName(name); kind != "" {
			byKind[kind]++
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(byKind)) {
		t.notes = append(t.notes, fmt.Sprintf("%s: %s files (%d) are not read and left out: convert them to PNG or JPEG",
			t.root, kind, byKind[kind]))
	}
	t.notes = append(t.notes, fmt.Sprintf("%s: files that are no pictures are left out: %d, such as %s",
		t.root, len(t.skipped), t.skipped[0]))
}

// UnreadableError lists the pictures of a folder that cannot be read.
type UnreadableError struct {
	Root  string
	Total int     // pictures in all
	Each  []error // one line per picture, which begins with its path
}

func (e *UnreadableError) Error() string {
	if len(e.Each) == 1 {
		return fmt.Sprintf("%v; remove or mend it", e.Each[0])
	}
	return fmt.Sprintf("%s: %d of %d pictures cannot be read: remove or mend them (the first: %v)",
		e.Root, len(e.Each), e.Total, e.Each[0])
}

// read reads all pictures, or takes them from the cache.
func (t *folder) read(ctx context.Context, o Options) (*Dataset, error) {
	files := slices.Concat(t.parts[:]...)
	if len(files) == 0 {
		return nil, notFoundError(fmt.Sprintf("%s: the folders of the classes hold no picture", t.root))
	}
	cached := newCache(t, files, o)
	all, ok := cached.load()
	if !ok {
		var err error
		if all, err = t.decode(ctx, files, o); err != nil {
			return nil, err
		}
		if err := cached.save(all); err != nil {
			t.notes = append(t.notes, fmt.Sprintf("the pictures could not be kept for the next run: %v", err))
		}
	}
	if o.Like == nil {
		all.Pixels.Invert = all.onBlack()
	}
	return t.divide(all, o)
}

// divide makes the parts of a data set of all pictures, which lie part by part.
func (t *folder) divide(all *Set, o Options) (*Dataset, error) {
	d := &Dataset{Dir: t.root, Form: FormFolder, Notes: t.notes, Stratified: true}
	train, val, test := Count(len(t.parts[partTrain])), Count(len(t.parts[partVal])), Count(len(t.parts[partTest]))
	for i := range val {
		val[i] += int32(len(train))
	}
	for i := range test {
		test[i] += int32(len(train) + len(val))
	}
	if len(test) == 0 {
		train, test = SplitByClass(all.Labels, train, len(t.classes), o.TestFraction, o.Seed, true)
		if len(test) == 0 {
			return nil, fmt.Errorf("%s: no pictures to test with: expected a folder test/, or a larger --test-fraction", t.root)
		}
		d.Notes = append(d.Notes, fmt.Sprintf("%s: no folder test/; %d of %d pictures are set apart for the test",
			t.root, len(test), len(test)+len(train)))
	}
	if len(train) == 0 {
		return nil, fmt.Errorf("%s: no pictures to train with", t.root)
	}
	d.Train, d.Test = all.pick(slices.Concat(train, val)), all.pick(test)
	if len(val) > 0 {
		d.Val = make([]int32, len(val))
		for i := range d.Val {
			d.Val[i] = int32(len(train) + i)
		}
	}
	return d, nil
}

// pick returns the images of the given indices, in that order.
func (s *Set) pick(indices []int32) *Set {
	p := &Set{Description: s.Description, Count: len(indices)}
	p.Images = newArray(len(indices) * s.Bytes())[:0]
	for _, i := range indices {
		p.Images = append(p.Images, s.Image(int(i))...)
		p.Labels = append(p.Labels, s.Labels[i])
	}
	return p
}

// decode reads the pictures of files on all processors.
func (t *folder) decode(ctx context.Context, files []pictureFile, o Options) (*Set, error) {
	d, err := t.describe(ctx, files, o)
	if err != nil {
		return nil, err
	}
	s := &Set{Description: d, Count: len(files), Images: newArray(len(files) * d.Bytes()), Labels: make([]uint8, len(files))}
	err = t.each(ctx, files, o.Progress, func(i int, path string) error {
		s.Labels[i] = uint8(files[i].class)
		p, err := picture.Read(path)
		if err != nil {
			return err
		}
		pixels, _ := p.Image(d, picture.Auto) // without Like, d inverts nothing
		copy(s.Image(i), pixels)
		return nil
	})
	return s, err
}

// describe finds the size and the channels of the images, by looking at the headers of all pictures.
func (t *folder) describe(ctx context.Context, files []pictureFile, o Options) (imageset.Description, error) {
	d := imageset.Description{
		Height: o.Height, Width: o.Width, Channels: 3, Classes: t.classes,
		Pixels: imageset.Pixels{Resize: imageset.Stretch, Background: cmp.Or(o.Background, imageset.Contrast)},
	}
	if o.Like != nil && o.Height == 0 {
		d.Height, d.Width, d.Channels, d.Pixels = o.Like.Height, o.Like.Width, o.Like.Channels, o.Like.Pixels
		return d, nil
	}
	infos := make([]picture.Info, len(files))
	err := t.each(ctx, files, nil, func(i int, path string) (err error) {
		infos[i], err = picture.Inspect(path)
		return err
	})
	if err != nil {
		return d, err
	}
	if o.Gray || !slices.ContainsFunc(infos, func(i picture.Info) bool { return !i.Gray }) {
		d.Channels = 1
	}
	if d.Height > 0 {
		return d, nil
	}
	first := infos[0]
	for _, i := range infos {
		if i.Width != first.Width || i.Height != first.Height {
			return d, differentSizes(t.root, infos)
		}
	}
	d.Height, d.Width = first.Height, first.Width
	if d.Height > imageset.MaxSide || d.Width > imageset.MaxSide {
		return d, fmt.Errorf("%s: pictures of %dx%d are too large to be images of a network: pass --image-size HxW, "+
			"such as --image-size %s", t.root, d.Height, d.Width, suggestSize(infos))
	}
	return d, nil
}

// differentSizes says which sizes the pictures have and what to pass.
func differentSizes(root string, infos []picture.Info) error {
	area := func(a, b picture.Info) int { return cmp.Compare(a.Width*a.Height, b.Width*b.Height) }
	small, large := slices.MinFunc(infos, area), slices.MaxFunc(infos, area)
	return fmt.Errorf("%s: the pictures differ in size (height x width from %dx%d to %dx%d): pass --image-size HxW, "+
		"to which all are scaled, such as --image-size %s",
		root, small.Height, small.Width, large.Height, large.Width, suggestSize(infos))
}

// suggestSize returns a size with the pictures' usual proportions and about as many pixels as 64x64,
// which trains quickly and shows most subjects. Sides are multiples of 4, so that both pools halve them.
func suggestSize(infos []picture.Info) string {
	var ratios, areas []float64
	for _, i := range infos {
		ratios = append(ratios, float64(i.Height)/float64(i.Width))
		areas = append(areas, float64(i.Height)*float64(i.Width))
	}
	slices.Sort(ratios)
	slices.Sort(areas)
	ratio, pixels := ratios[len(ratios)/2], min(areas[len(areas)/2], 64*64)
	side := func(v float64) int { return max(8, int(v/4+0.5)*4) }
	return fmt.Sprintf("%dx%d", side(math.Sqrt(pixels*ratio)), side(math.Sqrt(pixels/ratio)))
}

// each calls do for every file, on all processors. The pictures that cannot be read are an
// *UnreadableError together. Progress may be nil.
func (t *folder) each(ctx context.Context, files []pictureFile, progress func(done, total int),
	do func(i int, path string) error) error {
	var lock sync.Mutex
	var next, done int
	failed := map[int]error{}
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for ctx.Err() == nil {
				lock.Lock()
				i := next
				next++
				lock.Unlock()
				if i >= len(files) {
					return
				}
				err := do(i, filepath.Join(t.root, files[i].path))
				lock.Lock()
				if err != nil {
					failed[i] = err
				}
				if done++; progress != nil {
					progress(done, len(files))
				}
				lock.Unlock()
			}
		}()
	}
	workers.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if len(failed) == 0 {
		return nil
	}
	e := &UnreadableError{Root: t.root, Total: len(files)}
	for _, i := range slices.Sorted(maps.Keys(failed)) {
		e.Each = append(e.Each, failed[i])
	}
	return e
}
