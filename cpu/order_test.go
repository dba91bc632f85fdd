package cpu

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fileOrder lists the files of this package from the bottom up: a file uses only files before it.
var fileOrder = []string{
	"kernels_gen.go", "kernels.go", "arrays.go", "winograd_matrix.go", "plain.go", "plain_tiles.go",
	"kernels_cgo.go", "kernels_cgo_gen.go", "kernels_nocgo.go",
	"available_amd64.go", "available_arm64.go", "available_other.go", "available_notiles.go", "choose.go", "emulated.go",
	"pool.go", "profile.go", "profile_gen.go", "backend.go", "roofline.go", "matrix.go",
	"images.go", "optimizer.go", "convolution.go", "direct.go", "winograd.go", "tiled.go", "conv.go",
	"rnn.go", "rnn_panels.go", "rnn_tiled.go", "rnn_new.go", "head.go",
}

// noImports is a types.Importer without packages. Names of this package are found without them, unless
// they are selected from a value whose type another package has; of a name in several builds, the
// first declaration counts.
type noImports struct{}

func (noImports) Import(string) (*types.Package, error) { return nil, errors.New("not loaded") }

func TestFilesUseThoseBelow(t *testing.T) {
	paths, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		if !slices.Contains(fileOrder, path) {
			t.Errorf("%s has no place in fileOrder", path)
		}
		file, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}, Selections: map[*ast.SelectorExpr]*types.Selection{}}
	config := types.Config{Importer: noImports{}, FakeImportC: true, Error: func(error) {}}
	pkg, _ := config.Check("crnn/cpu", fset, files, info) // errors: of imports, and of names in several builds
	place := func(pos token.Pos) int { return slices.Index(fileOrder, fset.Position(pos).Filename) }
	uses := 0
	for ident, object := range info.Uses {
		if object.Pkg() != pkg {
			continue
		}
		uses++
		if place(object.Pos()) > place(ident.Pos()) {
			t.Errorf("%v uses %s, which stands above it, in %v",
				fset.Position(ident.Pos()), ident.Name, fset.Position(object.Pos()))
		}
	}
	if uses < 1000 {
		t.Errorf("%d uses of names found, expected at least 1000", uses)
	}
}
