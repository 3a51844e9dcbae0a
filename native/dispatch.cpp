#include "dispatch.hpp"

#include <vector>

namespace intaglio {

std::span<const Kernels* const> available_kernels() {
    static const std::vector<const Kernels*> available = [] {
        std::vector<const Kernels*> kernels;
#ifdef INTAGLIO_X86
        __builtin_cpu_init();
        // The subsets that avx512.cpp uses: Ice Lake and Zen 4 were the first to have all of them.
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vbmi") &&
            __builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("popcnt"))
            kernels.push_back(&kAvx512);
        if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt")) kernels.push_back(&kAvx2);
#endif
        kernels.push_back(&kPortable);
        return kernels;
    }();
    return available;
}

}  // namespace intaglio
