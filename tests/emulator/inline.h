#pragma once
#include "decode.h"

namespace ptx {

// inline_calls replaces every call in a function by the statements of the function called.
void inline_calls(Function &function, const Names &names);

}  // namespace ptx
