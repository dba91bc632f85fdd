package cpu

// direct computes a convolution of any size as one matrix product. Row (i,j) of the im2col matrix, the
// patch around a pixel, begins at the offset of that pixel in the padded image, and its K rows of K·In
// elements lie one image row apart: the matrix is never stored.
type direct struct {
	be *Backend
	convSizes

	forward, backward *panels   // filters as [K·K·In][Out], and as [K·K·outP][In], turned by 180 degrees
	rows              []float32 // of either, before packing
	xPixel, dzPixel   []int32   // offsets of a pixel's patch in a padded image
	zPixel, dxPixel   []int32   // offsets of a pixel in an image without border
	patch             []int32   // offsets of a patch's elements from its first
	gradRow           []int32   // offsets of the rows of a sum
	sums              []float32 // per group, the filters' gradient as [K·K·In][outP]
	threads           []directScratch
}

// directScratch is the working memory of one thread.
type directScratch struct{ x, z, dz, image []float32 }

func newDirect(be *Backend, sizes convSizes) *direct {
	d := &direct{be: be, convSizes: sizes, threads: make([]directScratch, be.pool.threads)}
	k := sizes.kernel
	d.forward = newPanels(k*k*d.in, d.out)
	for i := range d.height {
		for j := range d.width {
			d.xPixel = append(d.xPixel, int32(i*d.paddedRow(d.in)+j*d.in))
			d.dzPixel = append(d.dzPixel, int32(i*d.paddedRow(d.outP)+j*d.outP))
		}
	}
	d.zPixel = steps(d.height*d.width, d.outP)
	d.dxPixel = steps(d.height*d.width, d.inP)
	for u := range k {
		for v := range k * d.in {
			d.patch = append(d.patch, int32(u*d.paddedRow(d.in)+v))
		}
	}
	d.gradRow = steps(len(d.patch), d.outP)
	return d
}

func (d *direct) memory(n int) int {
	taps := d.kernel * d.kernel
	pixels := d.height * d.width
	return len(d.threads)*(d.paddedSize(d.in)+d.paddedSize(d.outP)+pixels*(max(d.in, d.inP)+d.outP)) +
		taps*d.outP*((2+groups(n))*d.in+d.inP)
}

func (d *direct) pack(w []float32, train bool) {
	taps, in := d.kernel*d.kernel, d.in
	d.rows = grow(d.rows, taps*d.outP*in)
	for o := range d.out {
		for i := range in {
			for tap := range taps {
				d.rows[(tap*in+i)*d.out+o] = w[(o*in+i)*taps+tap]
			}
		}
	}
	d.forward.pack(d.rows, d.out)
	if !train {
		return
	}
	if d.backward == nil {
		d.backward = newPanels(taps*d.outP, in)
	}
	clear(d.rows) // for the padding channels
	for o := range d.out {
		for i := range in {
			for tap := range taps {
				d.rows[((taps-1-tap)*d.outP+o)*in+i] = w[(o*in+i)*taps+tap]
			}
		}
	}
	d.backward.pack(d.rows, in)
}

// patches computes out = patch · filters for every pixel of the padded image a, which has the given
// number of channels.
func (d *direct) patches(a []float32, pixel, outPixel []int32, channels int, filters *panels, add int64,
	bias, out []float32) {
	run := int64(d.kernel * channels) // elements of a patch that lie next to each other
	d.be.matmul(&matmulShape{
		m: int64(len(pixel)), n: int64(filters.columns), add: add,
		count:     [3]int64{1, int64(d.kernel), run},
		strideA:   [3]int64{0, int64(d.paddedRow(channels)), 1},
		strideB:   [3]int64{0, run, 1},
		panelRows: int64(filters.rows), batch: 1,
	}, pixel, outPixel, a, filters.values, bias, out)
}

func (d *direct) scratch(thread int) *directScratch {
	s := &d.threads[thread]
	s.x = grow(s.x, d.paddedSize(d.in))
	s.image = grow(s.image, d.height*d.width*max(d.in, d.inP))
	return s
}

func (d *direct) convolve(thread int, x, bias, z []float32) {
	s := d.scratch(thread)
	d.pad(d.be, s.x, s.image, x, d.in)
	d.patches(s.x, d.xPixel, d.zPixel, d.in, d.forward, addBias, bias, z)
}

func (d *direct) convolvePool(thread int, x, bias []float32, norm *normalisation, y []float32) {
	s := &d.threads[thread]
	s.z = grow(s.z, d.height*d.width*d.outP)
	d.convolve(thread, x, bias, s.z)
	d.be.bnReluPool(d.poolShape(0), s.z, norm.mean, norm.scale, norm.beta, y, nil, nil)
}

func (d *direct) prepare(n int) { d.sums = grow(d.sums, groups(n)*len(d.patch)*d.outP) }

// gradientImage returns where a thread writes dz, whose rows are row elements apart.
func (d *direct) gradientImage(thread int) (dz []float32, row int) {
	s := &d.threads[thread]
	s.dz = grow(s.dz, d.paddedSize(d.outP))
	return s.dz[d.border(d.outP):], d.paddedRow(d.outP)
}

func (d *direct) poolGradient(thread int, g *poolGradient) {
	dz, row := d.gradientImage(thread)
	g.compute(d.be, &d.convSizes, dz, row)
}

func (d *direct) gradients(thread, group int, begin bool, x, dx []float32) {
	s := d.scratch(thread)
	d.pad(d.be, s.x, s.image, x, d.in)
	shape := &matmulShape{
		m: int64(len(d.patch)), n: int64(d.outP), add: addC,
		count:   [3]int64{1, int64(d.height), int64(d.width)},
		strideA: [3]int64{0, int64(d.paddedRow(d.in)), int64(d.in)},
		strideB: [3]int64{0, int64(d.paddedRow(1)), 1}, rowB: int64(d.outP), batch: 1,
	}
	if begin {
		shape.add = addNothing
	}
	d.be.matmul(shape, d.patch, d.gradRow, s.x, s.dz[d.border(d.outP):], nil, d.sums[group*len(d.patch)*d.outP:])
	if dx != nil {
		// dx is the convolution of dz with the filters turned by 180 degrees.
		d.patches(s.dz, d.dzPixel, d.dxPixel, d.outP, d.backward, addNothing, nil, s.image)
		d.be.transpose(dx, s.image, d.height*d.width, d.in, d.height*d.width, d.inP)
	}
}

func (d *direct) weightGradient(dw []float32, n int) {
	size, taps := len(d.patch)*d.outP, d.kernel*d.kernel
	sum := d.be.sumGroups(d.sums, size, groups(n))
	for r := range d.patch {
		tap, in := r/d.in, r%d.in
		for o := range d.out {
			dw[(o*d.in+in)*taps+tap] = sum[r*d.outP+o]
		}
	}
}
