// Any bytes and rows, followed through a trellis: every implementation ends in the same way with the same steps. Latents
// of any size make a path that comes back.
#include <bit>

#include "input.hpp"

namespace {

void come_back(const std::vector<float>& latents, const fuzz::Bytes& rows, const intaglio::Kernels& kernels) {
    fuzz::Symbols symbols(rows.size());
    fuzz::Symbols steps(rows.size());
    fuzz::Bytes used(rows.size());
    const auto end = harness::end_of(
        [&] { intaglio::Trellis(harness::twins(), 3.0f).quantise(latents, rows, {symbols, used, steps}); });
    if (end != harness::End::finished) return;
    intaglio::Encoder encoder(harness::twins(), kernels);
    const fuzz::Symbols plain(harness::kPlain, 2);
    encoder.push(std::span<const std::int32_t>(plain), fuzz::Bytes(harness::kPlain, 2 * intaglio::kTwin));
    encoder.push(std::span<const std::int32_t>(symbols), used);
    const harness::Followed found = harness::follow(encoder.finish(), kernels, rows);
    harness::require(found.end == harness::End::finished && found.steps == steps, "a path comes back");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Input input(data, size);
    const std::uint8_t options = input.byte();
    const std::size_t count = options & 1 ? input.number(2) % fuzz::kMostSymbols : input.byte();
    const auto pattern = input.take(options >> 2);
    fuzz::Bytes rows;
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t row = pattern.empty() ? 7 * i : pattern[i % pattern.size()];
        rows.push_back(static_cast<std::uint8_t>(options & 2 ? row % 256 : row % intaglio::kTwin));  // some are wrong
    }
    const auto kernels = intaglio::available_kernels();
    const auto rest = input.rest();
    const fuzz::Bytes bytes(rest.begin(), rest.end());
    const harness::Followed plain = harness::follow(bytes, *kernels.back(), rows);
    for (const intaglio::Kernels* each : kernels)
        harness::require(harness::follow(bytes, *each, rows) == plain, std::string(each->name) + " follows alike");
    std::vector<float> latents(rows.size());
    for (std::size_t i = 0; i < latents.size() && !bytes.empty(); ++i) {
        std::uint32_t bits = 0;
        for (std::size_t byte = 0; byte < 4; ++byte) bits = bits << 8 | bytes[(4 * i + byte) % bytes.size()];
        latents[i] = options & 4 ? std::bit_cast<float>(bits) : static_cast<float>(bits % 4096) / 64.0f - 32.0f;
    }
    come_back(latents, rows, *kernels[options % kernels.size()]);
    return 0;
}
