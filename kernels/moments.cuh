// Moments of TILE_PIXELS neighbouring pixels of a channel (fewer in the last tile), which a
// convolution leaves for the batch normalisation after it. The mean is fp64, so that differences
// of means are accurate even where they are small compared with the means.
#pragma once

constexpr int TILE_PIXELS = 80;

struct Moments {
    double mean;
    float m2;  // sum of the squares of the deviations from the mean
};
