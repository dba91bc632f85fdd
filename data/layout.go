package data

import (
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"crnn/data/imageset"
	"crnn/data/picture"
	"crnn/internal/osfile"

	"golang.org/x/text/unicode/norm"
)

// A folder of pictures has a subfolder for each class, as torchvision, Keras, fastai and Ultralytics
// expect it. Above them there may be train/, val/ and test/. Below a class, pictures may lie in any
// subfolders. Classes are ordered by the bytes of their names, as torchvision orders them.
type folder struct {
	root    string
	classes []string // names
	parts   [3][]pictureFile
	skipped []string // paths below root of files that are no pictures, in the order of the walk
	broken  []error  // links that lead nowhere
	notes   []string
	// onlyTested are the names of the folders in root, if they are those of validation and test alone.
	onlyTested []string
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

// isPart reports whether a folder of that name is a part of the data.
func isPart(name string) bool {
	_, found := partNames[strings.ToLower(name)]
	return found
}

// findFolder looks for pictures below path. It reads names, not pictures.
func findFolder(path string) (*folder, error) {
	t := &folder{root: path}
	top, err := t.list(".")
	if err != nil {
		return nil, err
	}
	for range 3 { // archives put a folder, sometimes two, around the data
		if len(top.folders) != 1 || top.pictures || isPart(top.folders[0]) {
			break
		}
		below, err := t.list(top.folders[0])
		if err != nil || below.pictures || len(below.folders) == 0 {
			break // a single class
		}
		t.root, top = filepath.Join(t.root, top.folders[0]), below
	}
	switch {
	case len(top.folders) == 0 && top.pictures:
		return nil, withoutClasses(t.root)
	case len(top.folders) == 0:
		return nil, notFoundError(fmt.Sprintf("%s holds no data set: expected four IDX files (train-images-idx3-ubyte …), "+
			"a subfolder of pictures for each class, CIFAR's .bin files, or NAME_train.csv and NAME_test.csv; "+
			"crnn data fetch gets Fashion-MNIST", path))
	}
	dirs, err := t.findParts(top.folders)
	if err != nil {
		return nil, err
	}
	byClass := map[string][]pictureFile{} // class is the part here
	for part, dir := range dirs {
		if dir == "" {
			continue
		}
		var others []string // that are not classes
		if dir == "." {
			others = dirs[:]
		}
		if err := t.walk(byClass, part, dir, others); err != nil {
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

// findParts returns the folders of the parts among the folders in root: "." is root itself, "" none.
func (t *folder) findParts(folders []string) (dirs [3]string, err error) {
	var others []string
	for _, name := range folders {
		part, ok := partNames[strings.ToLower(name)]
		switch {
		case !ok:
			others = append(others, name)
		case dirs[part] != "":
			return dirs, fmt.Errorf("%s: holds both %s and %s: expected one of them", show(t.root), dirs[part], name)
		default:
			dirs[part] = name
		}
	}
	all := [3]string{partTrain: "."}
	if len(others) == len(folders) {
		return all, nil
	}
	if dirs[partTrain] != "" {
		train, err := t.list(dirs[partTrain])
		if err != nil {
			return dirs, err
		}
		if train.pictures && len(train.folders) == 0 && t.holdPictures(others) {
			return all, nil // a class of trains
		}
		if len(others) > 0 {
			t.notes = append(t.notes, fmt.Sprintf("%s: the folders beside %s are left out: %s",
				show(t.root), dirs[partTrain], enumerate(others)))
		}
		return dirs, nil
	}
	if len(others) == 0 && t.holdFolders(folders) {
		t.onlyTested = folders // enough for who tests a network
		return dirs, nil
	}
	// Without train, the classes to train with may lie beside test.
	for _, part := range []int{partVal, partTest} {
		if dirs[part] == "" {
			continue
		}
		below, err := t.list(dirs[part])
		if err != nil {
			return dirs, err
		}
		if slices.ContainsFunc(below.folders, func(class string) bool { return slices.Contains(others, class) }) {
			dirs[partTrain] = "."
		}
	}
	if dirs[partTrain] == "" {
		return all, nil
	}
	return dirs, nil
}

// holdFolders reports whether one of the folders in root holds a folder.
func (t *folder) holdFolders(folders []string) bool {
	return slices.ContainsFunc(folders, func(name string) bool {
		l, err := t.list(name)
		return err == nil && len(l.folders) > 0
	})
}

// holdPictures reports whether pictures lie right in one of the folders in root.
func (t *folder) holdPictures(folders []string) bool {
	return slices.ContainsFunc(folders, func(name string) bool {
		l, err := t.list(name)
		return err == nil && l.pictures
	})
}

// listing is what lies in a folder and is visible.
type listing struct {
	folders  []string // names, sorted
	pictures bool
	broken   []error // links that lead nowhere
}

// list lists the folder dir below root.
func (t *folder) list(dir string) (l listing, err error) {
	full := filepath.Join(t.root, dir)
	entries, err := os.ReadDir(full)
	if err != nil {
		return l, fmt.Errorf("%s: %w", show(full), osfile.Cause(err))
	}
	for _, e := range entries {
		if hidden(e.Name()) {
			continue
		}
		isFolder := e.IsDir()
		if e.Type()&fs.ModeSymlink != 0 {
			path := filepath.Join(full, e.Name())
			info, err := os.Stat(path)
			if err != nil {
				l.broken = append(l.broken, fmt.Errorf("%s: %w", show(path), osfile.Cause(err)))
				continue
			}
			isFolder = info.IsDir()
		}
		if isFolder {
			l.folders = append(l.folders, e.Name())
		} else if picture.IsName(e.Name()) {
			l.pictures = true
		}
	}
	return l, nil
}

// hiddenNames are those of files and folders that systems put beside the user's.
var hiddenNames = map[string]bool{
	"__MACOSX": true, "Icon\r": true, "Thumbs.db": true, "desktop.ini": true, "$RECYCLE.BIN": true,
	"System Volume Information": true, "@eaDir": true, "lost+found": true,
}

// hidden reports whether systems put files of that name beside the user's.
func hidden(name string) bool { return strings.HasPrefix(name, ".") || hiddenNames[name] }

// show returns a path for an error of one line.
func show(path string) string {
	if utf8.ValidString(path) && !strings.ContainsFunc(path, unicode.IsControl) {
		return path
	}
	return strconv.Quote(path)
}

func withoutClasses(dir string) error {
	return fmt.Errorf("%s: pictures without classes: expected a subfolder of pictures for each class", show(dir))
}

// walk adds the pictures of a part, whose classes are the folders in dir below root, less others.
func (t *folder) walk(byClass map[string][]pictureFile, part int, dir string, others []string) error {
	full := filepath.Join(t.root, dir)
	l, err := t.list(dir)
	if err != nil {
		return err
	}
	t.broken = append(t.broken, l.broken...)
	switch {
	case l.pictures && len(l.folders) == 0 && part == partTrain:
		return withoutClasses(full)
	case l.pictures && len(l.folders) == 0:
		t.notes = append(t.notes, fmt.Sprintf("%s: pictures without folders for their classes, left out", show(full)))
	case l.pictures:
		t.notes = append(t.notes, fmt.Sprintf("%s: the pictures beside the folders of the classes are left out", show(full)))
	}
	var above []fs.FileInfo
	for _, path := range []string{t.root, full} {
		info, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("%s: %w", show(path), osfile.Cause(err))
		}
		above = append(above, info)
	}
	for _, name := range l.folders {
		if slices.Contains(others, name) {
			continue
		}
		if err := checkName(name); err != nil {
			return fmt.Errorf("%s: the folder of a class: %w: rename it", show(full), err)
		}
		// Systems write an accented letter as one character or as two; the class is the same.
		class := norm.NFC.String(name)
		byClass[class] = slices.Clip(byClass[class]) // a class without a picture exists too
		err := t.walkClass(filepath.Join(dir, name), above, func(f pictureFile) {
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
		return fmt.Errorf("%s: %w", show(full), osfile.Cause(err))
	}
	for _, a := range above {
		if os.SameFile(a, info) {
			t.notes = append(t.notes, fmt.Sprintf("%s: a link to a folder above it, left out", show(full)))
			return nil
		}
	}
	above = append(slices.Clip(above), info)
	entries, err := os.ReadDir(full)
	if err != nil {
		return fmt.Errorf("%s: %w", show(full), osfile.Cause(err))
	}
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		isPicture := picture.IsName(e.Name())
		link := e.Type()&fs.ModeSymlink != 0
		switch {
		case hidden(e.Name()):
			continue
		case e.IsDir():
			if err := t.walkClass(name, above, add); err != nil {
				return err
			}
			continue
		case !isPicture && !link:
			t.skipped = append(t.skipped, name)
			continue
		}
		info, err := e.Info()
		if link {
			info, err = os.Stat(filepath.Join(t.root, name))
		}
		switch {
		case err != nil:
			err = fmt.Errorf("%s: %w", show(filepath.Join(t.root, name)), osfile.Cause(err))
			if !link {
				return err
			}
			t.broken = append(t.broken, err)
		case info.IsDir():
			if err := t.walkClass(name, above, add); err != nil {
				return err
			}
		case isPicture:
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
			show(t.root), n, t.classes[0], t.classes[1], imageset.MaxClasses)
	case n == 0:
		return notFoundError(fmt.Sprintf("%s: holds only empty folders, expected pictures in a subfolder for each class",
			show(t.root)))
	case n < imageset.MinClasses:
		return fmt.Errorf("%s: a single class (%s), expected a subfolder for each of at least two",
			show(t.root), t.classes[0])
	}
	return nil
}

// noteSkipped notes the files that are no pictures, and the links that lead nowhere.
func (t *folder) noteSkipped() {
	if n := len(t.broken); n > 0 {
		t.notes = append(t.notes, fmt.Sprintf("%s: links that lead nowhere are left out: %d, such as %v",
			show(t.root), n, t.broken[0]))
	}
	others, first := 0, ""
	byKind := map[string]int{}
	for _, name := range t.skipped {
		if kind := picture.UnreadName(name); kind != "" {
			byKind[kind]++
			continue
		}
		if others++; others == 1 {
			first = name
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(byKind)) {
		t.notes = append(t.notes, fmt.Sprintf("%s: %s files (%d) are not read and left out: convert them to PNG or JPEG",
			show(t.root), kind, byKind[kind]))
	}
	if others > 0 {
		t.notes = append(t.notes, fmt.Sprintf("%s: files that are no pictures are left out: %d, such as %s",
			show(t.root), others, show(first)))
	}
}

// without returns the classes that have none of the files.
func (t *folder) without(files []pictureFile) (classes []string) {
	seen := make([]bool, len(t.classes))
	for _, f := range files {
		seen[f.class] = true
	}
	for class, name := range t.classes {
		if !seen[class] {
			classes = append(classes, name)
		}
	}
	return classes
}

// checkPictures returns an error if a class has no picture to train with. Who tests a network trains with
// no picture: then classes without any picture are left out.
func (t *folder) checkPictures(train bool) error {
	all := slices.Concat(t.parts[:]...)
	if len(all) == 0 {
		return notFoundError(fmt.Sprintf("%s: the folders of the classes hold no picture%s", show(t.root), t.unread("")))
	}
	if train && t.onlyTested != nil {
		return fmt.Errorf("%s: holds %s, but no pictures to train with: expected a folder train; "+
			"to train with these, name %s",
			show(t.root), strings.Join(t.onlyTested, " and "), show(filepath.Join(t.root, t.onlyTested[0])))
	}
	if missing := t.without(t.parts[partTrain]); train && len(missing) > 0 {
		remedy := "add some, or remove the folder"
		if len(missing) > 1 {
			remedy = "add some, or remove the folders"
		}
		return fmt.Errorf("%s: no picture to train with of %s%s: %s",
			show(t.root), ofClasses(missing), t.unread(missing[0]), remedy)
	}
	if empty := t.without(all); len(empty) > 0 {
		t.notes = append(t.notes, fmt.Sprintf("%s: %s left out, without a picture", show(t.root), ofClasses(empty)))
		names := t.classes
		t.classes = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return slices.Contains(empty, name) })
		for _, files := range t.parts {
			for i := range files {
				files[i].class = slices.Index(t.classes, names[files[i].class])
			}
		}
	}
	return nil
}

// noteMissing notes the classes that a part of the data does not have.
func (d *Dataset) noteMissing(part string, labels []uint8) {
	var missing []string
	for class, name := range d.Train.Classes {
		if !slices.Contains(labels, uint8(class)) {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		d.Notes = append(d.Notes, fmt.Sprintf("%s: no picture for the %s of %s", show(d.Dir), part, ofClasses(missing)))
	}
}

// ofClasses names some classes.
func ofClasses(names []string) string {
	if len(names) == 1 {
		return "class " + enumerate(names)
	}
	return fmt.Sprintf("%d classes (%s)", len(names), enumerate(names))
}

// unread says of which kind the files of a class are that are not read, or those of all classes.
func (t *folder) unread(class string) string {
	for _, name := range t.skipped {
		kind := picture.UnreadName(name)
		folders := strings.Split(norm.NFC.String(filepath.ToSlash(name)), "/")
		if kind != "" && (class == "" || slices.Contains(folders, class)) {
			return fmt.Sprintf(" (%s files are not read: convert them to PNG or JPEG)", kind)
		}
	}
	return ""
}
