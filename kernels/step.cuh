// What differs from one training step to the next. It lies in device memory, so that a
// captured graph of the step can be replayed: the host writes it before every step.
#pragma once

struct Step {
    unsigned long long dropout_step;  // number of the training step, for the dropout masks
    float step_size;                  // Adam: lr / (1 - beta1^t)
    float root_correction2;           // Adam: sqrt(1 - beta2^t)
    unsigned dropout_first;           // dropout masks: number of the first sample's first Philox block
};
