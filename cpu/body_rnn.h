// The recurrence of the RNN: part of kernels_body.h.

// tanh as an odd rational function, x P(x²)/Q(x²) on |x| <= 9.01, beyond which it rounds
// to ±1 in float32. The coefficients minimise the largest relative error, 9.4e-10
// (scripts/fit-tanh); rounding on the way adds at most 6 ulp (TestTanh). NaN stays NaN.
INLINE void tanh_fraction(vf x, vf *top, vf *bottom) {
	const vf most = splat(9.01f);
	vf t = MIN(most, MAX(-most, x));
	vf u = t * t;
	vf p = 3.16034718768e-5f + u * 5.0812782773e-8f;
	p = 0.00400917210791f + u * p;
	p = 0.137858845046f + u * p;
	p = 0.999999999087f + u * p;
	vf q = 1.61860185112e-6f + u * 7.38460456983e-10f;
	q = 0.000420860616507f + u * q;
	q = 0.0277399100894f + u * q;
	q = 0.471192169295f + u * q;
	*top = t * p;
	*bottom = 1 + u * q;
}

INLINE vf tanh_vector(vf x) {
	vf top, bottom;
	tanh_fraction(x, &top, &bottom);
	return MIN(splat(1), MAX(splat(-1), top / bottom));
}

// The values that all rows of a mask share.
struct NAME(masks) {
	vu key[10][2], lane, purpose, step_low, step_high;
	vh threshold;
};

INLINE void dropout_begin(const struct rnn_dropout *d, struct NAME(masks) *m) {
	for (int l = 0; l < VL / 2; l++)
		m->lane[l] = l;
	for (int round = 0; round < 10; round++) {
		m->key[round][0] = (vu){} + (uint32_t)(d->seed + round * 0x9E3779B9u);
		m->key[round][1] = (vu){} + (uint32_t)((d->seed >> 32) + round * 0xBB67AE85u);
	}
	m->purpose = (vu){} + d->purpose;
	m->step_low = (vu){} + (uint32_t)d->step;
	m->step_high = (vu){} + (d->step >> 32);
	m->threshold = (vh){} + (uint16_t)(d->threshold - 1); // a threshold of 0 wraps: see dropout_row
}

// Sets the bytes of a row's mask by Philox 4x32-10, VL/2 blocks at a time, one per 64-bit lane. Only
// the low half of a lane counts: MUL32 reads no more, so the bits that xor leaves above do no harm.
INLINE void dropout_row(const struct rnn_dropout *d, const struct NAME(masks) *m, uint32_t first_block, uint8_t *keep) {
	enum { BLOCKS = VL / 2 };
	const vu m0 = (vu){} + 0xD2511F53u, m1 = (vu){} + 0xCD9E8D57u, low = (vu){} + 0xffff;
	for (int64_t i = 0; i < d->blocks; i += BLOCKS) {
		vu c0 = m->lane + (uint32_t)(first_block + i); // a carry above the low half does no harm
		vu c1 = m->purpose, c2 = m->step_low, c3 = m->step_high;
#pragma GCC unroll 10
		for (int round = 0; round < 10; round++) {
			vu p0 = MUL32(c0, m0), p1 = MUL32(c2, m1);
			c0 = HIGH32(p1) ^ c1 ^ m->key[round][0];
			c2 = HIGH32(p0) ^ c3 ^ m->key[round][1];
			c1 = p1;
			c3 = p0;
		}
		// A block's eight bytes fill a lane too: byte w is 1 unless 16-bit word w is below the threshold.
		const vu even = (c0 & low) | (c1 & low) << 16 | (c2 & low) << 32 | c3 << 48;
		const vu odd = (c0 >> 16 & low) | (c1 & low << 16) | (c2 & low << 16) << 16 | (c3 >> 16) << 48;
		vu bytes = (((vu)((vh)even > m->threshold) & 0x0001000100010001u) |
		            ((vu)((vh)odd > m->threshold) & 0x0100010001000100u));
		if (d->threshold == 0)
			bytes = (vu){} + 0x0101010101010101u;
		if (d->blocks - i >= BLOCKS)
			memcpy(keep + 8 * i, &bytes, sizeof bytes);
		else
			memcpy(keep + 8 * i, &bytes, 8 * (d->blocks - i));
	}
}

// The product of one time step with the recurrent weights.
INLINE void recurrent_product(const struct rnn_shape *s, const int32_t *row, int64_t add, const float *a,
                              const float *w, float *c) {
	const int64_t terms = s->bf16 ? (s->units + 1) / 2 : s->units;
	const struct matmul_shape product = {
		.m = s->samples, .n = s->hidden, .count = { 1, 1, terms }, .stride_a = { 0, 0, 1 }, .stride_b = { 0, 0, 1 },
		.add = add, .panel_rows = terms, .batch = 1, .bf16 = s->bf16,
	};
	NAME(matmul)(&product, row, row, a, w, 0, c);
}

// Returns the rows of a step as operands of its product: unchanged, or as bfloat16, written to step.
INLINE const float *operands(const struct rnn_shape *s, const float *rows, float *step) {
#ifdef BF16_TARGET
	if (s->bf16) {
		for (int64_t b = 0; b < s->samples; b++)
			NAME(narrow)(step + b * s->hidden, rows + b * s->hidden, s->hidden);
		return step;
	}
#endif
	return rows;
}

// Prefetches n bytes at p; they arrive during a step's product. The processor does not foresee steps
// back in time.
INLINE void fetch(const void *p, int64_t n) {
	for (int64_t i = 0; i < n; i += 64)
		__builtin_prefetch((const char *)p + i);
}

KERNEL void NAME(rnn_forward)(const struct rnn_shape *s, const int32_t *row, const float *w, float *h,
                              const struct rnn_dropout *dropout, uint8_t *keep, float *kept, float *step) {
	const int64_t size = s->samples * s->hidden;
	struct NAME(masks) masks = { 0 };
	if (keep)
		dropout_begin(dropout, &masks);
	for (int64_t t = 0; t < s->steps; t++) {
		float *now = h + t * size;
		if (t > 0)
			recurrent_product(s, row, ADD_C, operands(s, now - size, step), w, now);
		if (!keep) {
			for (int64_t i = 0; i < size; i += VL)
				store(now + i, tanh_vector(load(now + i)));
			continue;
		}
		for (int64_t b = 0; b < s->samples; b++) {
			const int64_t at = t * size + b * s->hidden;
			dropout_row(dropout, &masks, (uint32_t)(((dropout->first + b) * s->steps + t) * dropout->blocks), keep + at);
			for (int64_t i = at; i < at + s->hidden; i += VL) {
				vf v = tanh_vector(load(h + i));
				store(h + i, v);
				store(kept + i, choose(load_bytes(keep + i) == 0, (vf){}, v * dropout->scale));
			}
		}
	}
}

KERNEL void NAME(rnn_backward)(const struct rnn_shape *s, const int32_t *row, const float *w, const float *h,
                               const uint8_t *keep, float scale, float *dz, float *dbias, float *step) {
	const int64_t size = s->samples * s->hidden;
	for (int64_t t = s->steps - 1; t >= 0; t--) {
		const int last = t == s->steps - 1;
		float *now = dz + t * size;
		if (!last) {
			fetch(now, 4 * size);
			fetch(h + t * size, 4 * size);
			if (keep)
				fetch(keep + t * size, size);
			recurrent_product(s, row, ADD_NOTHING, operands(s, now + size, step + size), w, step);
		}
		for (int64_t b = 0; b < size; b += s->hidden)
			for (int64_t j = 0; j < s->hidden; j += VL) {
				const int64_t i = b + j;
				vf d = last || !s->last_only ? load(now + i) : (vf){};
				if (keep)
					d = choose(load_bytes(keep + t * size + i) == 0, (vf){}, d * scale);
				if (!last)
					d += load(step + i);
				vf v = load(h + t * size + i);
				d *= 1 - v * v;
				store(now + i, d);
				store(dbias + j, load(dbias + j) + d);
			}
	}
}
