package cpu

// panels is a matrix [rows][columns] as right factor of products, cut into panels of
// columns, each stored row by row. Columns are padded with zeros to a multiple of lanes.
type panels struct {
	rows, columns int // columns padded
	values        []float32
	bf16          *panels // the same as pairs of rows in bfloat16, unless nil
}

func newPanels(rows, columns int) *panels {
	columns = padded(columns)
	return &panels{rows: rows, columns: columns, values: make([]float32, rows*columns)}
}

// pair renews the pairs of rows of p.
func (p *panels) pair(k kernels) {
	if p.bf16 == nil {
		p.bf16 = newPanels((p.rows+1)/2, p.columns)
	}
	for i := 0; ; i++ {
		_, width, from := p.panel(i)
		if width == 0 {
			return
		}
		_, _, to := p.bf16.panel(i)
		k.pairRows(to, from, p.rows, width)
	}
}

// panel returns the first column, width and values of panel i; width is 0 after the last.
func (p *panels) panel(i int) (first, width int, values []float32) {
	first = i * panelWidth
	width = min(panelWidth, p.columns-first)
	if width <= 0 {
		return first, 0, nil
	}
	return first, width, p.values[first*p.rows:][:width*p.rows]
}

// pack copies the row-major matrix a [rows][columns] into p.
func (p *panels) pack(a []float32, columns int) {
	for i := 0; ; i++ {
		first, width, to := p.panel(i)
		if width == 0 {
			return
		}
		for r := range p.rows {
			copy(to[r*width:], a[r*columns+first:r*columns+min(first+width, columns)])
		}
	}
}

// packTransposed copies the transpose of the row-major matrix a [columns][rows] into p.
func (p *panels) packTransposed(k kernels, a []float32, columns int) {
	for i := 0; ; i++ {
		first, width, to := p.panel(i)
		if width == 0 {
			return
		}
		k.transpose(to, a[first*p.rows:], min(width, columns-first), p.rows, width, p.rows)
	}
}

// product computes rows of C = add + A·p. Row m of A starts at a[aOffset[m]], its elements next to each
// other; row m of C starts at c[cOffset[m]].
func (p *panels) product(k kernels, aOffset, cOffset []int32, a []float32, add int64, bias, c []float32) {
	k.matmul(p.shape(len(aOffset), add), aOffset, cOffset, a, p.values, bias, c)
}

// shape returns the sizes of a product of m rows with p.
func (p *panels) shape(m int, add int64) *matmulShape {
	return &matmulShape{
		m: int64(m), n: int64(p.columns), add: add,
		count: [3]int64{1, 1, int64(p.rows)}, strideA: [3]int64{2: 1}, strideB: [3]int64{2: 1},
		panelRows: int64(p.rows), batch: 1,
	}
}
