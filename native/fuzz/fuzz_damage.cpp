// Symbols make a stream of any number of lanes. They come back, unless the stream is damaged; then every
// implementation ends in the same way.
#include "input.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Input input(data, size);
    const auto& sets = harness::table_sets();
    const intaglio::Tables& tables = sets[input.byte() % sets.size()];
    const std::size_t damages = input.byte() % 8;
    struct Damage {
        std::uint32_t place;
        std::uint8_t bits;
    };
    std::vector<Damage> plan;
    for (std::size_t i = 0; i < damages; ++i) plan.push_back({input.number(2), input.byte()});
    const std::size_t cut = input.byte() & 7 ? 0 : input.number(2);
    const auto kernels = intaglio::available_kernels();
    const intaglio::Kernels& kernel = *kernels[input.byte() % kernels.size()];
    const fuzz::Work work = fuzz::work(input, tables);
    fuzz::Bytes bytes = harness::encode<std::int32_t>(work, tables, kernel, true);
    if (plan.empty() && cut == 0) {
        const harness::Outcome outcome = harness::decode(bytes, work, tables);
        harness::require(outcome.whole() && outcome.symbols == work.symbols, "what was coded comes back");
        return 0;
    }
    // places count from the end as well, where the bits beside the words are
    for (const Damage& damage : plan) {
        const std::size_t place = damage.place / 2 % bytes.size();
        bytes[damage.place % 2 ? bytes.size() - 1 - place : place] ^= damage.bits;
    }
    bytes.resize(bytes.size() - std::min(cut, bytes.size()));
    harness::decode(bytes, work, tables);
    return 0;
}
