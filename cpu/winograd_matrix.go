package cpu

// The matrices of Winograd's convolutions F(2, 5) and F(4, 5): winograd.go says what they compute.

// winogradMatrix holds a matrix of up to 8x8.
type winogradMatrix struct {
	rows, columns int
	v             [8][8]float32
}

// winogradMatrices are the matrices of F(m, 5) for input, filter and output, and their transposes.
type winogradMatrices struct{ bt, g, at, b, gt, a winogradMatrix }

var (
	winograd2 = newWinogradMatrices(
		[][]float32{
			{1, 1.5, -2, -1.5, 1, 0},
			{0, -1, -2.5, -0.5, 1, 0},
			{0, 1, 0.5, -2.5, 1, 0},
			{0, -0.5, -1, 0.5, 1, 0},
			{0, 2, -1, -2, 1, 0},
			{0, 1, 1.5, -2, -1.5, 1},
		},
		[][]float32{
			{1, 0, 0, 0, 0},
			{-1. / 3, -1. / 3, -1. / 3, -1. / 3, -1. / 3},
			{1. / 3, -1. / 3, 1. / 3, -1. / 3, 1. / 3},
			{1. / 15, 2. / 15, 4. / 15, 8. / 15, 16. / 15},
			{-16. / 15, 8. / 15, -4. / 15, 2. / 15, -1. / 15},
			{0, 0, 0, 0, 1},
		},
		[][]float32{
			{1, 1, 1, 1, 1, 0},
			{0, 1, -1, 2, -0.5, 1},
		})
	winograd4 = newWinogradMatrices(
		[][]float32{
			{1, 0, -5.25, 0, 5.25, 0, -1, 0},
			{0, 1, 1, -4.25, -4.25, 1, 1, 0},
			{0, -1, 1, 4.25, -4.25, -1, 1, 0},
			{0, 0.5, 0.25, -2.5, -1.25, 2, 1, 0},
			{0, -0.5, 0.25, 2.5, -1.25, -2, 1, 0},
			{0, 2, 4, -2.5, -5, 0.5, 1, 0},
			{0, -2, 4, 2.5, -5, -0.5, 1, 0},
			{0, -1, 0, 5.25, 0, -5.25, 0, 1},
		},
		[][]float32{
			{1, 0, 0, 0, 0},
			{-2. / 9, -2. / 9, -2. / 9, -2. / 9, -2. / 9},
			{-2. / 9, 2. / 9, -2. / 9, 2. / 9, -2. / 9},
			{1. / 90, 2. / 90, 4. / 90, 8. / 90, 16. / 90},
			{1. / 90, -2. / 90, 4. / 90, -8. / 90, 16. / 90},
			{32. / 45, 16. / 45, 8. / 45, 4. / 45, 2. / 45},
			{32. / 45, -16. / 45, 8. / 45, -4. / 45, 2. / 45},
			{0, 0, 0, 0, 1},
		},
		[][]float32{
			{1, 1, 1, 1, 1, 1, 1, 0},
			{0, 1, -1, 2, -2, 0.5, -0.5, 0},
			{0, 1, 1, 4, 4, 0.25, 0.25, 0},
			{0, 1, -1, 8, -8, 0.125, -0.125, 1},
		})
)

func newWinogradMatrices(bt, g, at [][]float32) *winogradMatrices {
	m := &winogradMatrices{}
	for _, of := range []struct {
		rows           [][]float32
		to, transposed *winogradMatrix
	}{{bt, &m.bt, &m.b}, {g, &m.g, &m.gt}, {at, &m.at, &m.a}} {
		of.to.rows, of.to.columns = len(of.rows), len(of.rows[0])
		of.transposed.rows, of.transposed.columns = of.to.columns, of.to.rows
		for i, row := range of.rows {
			for j, v := range row {
				of.to.v[i][j], of.transposed.v[j][i] = v, v
			}
		}
	}
	return m
}

// winogradOf returns the matrices of F(m, 5).
func winogradOf(m int) *winogradMatrices {
	if m == 4 {
		return winograd4
	}
	return winograd2
}

// transform returns l m rᵀ. Elements multiplied by 0 do not count, not even NaN.
func (m *winogradMatrix) transform(l, r *winogradMatrix) *winogradMatrix {
	var half [8][8]float32
	out := winogradMatrix{rows: l.rows, columns: r.rows}
	for i := range l.rows {
		for j := range r.columns {
			for k := range l.columns {
				if l.v[i][k] != 0 {
					half[i][j] += l.v[i][k] * m.v[k][j]
				}
			}
		}
		for j := range r.rows {
			for k := range r.columns {
				if r.v[j][k] != 0 {
					out.v[i][j] += half[i][k] * r.v[j][k]
				}
			}
		}
	}
	return &out
}

// loadWinograd and store move the elements of a transformed tile, which lie frequency elements apart.
func loadWinograd(from []float32, frequency, rows, columns int) *winogradMatrix {
	m := winogradMatrix{rows: rows, columns: columns}
	for i := range rows {
		for j := range columns {
			m.v[i][j] = from[(columns*i+j)*frequency]
		}
	}
	return &m
}

func (m *winogradMatrix) store(to []float32, frequency int) {
	for i := range m.rows {
		for j, v := range m.v[i][:m.columns] {
			to[(m.columns*i+j)*frequency] = v
		}
	}
}
