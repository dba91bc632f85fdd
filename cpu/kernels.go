package cpu

// What the sums of a matrix product are added to, once they are complete: a sum that starts
// small rounds less.
const (
	addNothing = iota
	addBias    // the row bias
	addC       // the old C: long sums are made of such parts
)

// matmulShape holds the sizes of a batch of matrix products. The C kernels read the same struct.
type matmulShape struct {
	m, n    int64    // rows of C; columns, a multiple of lanes
	count   [3]int64 // the sum runs over count[0]·count[1]·count[2] terms, at which
	strideA [3]int64 // A advances by these many elements
	strideB [3]int64 // and B by these many rows
	add     int64

	panelRows int64 // B is stored in panels (matrix.go) of so many rows; 0: row after row,
	rowB      int64 // so many elements apart

	batch                  int64 // number of products,
	batchA, batchB, batchC int64 // and elements between their matrices

	// bf16: each element of A and B is a pair of bfloat16, the first in the low half, and all
	// counts are of pairs; the term of two elements is the sum of two products. 0 or 1.
	bf16 int64

	// twoSums: the terms of the innermost loop go to two sums in turn, which are added at the end
	// and round less than one. 0 or 1.
	twoSums int64
}

// poolShape holds the sizes of one image in a convolution block. The C kernels read the same struct.
type poolShape struct {
	height, width int64 // before pooling, even
	channels      int64 // padded
	outRow        int64 // bnReluPoolBackward, tilePoolBackward: elements between rows of dz,
	outPixel      int64 // tilePoolBackward: between its pixels,
	pairRow       int64 // and pixels between the rows of its pairs, even
}

// winogradShape holds the sizes of some rows of tiles of an image. The C kernels read the
// same struct.
type winogradShape struct {
	rows, tiles int64 // rows of tiles; tiles in each
	channels    int64 // padded
	imageRow    int64 // elements between rows of the image
	frequency   int64 // elements between the parts of a transformed array
	tileHeight  int64 // rows of outputs in a tile, 2 or 4
	pooledRows  int64 // winogradOutputPool: rows of y
}

// rnnShape holds the sizes of some samples of a layer. The C kernels read the same struct.
type rnnShape struct {
	steps, samples int64
	units, hidden  int64 // units; the same padded, the length of a row
	bf16           int64 // 1 if the operands of the recurrent product are bfloat16
	lastOnly       int64 // rnnBackward: 1 if the output's gradient is that of the last step alone
}

// rnnDropout is the dropout of a layer. The C kernels read the same struct.
type rnnDropout struct {
	seed, step uint64
	first      uint64 // number of the first sample
	blocks     uint64 // of random numbers in a row
	threshold  uint64 // 16-bit words below it drop a unit
	purpose    uint32
	scale      float32 // of what is kept
}

// tileShape holds the sizes of a product of bfloat16 in tiles. The C kernels read the same struct.
type tileShape struct {
	blocks, rows     int64 // blocks of rows; rows of each, at most tileRows
	columns, terms   int64 // tiles of tileRows columns; sums of tileTerms terms
	rowA, rowB, rowC int64 // elements between the rows of a tile
	termB, columnB   int64 // elements between the tiles of B
	add              int64
}

// A tile of C has tileRows rows and as many columns, one of A tileRows rows of tileTerms elements, one of B
// tileRows rows of tileRows pairs, which are tileSize elements.
const (
	tileRows  = 16
	tileTerms = 32
	tileSize  = tileRows * tileRows
)

// tilePack says how a matrix becomes tiles. The C kernels read the same struct.
type tilePack struct {
	rows, columns, srcRow int64
	narrow                int64 // 1: it is bfloat16 already, two to an element
	pairColumns           int64 // 1: the terms of a product lie along a row; 0: along a column
	transposed            int64 // 1: the pairs of a tile change places
	zeroRows              int64 // rows of zeros before the source's; they count as rows
	outer                 int64 // elements between tiles that are not neighbours by their terms
	scale                 float32
}

// tileImage holds the sizes of an image with a border. The C kernels read the same struct.
type tileImage struct {
	in, height, width int64 // without border
	border, row       int64 // pixels before the first; pixels in a row, border included
	plane             int64 // elements between the channels of one, if they are outside,
	channels          int64 // and between its pixels, if channels are inside
}

// tileRNN holds the sizes of some samples of a layer in tiles. The C kernels read the same struct.
type tileRNN struct {
	steps, samples int64 // at most tileRows samples
	hidden, in     int64 // padded to tileTerms
	hStep          int64 // elements between the steps of h
	lastOnly       int64 // as in rnnShape
}

// adamStep holds the numbers of a step of Adam, computed in float64 (1-0.999 in float32 is
// off by 1.3e-5). The C kernels read the same struct.
type adamStep struct {
	beta2, oneMinusBeta1, oneMinusBeta2 float32
	stepSize                            float32 // LR/(1-β1^t)
	rootCorrection2                     float32 // √(1-β2^t)
	eps                                 float32
}

// kernels are the inner loops, each of which runs on one thread. Images are
// [height·width][channels] here (channels innermost and padded), so that a vector holds
// the same pixel of several channels.
//
// An element of a result never depends on how the work was cut into calls.
type kernels interface {
	name() string
	hasBF16() bool  // products of bfloat16 are there
	hasTiles() bool // and products of it in tiles

	// matmul computes, for m < s.m and n < s.n, with k running over the three loops of s in order,
	//
	//	c[cOffset[m] + n] = s.add + Σ_k a[aOffset[m] + k·strideA] · B[k·strideB][n]
	//
	// and so on for the rest of the batch. Every product of the network is one of these: in
	// a convolution, aOffset and strideA walk over the patches of a padded image, which are
	// never stored.
	matmul(s *matmulShape, aOffset, cOffset []int32, a, b, bias, c []float32)

	// transpose writes the transpose of src [rows][columns] to dst [columns][rows]; dstRow and
	// srcRow are the lengths of their rows in memory.
	transpose(dst, src []float32, rows, columns, dstRow, srcRow int)

	// channelMoments computes, for every channel of one image z, the mean over its pixels and
	// m2 = Σ (z - mean)².
	channelMoments(z []float32, mean, m2 []float32)
	// bnReluPool computes y = max(0, max over windows of 2x2 of u), u = (z-mean)·scale + beta,
	// for one image. Unless index is nil, largest is z-mean at the first largest u of a window,
	// and index its number there (row-major), or 4 if that u is not above 0.
	bnReluPool(s *poolShape, z, mean, scale, beta, y, largest []float32, index []uint8)
	// bnReluPoolSums computes, for every channel of one image, sumG = Σ g and sumGZ = Σ g (z-mean),
	// where g is ∂loss/∂u: dy at the element that index names, else 0.
	bnReluPoolSums(largest []float32, index []uint8, dy, sumG, sumGZ []float32)
	// bnReluPoolBackward computes, for one image,
	//
	//	dz = scale·g + kZ (z-mean) + k1
	//
	// and, for every channel, sumDZ = Σ dz.
	bnReluPoolBackward(s *poolShape, z, mean, scale []float32, index []uint8, dy, kZ, k1, dz, sumDZ []float32)

	// The transforms of Winograd's convolutions, for some rows of tiles of an image and with the
	// matrices of winograd.go. Frequency 6u+v of tile (r,t) lies at s.frequency·(6u+v) +
	// (r·tiles+t)·channels; x and dx point at the first row of the border around the
	// tiles, z and dz at the first row inside. A tile of outputs has two columns and s.tileHeight rows,
	// which is 4 in winogradInput and winogradOutputPool alone.
	//
	// winogradInput computes v = Bᵀ x B for tiles that overlap by 4.
	winogradInput(s *winogradShape, x, v []float32)
	// winogradOutput computes z = Aᵀ m A + bias.
	winogradOutput(s *winogradShape, m, bias, z []float32)
	// winogradOutputPool is winogradOutput and bnReluPool at once; y are the pooled rows of the
	// tiles, of which only s.pooledRows are written.
	winogradOutputPool(s *winogradShape, m, bias, mean, scale, beta, y []float32)
	// winogradOutputGradient computes q = A dz Aᵀ, the adjoint of winogradOutput.
	winogradOutputGradient(s *winogradShape, dz, q []float32)
	// winogradInputGradient adds B p Bᵀ to dx, the adjoint of winogradInput.
	winogradInputGradient(s *winogradShape, p, dx []float32)
	// winogradFilter computes u = G w Gᵀ for filters w [25][channels] and tiles of that height, u
	// being parts of channels elements.
	winogradFilter(tileHeight, channels, frequency int, w, u []float32)
	// winogradFilterGradient computes dw = Gᵀ (Σ s) G, its adjoint; the sum is over so many
	// groups, with group elements between them.
	winogradFilterGradient(channels, frequency, groups, group int, s, dw []float32)

	// rnnForward runs a layer through time. h [steps][samples][hidden] holds the sums in the
	// tanh without the recurrent part and becomes the output:
	//
	//	h[t] = tanh(h[t] + h[t-1] w)
	//
	// w is in panels; with s.bf16, of pairs of rows. Unless keep is nil, the mask of model.RNN
	// becomes keep (1 or 0), and kept = h ⊙ keep · scale. row holds the offsets of a step's rows;
	// step is scratch for one.
	rnnForward(s *rnnShape, row []int32, w, h []float32, d *rnnDropout, keep []uint8, kept, step []float32)
	// rnnBackward runs a layer back through time. dz holds ∂loss/∂kept, or with keep nil
	// ∂loss/∂h, of all that uses the layer's output but the layer itself, and becomes the
	// gradient of the sum in the tanh:
	//
	//	dz[t] = (dz[t] ⊙ keep[t] · scale + dz[t+1] w) (1 - h[t]²)
	//
	// dbias += Σ dz. step is scratch for a step, twice.
	rnnBackward(s *rnnShape, row []int32, w, h []float32, keep []uint8, scale float32, dz, dbias, step []float32)

	// Where the processor has instructions for bfloat16:
	//
	// narrow writes src as pairs of neighbours, half as many elements.
	narrow(dst, src []float32)
	// pairRows writes the rows of src [rows][columns] as pairs, that of rows 2i and 2i+1 as row i
	// of dst; what the last row lacks is 0.
	pairRows(dst, src []float32, rows, columns int)

	// Where the processor multiplies tiles of bfloat16. In images with a border and in rows of operands
	// every element is a bfloat16, in right factors a pair of them, as pairRows makes them. A left factor
	// made by tilePack is [block][term][tileRows][tileTerms], a right one [columns][term][tileRows] pairs.
	//
	// tileProduct computes, for i < s.blocks, r < s.rows, n < tileRows·s.columns,
	//
	//	c[cOffset[i] + r·rowC + n] = s.add + Σ_t Σ_k<tileTerms a[aOffset[i] + termA[t] + r·rowA + k] B[t][k][n]
	//
	// where the pair of B[t][2k] and B[t][2k+1] at n lies at (n/tileRows)·columnB + t·termB + k·rowB + n%tileRows.
	// Blocks may overlap unless s.add is addC.
	tileProduct(s *tileShape, aOffset, cOffset, termA []int32, a []uint16, b []uint32, bias, c []float32)
	// tileProductPool is tileProduct, of blocks that are parts of the rows of an image, and bnReluPool at
	// once. z is scratch for two rows of pixels, at the offsets that the first blocks have.
	tileProductPool(s *tileShape, aOffset, cOffset, termA []int32, a []uint16, b []uint32, bias, z []float32,
		pool *poolShape, mean, scale, beta, y []float32)
	// tilePack writes src as tiles, padded with zeros. Unless keep is nil, each element counts as scale
	// times itself if its keep is not 0, else as 0. With pairColumns there is neither keep nor zeroRows nor
	// narrow.
	tilePack(s *tilePack, dst []uint32, src []float32, keep []uint8)
	// tileImage writes x [in][height·width] into images with a border, channels outside in first, inside
	// in last, and leaves the border as it is. Either may be nil; s.in is a multiple of 16, or what the last of
	// 16 channels in last lack becomes 0.
	tileImage(s *tileImage, x []float32, first, last []uint16)
	// tilePoolBackward is bnReluPoolBackward, but that it writes dz to last, unless that is nil, and the pairs of
	// neighbouring pixels of a row to pairs, [height·pairRow/2][channels].
	tilePoolBackward(s *poolShape, z, mean, scale []float32, index []uint8, dy, kZ, k1 []float32,
		last []uint16, pairs []uint32, sumDZ []float32)
	// tileRNNForward runs a layer through time:
	//
	//	h[t] = tanh(bias + in[t] wIH + h[t-1] wHH)
	//
	// with in [steps][samples][in]. out [steps][samples][hidden] is h or, unless keep is nil, after dropout:
	// see rnnForward; state is then scratch for a step, and step is for two. termA is 0, tileTerms, 2·tileTerms …
	tileRNNForward(s *tileRNN, termA []int32, wIH, wHH []uint32, bias []float32, in []uint16, h []float32,
		out, state []uint16, step []float32, d *rnnDropout, keep []uint8)
	// tileRNNBackward is rnnBackward, but that dy is what rnnBackward finds in dz; and computes the gradient
	// of the input, dx[t] = dz[t] wIH. step is scratch for a step.
	tileRNNBackward(s *tileRNN, termA []int32, wIH, wHH []uint32, h []float32, keep []uint8, scale float32,
		dy []float32, dz []uint16, dx, dbias, step []float32)

	// sumRows adds rows of a, stride elements apart, to sum, in order.
	sumRows(sum, a []float32, rows, stride int)

	// multiplyAdds makes multiply-adds in registers, some for each of n iterations, and returns how
	// many floating-point operations they were: what the processor can do at most.
	multiplyAdds(n int) int64

	// adam updates p, m and v as model.Backend.Adam says.
	adam(s *adamStep, p, g, m, v []float32)
}
