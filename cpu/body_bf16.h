// Conversions to bfloat16, rounding to nearest even: part of kernels_body.h.
#ifdef BF16_TARGET

static BF16_TARGET void NAME(narrow)(float *dst, const float *src, int64_t n) {
	for (int64_t i = 0; i < n; i += VL)
		NARROW_BF16((uint16_t *)dst + i, load(src + i));
}

static BF16_TARGET void NAME(pair_rows)(float *dst, const float *src, int64_t rows, int64_t columns) {
	for (int64_t r = 0; r < rows; r += 2)
		for (int64_t c = 0; c < columns; c += VL) {
			const float *from = src + r * columns + c;
			vi low = BITS_BF16(load(from)), high = r + 1 < rows ? BITS_BF16(load(from + columns)) : (vi){};
			store(dst + r / 2 * columns + c, (vf)(low | high << 16));
		}
}

#endif
