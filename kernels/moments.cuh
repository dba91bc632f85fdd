// Moments of TILE_PIXELS neighbouring pixels of a channel, of fewer in the last tile: what a
// convolution leaves for the batch normalisation behind it. The mean is fp64, so that the
// differences of means are right where they are small beside the means themselves.
#pragma once

constexpr int TILE_PIXELS = 80;

struct Moments {
    double mean;
    float m2;  // sum of the squares of the deviations from the mean
};
