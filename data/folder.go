package data

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"crnn/data/imageset"
	"crnn/data/picture"
	"crnn/internal/memory"
	"crnn/internal/osfile"
)

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
		show(e.Root), len(e.Each), e.Total, e.Each[0])
}

// read reads all pictures, or takes them from the cache.
func (t *folder) read(ctx context.Context, o Options) (*Dataset, error) {
	if err := t.checkPictures(o.Like == nil); err != nil {
		return nil, err
	}
	files := slices.Concat(t.parts[:]...)
	cached := newCache(t, files, o)
	all, ok := cached.load()
	if !ok {
		var err error
		if all, err = t.decode(ctx, files, o); err != nil {
			return nil, err
		}
		if err := cached.save(all); err != nil {
			t.notes = append(t.notes, fmt.Sprintf("%s: the pictures could not be kept for the next run: %v",
				filepath.Dir(cached.path), osfile.Cause(err)))
		}
	}
	d, err := t.divide(all, o)
	if err == nil && o.Like == nil {
		d.Train.Pixels.Invert = d.Train.onBlack()
		d.Test.Pixels = d.Train.Pixels
	}
	return d, err
}

// divide makes the parts of a data set of all pictures, which lie part by part. It takes over all's memory.
func (t *folder) divide(all *Set, o Options) (*Dataset, error) {
	d := &Dataset{Dir: t.root, Form: FormFolder, Notes: t.notes, Stratified: true}
	all.Classes = t.classes
	nTrain, nVal, nTest := len(t.parts[partTrain]), len(t.parts[partVal]), len(t.parts[partTest])
	if nTest > 0 {
		d.Train, d.Test = all.part(0, nTrain+nVal), all.part(nTrain+nVal, all.Count)
	} else {
		train, test := SplitByClass(all.Labels, Count(nTrain), len(t.classes), o.TestFraction, o.Seed, true)
		if len(test) == 0 {
			return nil, fmt.Errorf("%s: too few pictures to set some apart for the test: "+
				"expected a folder test, or a larger --test-fraction", show(t.root))
		}
		d.Notes = append(d.Notes, fmt.Sprintf("%s: no folder test with pictures: %d of %d pictures are set apart "+
			"for the test", show(t.root), len(test), nTrain))
		d.Test = all.pick(test)
		nTrain = len(train)
		for i := range nVal {
			train = append(train, int32(all.Count-nVal+i))
		}
		d.Train = all.keep(train)
	}
	d.noteMissing("test", d.Test.Labels)
	if nVal > 0 {
		d.Val = Count(d.Train.Count)[nTrain:]
		d.noteMissing("validation", d.Train.Labels[nTrain:])
	}
	return d, nil
}

// part returns the images from one index up to another, sharing the set's memory.
func (s *Set) part(from, to int) *Set {
	n := s.Bytes()
	return &Set{
		Description: s.Description, Count: to - from,
		Images: s.Images[from*n : to*n : to*n], Labels: s.Labels[from:to:to],
	}
}

// pick returns the images of the given indices, in that order.
func (s *Set) pick(indices []int32) *Set {
	p := &Set{Description: s.Description, Count: len(indices), Images: memory.Zeros(len(indices) * s.Bytes())}
	for i, from := range indices {
		copy(p.Image(i), s.Image(int(from)))
		p.Labels = append(p.Labels, s.Labels[from])
	}
	return p
}

// keep is pick for ascending indices, in s's own memory: a large set need not fit in twice.
func (s *Set) keep(indices []int32) *Set {
	for i, from := range indices {
		copy(s.Image(i), s.Image(int(from)))
		s.Labels[i] = s.Labels[from]
	}
	return s.part(0, len(indices))
}

// decode reads the pictures of files on all processors.
func (t *folder) decode(ctx context.Context, files []pictureFile, o Options) (*Set, error) {
	d, err := t.describe(ctx, files, o)
	var unreadable *UnreadableError
	if errors.As(err, &unreadable) {
		return nil, t.addDamaged(ctx, files, unreadable, o.Progress)
	}
	if err != nil {
		return nil, err
	}
	s := &Set{Description: d, Count: len(files), Labels: make([]uint8, len(files))}
	s.Images = memory.Zeros(len(files) * d.Bytes())
	var black, white atomic.Int64 // pictures with transparent parts
	err = t.each(ctx, files, o.Progress, func(i int, path string) error {
		s.Labels[i] = uint8(files[i].class)
		p, err := picture.Read(path)
		if err != nil {
			return err
		}
		pixels, notes := p.Image(d, picture.Auto) // without Like, d inverts nothing
		copy(s.Image(i), pixels)
		switch notes.Behind {
		case imageset.Black:
			black.Add(1)
		case imageset.White:
			white.Add(1)
		}
		return nil
	})
	if n := black.Load() + white.Load(); n > 0 && err == nil {
		t.notes = append(t.notes, fmt.Sprintf("%s: pictures with transparent parts: %d; these parts became white in %d and "+
			"black in %d (--background black or white decides)", t.root, n, white.Load(), black.Load()))
	}
	return s, err
}

// addDamaged returns an error about all pictures that cannot be read, if those whose headers cannot be
// read are known: the user should not have to try again for those that are damaged behind it.
func (t *folder) addDamaged(ctx context.Context, files []pictureFile, e *UnreadableError,
	progress func(done, total int)) error {
	err := t.each(ctx, files, progress, func(_ int, path string) error {
		_, err := picture.Read(path)
		return err
	})
	return cmp.Or[error](err, e) // nil: the pictures have just been mended
}

// describe finds the size and the channels of the images, by looking at the headers of all pictures.
func (t *folder) describe(ctx context.Context, files []pictureFile, o Options) (imageset.Description, error) {
	d := imageset.Description{
		Height: o.Height, Width: o.Width, Channels: 3, Classes: t.classes,
		Pixels: imageset.Pixels{Resize: imageset.Stretch, Background: cmp.Or(o.Background, imageset.Contrast)},
	}
	if o.Like != nil { // another size or --grayscale is the user's: it will not fit the network
		if o.Height == 0 {
			d.Height, d.Width = o.Like.Height, o.Like.Width
		}
		d.Channels, d.Pixels = o.Like.Channels, o.Like.Pixels
	}
	if o.Gray {
		d.Channels = 1
	}
	if d.Height > 0 && (o.Gray || o.Like != nil) {
		return d, checkMemory(t.root, len(files), d, "", 0)
	}
	infos := make([]picture.Info, len(files))
	err := t.each(ctx, files, nil, func(i int, path string) (err error) {
		infos[i], err = picture.Inspect(path)
		return err
	})
	if err != nil {
		return d, err
	}
	if !slices.ContainsFunc(infos, func(i picture.Info) bool { return !i.Gray }) {
		d.Channels = 1
	}
	if d.Height > 0 {
		return d, checkMemory(t.root, len(files), d, suggestSize(infos), 0)
	}
	first := infos[0]
	for _, i := range infos {
		if i.Width != first.Width || i.Height != first.Height {
			return d, differentSizes(show(t.root), infos)
		}
	}
	d.Height, d.Width = first.Height, first.Width
	if d.Height > imageset.MaxSide || d.Width > imageset.MaxSide {
		return d, fmt.Errorf("%s: pictures of %dx%d are too large to be images of a network: pass --image-size HxW, "+
			"such as --image-size %s", show(t.root), d.Height, d.Width, suggestSize(infos))
	}
	return d, checkMemory(t.root, len(files), d, suggestSize(infos), 0)
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
	side := func(v float64) int { return min(max(8, int(v/4+0.5)*4), imageset.MaxSide) }
	return fmt.Sprintf("%dx%d", side(math.Sqrt(pixels*ratio)), side(math.Sqrt(pixels/ratio)))
}

// each calls do for every file, on all processors. The pictures that cannot be read are an
// *UnreadableError together. Progress may be nil.
func (t *folder) each(ctx context.Context, files []pictureFile, progress func(done, total int),
	do func(i int, path string) error) error {
	step := max(1, len(files)/1000) // of progress: a call per picture would cost time
	var lock sync.Mutex
	done := 0
	failed := map[int]error{}
	var next atomic.Int64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(files) {
					return
				}
				path := filepath.Join(t.root, files[i].path)
				err := do(i, path)
				lock.Lock()
				if err != nil {
					failed[i] = pictureError{show(path) + strings.TrimPrefix(err.Error(), path), err}
				}
				if done++; progress != nil && (done%step == 0 || done == len(files)) {
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

// pictureError is an error about a picture in one line, whatever characters its path has.
type pictureError struct {
	text string
	error
}

func (e pictureError) Error() string { return e.text }
func (e pictureError) Unwrap() error { return e.error }
