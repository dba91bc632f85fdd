package data

import (
	"crnn/data/known"
	"fmt"
)

// Verify checks the four IDX files of path, as Read finds them. Each must be readable, with the
// format's magic number, the length in its header and, if compressed, its checksum. There must be as
// many labels as images. The status also says whether a file, decompressed, is byte for byte
// Fashion-MNIST's. The error is about path.
func Verify(path string) ([]known.FileStatus, error) {
	files, prefix, found, err := findIDX(path)
	if err != nil {
		return nil, err
	}
	if !found {
		if err := checkDir(path); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%s: no IDX files to verify; crnn data info looks at other forms of data", path)
	}
	advice := adviceFor(files.dir())
	contents, errs := files.read(advice)
	status := make([]known.FileStatus, len(files))
	for i, f := range known.FashionMNIST.Files {
		status[i] = f.Status(files[i], contents[i], errs[i])
		if files[i] == "" {
			status[i].State, status[i].Err = known.Missing, files.check(prefix, advice)
		}
	}
	return status, nil
}
