// Which kernels this machine can run.
#pragma once

#include <span>

#include "kernels.hpp"

namespace intaglio {

// Fastest first; the portable ones are always the last.
std::span<const Kernels* const> available_kernels();

}  // namespace intaglio
